"""PostgreSQL's dialect: how each Arrow type lies in a column, and which type holds which.

Column types are CloudQuery's, so that tables which it made go on working. Where a binary COPY has no
form for a type (decimal256, inet, lists of uuid, …) values travel as text and are cast by the server.
"""

from __future__ import annotations

import re

import pyarrow as pa

from contracts import types
from loader.dialect import Dialect, Mapped

_FLAT: dict[pa.DataType, Mapped] = {
    pa.bool_(): Mapped("boolean", pa.bool_()),
    pa.int8(): Mapped("smallint", pa.int16()),
    pa.int16(): Mapped("smallint", pa.int16()),
    pa.int32(): Mapped("integer", pa.int32()),
    pa.int64(): Mapped("bigint", pa.int64()),
    pa.uint8(): Mapped("smallint", pa.int16()),
    pa.uint16(): Mapped("integer", pa.int32()),
    pa.uint32(): Mapped("bigint", pa.int64()),
    pa.uint64(): Mapped("numeric(20,0)", pa.uint64()),
    pa.float16(): Mapped("real", pa.float32()),
    pa.float32(): Mapped("real", pa.float32()),
    pa.float64(): Mapped("double precision", pa.float64()),
    pa.date32(): Mapped("date", pa.date32()),
    pa.date64(): Mapped("date", pa.date32()),
    types.UUID: Mapped("uuid", pa.binary(16)),
    types.MAC: Mapped("macaddr", pa.binary(6)),
    types.JSON: Mapped("jsonb", types.JSON),
    types.INET: Mapped("inet", pa.string()),
}

# What the binary form of an Arrow type is read as; other columns are staged as text and cast.
_WIRE: dict[pa.DataType, frozenset[str]] = {
    pa.binary(16): frozenset({"uuid"}),
    pa.binary(6): frozenset({"macaddr"}),
    pa.uint64(): frozenset({"numeric(20,0)"}),
    types.JSON: frozenset({"jsonb"}),
}


def map_type(type_: pa.DataType) -> Mapped:
    """Timestamps and times have microseconds, PostgreSQL's finest; a finer value fails the load."""
    t = pa.types
    if known := _FLAT.get(type_):
        return known
    if t.is_dictionary(type_):
        return map_type(type_.value_type)
    if t.is_timestamp(type_):
        return Mapped("timestamp without time zone", pa.timestamp("us"))
    if t.is_time(type_):
        return Mapped("time without time zone", pa.time64("us"))
    if t.is_decimal(type_):
        return _decimal(type_)
    if t.is_binary(type_) or t.is_large_binary(type_) or t.is_fixed_size_binary(type_):
        return Mapped("bytea", pa.binary())
    if t.is_binary_view(type_):
        return Mapped("bytea", pa.binary())
    if t.is_list(type_) or t.is_large_list(type_) or t.is_fixed_size_list(type_):
        return _list(type_.value_type)
    if t.is_list_view(type_) or t.is_large_list_view(type_):
        return _list(type_.value_type)
    return Mapped("text", pa.string())


def _decimal(type_: pa.DataType) -> Mapped:
    if not 0 <= type_.scale <= type_.precision:
        return Mapped("numeric", pa.string())
    arrow = type_ if pa.types.is_decimal128(type_) else pa.string()
    return Mapped(f"numeric({type_.precision},{type_.scale})", arrow)


def _list(value: pa.DataType) -> Mapped:
    """An array of the value's type; of values that are nested themselves, an array of JSON texts."""
    inner = map_type(value)
    if inner.sql.endswith("[]") or pa.types.is_struct(value) or pa.types.is_map(value):
        return Mapped("text[]", pa.list_(pa.string()))
    # An array names its element type on the wire, so only exact ones travel in binary.
    exact = inner.arrow not in _WIRE and not pa.types.is_decimal(inner.arrow)
    return Mapped(f"{inner.sql}[]", pa.list_(inner.arrow if exact else pa.string()))


def wire(arrow: pa.DataType, column: str) -> str:
    """The type under which a column of the landing table takes the binary form of `arrow`.

    Equal to `column` wherever the two agree; otherwise the server casts from it.
    """
    if arrow in _WIRE:
        return column if column in _WIRE[arrow] else "bytea"
    if pa.types.is_decimal(arrow):
        return "numeric" if not column.startswith("numeric") else column
    if pa.types.is_list(arrow):
        return f"{wire(arrow.value_type, column.removesuffix('[]'))}[]"
    return {
        pa.bool_(): "boolean",
        pa.int16(): "smallint",
        pa.int32(): "integer",
        pa.int64(): "bigint",
        pa.float32(): "real",
        pa.float64(): "double precision",
        pa.date32(): "date",
        pa.time64("us"): "time without time zone",
        pa.timestamp("us"): "timestamp without time zone",
        pa.binary(): "bytea",
    }.get(arrow, "text")


_NUMERIC = re.compile(r"numeric\((\d+),(\d+)\)")
_INTEGERS = {"smallint": 5, "integer": 10, "bigint": 19}


def holds(wide: str, narrow: str) -> bool:
    """Integers < numeric, real < double precision, varchar < text; arrays as their elements."""
    if wide == narrow:
        return True
    if wide.endswith("[]") and narrow.endswith("[]"):
        return holds(wide[:-2], narrow[:-2])
    if wide in {"text", "character varying"}:
        return narrow in {"text", "character varying"} or narrow.startswith("character varying(")
    if wide in _INTEGERS:
        return _INTEGERS.get(narrow, 99) <= _INTEGERS[wide]
    if wide == "double precision":
        return narrow in {"real", "smallint", "integer"}
    if wide == "numeric":
        return narrow in _INTEGERS or narrow.startswith("numeric")
    if match := _NUMERIC.fullmatch(wide):
        return _numeric_holds(int(match[1]), int(match[2]), narrow)
    return False


def _numeric_holds(precision: int, scale: int, narrow: str) -> bool:
    if narrow in _INTEGERS:
        return precision - scale >= _INTEGERS[narrow]
    match = _NUMERIC.fullmatch(narrow)
    if not match:
        return False
    whole = int(match[1]) - int(match[2])
    return precision - scale >= whole and scale >= int(match[2])


DIALECT = Dialect(
    name="postgresql",
    map_type=map_type,
    holds=holds,
    # Measured: as fast as MERGE, which servers before 15 lack, and faster than ON CONFLICT.
    merge="delete-insert",
    text="text",
    identifier_bytes=63,
    binary_order=' COLLATE "C"',
    # COPY belongs to its transaction: rows of an append are written once, not twice.
    copies=lambda arrow, column: wire(arrow, column) == column,
)
