"""What a value looks like in a file: CloudQuery's dialects, each a mapping of Arrow types.

CSV and JSON have times in UTC with a `Z`; nested values are JSON; binary is base64. Parquet keeps lists,
structs and maps; uuid, json, inet, mac, durations, intervals and the large types are text.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from contracts import types
from loader.dialect import Dialect, Mapped
from loader.warehouses.files.options import FilesOptions

_TEXT = pa.string()
# Parquet before 2.6 has no nanoseconds: a value that needs them is refused, never cut.
_COARSE = frozenset({"v1.0", "v2.4"})
_MAX_DIGITS = 76


def of(options: FilesOptions) -> Dialect:
    match options.format:
        case "csv":
            return CSV
        case "json":
            return JSON
        case "parquet":
            return PARQUET_COARSE if options.dialect.version in _COARSE else PARQUET


def _csv(type_: pa.DataType) -> pa.DataType:
    """Numbers and times as Arrow has them, everything else as text."""
    test = pa.types
    if test.is_dictionary(type_):
        return _csv(type_.value_type)
    if test.is_float16(type_):
        return pa.float32()
    if test.is_timestamp(type_):
        return pa.timestamp(type_.unit, tz="UTC")
    plain = (
        test.is_boolean(type_) or test.is_integer(type_) or test.is_floating(type_)
        or test.is_date(type_) or test.is_time(type_) or _is_decimal(type_)
    )  # fmt: skip
    return type_ if plain else _TEXT


def _json(type_: pa.DataType) -> pa.DataType:
    """As CSV; nested values and JSON are part of the line."""
    if pa.types.is_dictionary(type_):
        return _json(type_.value_type)
    if pa.types.is_nested(type_) or type_ == types.JSON:
        return types.JSON
    return _csv(type_)


def _parquet(type_: pa.DataType, *, coarse: bool = False) -> pa.DataType:
    """What every reader of Parquet knows, nested types included."""
    test = pa.types
    if test.is_dictionary(type_):
        return _parquet(type_.value_type, coarse=coarse)
    if test.is_struct(type_) or test.is_map(type_) or _is_list(type_):
        return _nested(type_, coarse=coarse)
    if test.is_float16(type_):
        return pa.float32()
    if test.is_timestamp(type_):
        return pa.timestamp(_unit(type_.unit, coarse=coarse), tz="UTC" if type_.tz else None)
    if test.is_time(type_):
        unit = _unit(type_.unit, coarse=coarse)
        return pa.time32(unit) if unit == "ms" else pa.time64(unit)
    if test.is_date(type_):
        return pa.date32()
    if _is_decimal(type_):
        maker = pa.decimal256 if type_.precision > 38 else pa.decimal128
        return maker(type_.precision, type_.scale)
    if test.is_binary(type_) or str(type_) == "binary_view" or test.is_fixed_size_binary(type_):
        return pa.binary()
    flat = test.is_boolean(type_) or test.is_integer(type_) or test.is_floating(type_)
    return type_ if flat else _TEXT


def _nested(type_: pa.DataType, *, coarse: bool) -> pa.DataType:
    def inner(field: pa.Field) -> pa.Field:
        return field.with_type(_parquet(field.type, coarse=coarse))

    if pa.types.is_map(type_):
        return pa.map_(inner(type_.key_field), inner(type_.item_field))
    if pa.types.is_struct(type_):
        fields = [inner(type_.field(i)) for i in range(type_.num_fields)]
        # Parquet has no struct without fields, and readers find a field by its name.
        return pa.struct(fields) if len({f.name for f in fields}) == len(fields) > 0 else _TEXT
    if str(type_).startswith("large_"):
        return _TEXT
    return pa.list_(inner(type_.value_field))


def _is_list(type_: pa.DataType) -> bool:
    return (
        pa.types.is_nested(type_) and hasattr(type_, "value_field") and not pa.types.is_map(type_)
    )


def _is_decimal(type_: pa.DataType) -> bool:
    return bool(pa.types.is_decimal(type_) and 0 <= type_.scale <= type_.precision <= _MAX_DIGITS)


def _unit(unit: str, *, coarse: bool) -> str:
    return {"s": "ms", "ns": "us" if coarse else "ns"}.get(unit, unit)


def _dialect(name: str, arrow: Callable[[pa.DataType], pa.DataType]) -> Dialect:
    """A file has no tables to alter and no keys: only the types matter."""

    def map_type(type_: pa.DataType) -> Mapped:
        found = arrow(type_)
        # Also where the file has it as a text, its column is known to hold JSON.
        return Mapped("json" if types.JSON in (type_, found) else str(found), found)

    return Dialect(
        name=name,
        map_type=map_type,
        holds=lambda wide, narrow: wide == narrow,
        merge="delete-insert",
        text=str(_TEXT),
        enforces_keys=False,
    )


CSV = _dialect("csv file", _csv)
JSON = _dialect("json file", _json)
PARQUET = _dialect("parquet file", _parquet)
PARQUET_COARSE = _dialect("parquet file", lambda type_: _parquet(type_, coarse=True))
