"""Every Arrow type in DuckDB: CloudQuery's names where they lose nothing, so that its tables go on working.

CloudQuery keeps timestamps without a zone, in UTC; so do we. Where it degrades a type to text or to a
coarser one (decimal, time, date) we use the exact type, and its existing columns go on taking the values.
"""

from __future__ import annotations

import re

import pyarrow as pa

from contracts import types
from loader.dialect import Mapped

_MAX_DIGITS = 38

_FLAT: dict[pa.DataType, Mapped] = {
    pa.null(): Mapped("VARCHAR", pa.string()),
    pa.bool_(): Mapped("BOOLEAN", pa.bool_()),
    pa.int8(): Mapped("TINYINT", pa.int8()),
    pa.int16(): Mapped("SMALLINT", pa.int16()),
    pa.int32(): Mapped("INTEGER", pa.int32()),
    pa.int64(): Mapped("BIGINT", pa.int64()),
    pa.uint8(): Mapped("UINTEGER", pa.uint32()),
    pa.uint16(): Mapped("UINTEGER", pa.uint32()),
    pa.uint32(): Mapped("UINTEGER", pa.uint32()),
    pa.uint64(): Mapped("UBIGINT", pa.uint64()),
    pa.float16(): Mapped("FLOAT", pa.float32()),
    pa.float32(): Mapped("FLOAT", pa.float32()),
    pa.float64(): Mapped("DOUBLE", pa.float64()),
    pa.date32(): Mapped("DATE", pa.date32()),
    pa.date64(): Mapped("DATE", pa.date32()),
    pa.time32("s"): Mapped("TIME", pa.time64("us")),
    pa.time32("ms"): Mapped("TIME", pa.time64("us")),
    pa.time64("us"): Mapped("TIME", pa.time64("us")),
    pa.time64("ns"): Mapped("TIME_NS", pa.time64("ns")),
    types.UUID: Mapped("UUID", types.UUID),
    types.JSON: Mapped("JSON", types.JSON),
    types.INET: Mapped("VARCHAR", pa.string()),
    types.MAC: Mapped("VARCHAR", pa.string()),
}


def map_type(type_: pa.DataType) -> Mapped:
    """The type of a column, and the Arrow type in which DuckDB is handed its values."""
    if found := _FLAT.get(type_):
        return found
    test = pa.types
    if test.is_dictionary(type_):
        return map_type(type_.value_type)
    if test.is_timestamp(type_):
        unit = "ns" if type_.unit == "ns" else "us"
        return Mapped("TIMESTAMP_NS" if unit == "ns" else "TIMESTAMP", pa.timestamp(unit))
    if test.is_decimal(type_) and 0 <= type_.scale <= type_.precision <= _MAX_DIGITS:
        exact = pa.decimal128(type_.precision, type_.scale)
        return Mapped(f"DECIMAL({type_.precision},{type_.scale})", exact)
    if test.is_struct(type_) or test.is_map(type_):
        return _FLAT[types.JSON]
    if test.is_nested(type_):
        inner = map_type(type_.value_type)
        return Mapped(f"{inner.sql}[]", pa.list_(inner.arrow))
    if str(type_).startswith(("binary", "large_binary", "fixed_size_binary")):
        return Mapped("BLOB", pa.binary())
    # Strings of every layout; durations, intervals and longer decimals as text.
    return Mapped("VARCHAR", pa.string())


_WIDER: dict[str, frozenset[str]] = {
    wide: frozenset(narrow.split())
    for wide, narrow in {
        "SMALLINT": "TINYINT UTINYINT",
        "INTEGER": "TINYINT SMALLINT UTINYINT USMALLINT",
        "BIGINT": "TINYINT SMALLINT INTEGER UTINYINT USMALLINT UINTEGER",
        "HUGEINT": "TINYINT SMALLINT INTEGER BIGINT UTINYINT USMALLINT UINTEGER UBIGINT",
        "USMALLINT": "UTINYINT",
        "UINTEGER": "UTINYINT USMALLINT",
        "UBIGINT": "UTINYINT USMALLINT UINTEGER",
        "FLOAT": "TINYINT SMALLINT UTINYINT USMALLINT",
        "DOUBLE": "FLOAT TINYINT SMALLINT INTEGER UTINYINT USMALLINT UINTEGER",
        "TIMESTAMP": "DATE",
        "TIME_NS": "TIME",
        "VARCHAR": "JSON UUID DATE TIME TIME_NS INTERVAL",
    }.items()
}
_DIGITS = {
    "TINYINT": 3, "SMALLINT": 5, "INTEGER": 10, "BIGINT": 19,
    "UTINYINT": 3, "USMALLINT": 5, "UINTEGER": 10, "UBIGINT": 20,
}  # fmt: skip
_DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)")


def holds(wide: str, narrow: str) -> bool:
    """The lattice along which types widen; each step loses nothing."""
    if wide == narrow or narrow in _WIDER.get(wide, ()):
        return True
    if wide.endswith("[]") and narrow.endswith("[]"):
        return holds(wide[:-2], narrow[:-2])
    inner = _DECIMAL.fullmatch(narrow)
    if wide == "VARCHAR":
        return inner is not None
    outer = _DECIMAL.fullmatch(wide)
    if outer is None:
        return False
    digits, scale = int(outer[1]), int(outer[2])
    if inner:
        return scale >= int(inner[2]) and digits - scale >= int(inner[1]) - int(inner[2])
    return digits - scale >= _DIGITS.get(narrow, _MAX_DIGITS + 1)


def in_place(type_: pa.DataType) -> str | None:
    """How a Parquet column of this type is read where it lies: an expression over `{}`, or None.

    None: the stage holds it in another form than DuckDB does, so its values go through Arrow.
    """
    mapped = map_type(type_)
    if pa.types.is_timestamp(type_):
        if type_.unit == "s":
            return None
        # Four times faster than a cast, which asks the time zone library for every value.
        maker = "make_timestamp_ns(epoch_ns({}))" if type_.unit == "ns" else "make_timestamp(epoch_us({}))"  # fmt: skip
        return maker if type_.tz else "{}"
    plain = type_ in _PLAIN or mapped.sql.startswith("DECIMAL") or mapped.sql == "BLOB"
    if not plain or (pa.types.is_fixed_size_binary(type_) and type_.byte_width == 0):
        return None
    return "{}" if mapped.arrow == type_ else f"CAST({{}} AS {mapped.sql})"


_PLAIN = frozenset({
    pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64(),
    pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64(),
    pa.float32(), pa.float64(), pa.string(), pa.large_string(), pa.string_view(),
    pa.date32(), pa.time32("ms"), pa.time64("us"), pa.time64("ns"),
    types.UUID, types.JSON, types.INET,
    pa.list_(pa.string()), pa.list_(pa.int64()), pa.list_(pa.float64()),
})  # fmt: skip
