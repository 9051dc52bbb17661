"""The text of every Arrow value, exact in both directions; nested values are JSON.

Text is what CSV parts hold, and what Parquet holds of the few types that it has no place for.
Null stays null: only a format decides how a missing text looks. `from_text(to_text(a), a.type)`
equals `a` for every type that has a name in our documents.

| type | text |
| --- | --- |
| integers, decimals, floats, booleans | as Arrow prints them: shortest that reads back equal, `nan`, `inf` |
| strings, json, inet | themselves |
| binary | base64 |
| uuid, mac | `8-4-4-4-12` hexadecimal digits, `aa:bb:cc:dd:ee:ff` |
| date, time, timestamp | ISO 8601 with all digits of the unit, a zoned timestamp in UTC with `Z` |
| … beyond the years 1 to 9999 (or past midnight) | `@` and the number of units |
| duration | number of units |
| interval, lists, structs, maps | JSON; a map is a list of pairs |
"""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from contracts import types
from contracts.stagefile.digits import hex_text, hex_value

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY_S = 86_400
_YEAR_1_DAYS, _YEAR_9999_DAYS = -719_162, 2_932_896  # 0001-01-01 and 9999-12-31


def to_text(array: pa.Array) -> pa.Array:
    """The values as strings, nulls as nulls."""
    type_ = array.type
    if pa.types.is_dictionary(type_):
        return to_text(array.dictionary_decode())
    if name := types.extension_of(type_):
        storage = array.storage
        return hex_text(storage, name) if name in {"uuid", "mac"} else storage
    if is_ticking(type_):
        return _ticks_to_text(array)
    if pa.types.is_duration(type_):
        return array.view(pa.int64()).cast(pa.string())
    if _is_binary(type_):
        values = array.to_pylist()
        return pa.array(
            [None if v is None else base64.b64encode(v).decode() for v in values], pa.string()
        )
    if pa.types.is_null(type_):
        return pa.nulls(len(array), pa.string())
    if is_json(type_):
        texts = [None if v is None else orjson.dumps(v).decode() for v in to_values(array)]
        return pa.array(texts, pa.string())
    return array.cast(pa.string())


def from_text(text: pa.Array, type_: pa.DataType) -> pa.Array:
    """Inverse of `to_text`. Raises ValueError (pa.ArrowInvalid) for a text that is not of the type."""
    if pa.types.is_dictionary(type_):
        return from_text(text, type_.value_type).dictionary_encode().cast(type_)
    if name := types.extension_of(type_):
        storage = hex_value(text, name) if name in {"uuid", "mac"} else text
        return pa.ExtensionArray.from_storage(type_, storage)
    if is_ticking(type_):
        return _text_to_ticks(text, type_)
    if pa.types.is_duration(type_):
        return text.cast(pa.int64()).view(type_)
    if _is_binary(type_):
        values = [None if v is None else base64.b64decode(v) for v in text.to_pylist()]
        return pa.array(values, type_)
    if pa.types.is_null(type_):
        return pa.nulls(len(text))
    if is_json(type_):
        return from_values(
            [None if v is None else orjson.loads(v) for v in text.to_pylist()], type_
        )
    return text.cast(type_)


def is_json(type_: pa.DataType) -> bool:
    """Whether the text of a value is a JSON list or object."""
    return bool(pa.types.is_nested(type_) or pa.types.is_interval(type_))


def _is_binary(type_: pa.DataType) -> bool:
    test = pa.types
    return bool(
        test.is_binary(type_)
        or test.is_large_binary(type_)
        or test.is_binary_view(type_)
        or test.is_fixed_size_binary(type_)
    )


# Dates, times and timestamps: integers that count units, with a calendar on top.


def is_ticking(type_: pa.DataType) -> bool:
    """Whether values are dates, times of day or timestamps."""
    return bool(pa.types.is_date(type_) or pa.types.is_time(type_) or pa.types.is_timestamp(type_))


def _integer(type_: pa.DataType) -> pa.DataType:
    return pa.int32() if type_.bit_width == 32 else pa.int64()


def _calendar(type_: pa.DataType) -> tuple[int, int]:
    """First and last count of units that has a date and a time of day as text."""
    if pa.types.is_date32(type_):
        return _YEAR_1_DAYS, _YEAR_9999_DAYS
    unit = 1000 if pa.types.is_date64(type_) else _PER_SECOND[type_.unit]
    if pa.types.is_time(type_):
        return 0, _DAY_S * unit - 1
    first, end = _YEAR_1_DAYS * _DAY_S * unit, (_YEAR_9999_DAYS + 1) * _DAY_S * unit
    # Nanoseconds end in 1677 and 2262, and Arrow does not read the broken second at either end.
    whole = 2**63 // unit * unit
    return max(first, -whole), min(end, whole) - 1


def has_calendar_text(array: pa.Array) -> bool:
    """Whether every value of a ticking array lies within the calendar."""
    first, last = _calendar(array.type)
    extremes = pc.min_max(array.view(_integer(array.type))).as_py()
    return extremes["min"] is None or bool(extremes["min"] >= first and extremes["max"] <= last)


def _ticks_to_text(array: pa.Array) -> pa.Array:
    if has_calendar_text(array):
        return _calendar_text(array)
    counts = array.view(_integer(array.type))
    first, last = _calendar(array.type)
    inside = pc.and_(pc.greater_equal(counts, first), pc.less_equal(counts, last))
    dated = _calendar_text(pc.if_else(inside, counts, pa.scalar(0, counts.type)).view(array.type))
    counted = pc.binary_join_element_wise("@", counts.cast(pa.string()), "")
    return pc.if_else(inside, dated, counted)


def _calendar_text(array: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(array.type) and array.type.tz:
        utc = array.view(pa.timestamp(array.type.unit))
        return pc.binary_join_element_wise(utc.cast(pa.string()), "Z", "")
    return array.cast(pa.string())


def _text_to_ticks(text: pa.Array, type_: pa.DataType) -> pa.Array:
    counted = pc.starts_with(text, "@")
    if not pc.any(counted).as_py():
        return _text_to_calendar(text, type_)
    dated = _text_to_calendar(pc.if_else(counted, pa.scalar(None, pa.string()), text), type_)
    digits = pc.if_else(counted, pc.replace_substring(text, "@", "", max_replacements=1), None)
    integer = _integer(type_)
    return pc.if_else(counted, digits.cast(integer), dated.view(integer)).view(type_)


def _text_to_calendar(text: pa.Array, type_: pa.DataType) -> pa.Array:
    if pa.types.is_time(type_):
        # Arrow reads no time of day, but it does read the first day of its epoch.
        first_day = pc.binary_join_element_wise("1970-01-01", text, " ")
        counts = first_day.cast(pa.timestamp(type_.unit)).view(pa.int64())
        return counts.cast(_integer(type_)).view(type_)
    if pa.types.is_timestamp(type_) and type_.tz:
        return text.cast(pa.timestamp(type_.unit, "UTC")).view(type_)
    return text.cast(type_)


# Nested values: Arrow's columns of leaves on one side, Python's lists and dicts on the other.


def to_values(array: pa.Array) -> list[Any]:
    """Values as JSON can hold them; every leaf that JSON has no type for is its text."""
    type_ = array.type
    if isinstance(type_, pa.BaseExtensionType) or pa.types.is_dictionary(type_):
        return to_text(array).to_pylist()  # type: ignore[no-any-return]
    if pa.types.is_interval(type_):
        return [None if v is None else list(v) for v in array.to_pylist()]
    if pa.types.is_struct(type_):
        return _structs_to_values(array)
    if pa.types.is_nested(type_):
        return _lists_to_values(array)
    if pa.types.is_floating(type_):
        # JSON has no nan and no inf: those are texts.
        values = array.cast(pa.float64()).to_pylist()
        return [v if v is None or v - v == 0 else str(v) for v in values]
    if pa.types.is_boolean(type_) or pa.types.is_integer(type_):
        return array.to_pylist()  # type: ignore[no-any-return]
    return to_text(array).to_pylist()  # type: ignore[no-any-return]


def _structs_to_values(array: pa.Array) -> list[Any]:
    type_ = array.type
    valid = array.is_valid().to_pylist()
    names = [type_.field(i).name for i in range(type_.num_fields)]
    columns = [to_values(child) for child in array.flatten()]
    rows = zip(*columns, strict=True) if columns else (() for _ in valid)
    # Two fields of one name would be one key of an object: such structs are lists.
    whole = dict if len(set(names)) == len(names) else (lambda pairs: [v for _, v in pairs])
    return [
        whole(zip(names, row, strict=True)) if ok else None
        for ok, row in zip(valid, rows, strict=True)
    ]


def _lists_to_values(array: pa.Array) -> list[Any]:
    # By offsets and not by `flatten`, which Arrow cannot do for every extension type.
    starts, stops = _spans(array)
    valid = array.is_valid().to_pylist()
    first = min((a for a, ok in zip(starts, valid, strict=True) if ok), default=0)
    last = max((z for z, ok in zip(stops, valid, strict=True) if ok), default=first)
    if pa.types.is_map(array.type):
        keys, items = (to_values(c.slice(first, last - first)) for c in (array.keys, array.items))
        flat = [list(pair) for pair in zip(keys, items, strict=True)]
    else:
        flat = to_values(array.values.slice(first, last - first))
    return [
        flat[a - first : z - first] if ok else None
        for a, z, ok in zip(starts, stops, valid, strict=True)
    ]


def _spans(array: pa.Array) -> tuple[list[int], list[int]]:
    """Where each list starts and stops in the child array."""
    type_ = array.type
    if pa.types.is_fixed_size_list(type_):
        starts = [(array.offset + i) * type_.list_size for i in range(len(array))]
        return starts, [start + type_.list_size for start in starts]
    starts = array.offsets.to_pylist()
    if pa.types.is_list_view(type_) or pa.types.is_large_list_view(type_):
        return starts, [a + n for a, n in zip(starts, array.sizes.to_pylist(), strict=True)]
    return starts[:-1], starts[1:]


def from_values(values: list[Any], type_: pa.DataType) -> pa.Array:
    """Inverse of `to_values`."""
    if isinstance(type_, pa.BaseExtensionType) or pa.types.is_dictionary(type_):
        return from_text(pa.array(values, pa.string()), type_)
    if pa.types.is_interval(type_):
        return pa.array([None if v is None else tuple(v) for v in values], type_)
    if pa.types.is_struct(type_):
        return _values_to_structs(values, type_)
    if pa.types.is_nested(type_):
        return _values_to_lists(values, type_)
    if pa.types.is_floating(type_):
        floats = pa.array([None if v is None else float(v) for v in values], pa.float64())
        # Exact: each is the double of a value of the narrower type.
        return floats if pa.types.is_float64(type_) else floats.cast(pa.float32()).cast(type_)
    if pa.types.is_boolean(type_) or pa.types.is_integer(type_):
        return pa.array(values, type_)
    return from_text(pa.array(values, pa.string()), type_)


def _missing(values: list[Any]) -> pa.Array:
    return pa.array([v is None for v in values], pa.bool_())


def _values_to_structs(values: list[Any], type_: pa.DataType) -> pa.Array:
    fields = [type_.field(i) for i in range(type_.num_fields)]
    if not fields:
        return pa.array(values, type_)
    empty = [None] * len(fields)
    rows = [empty if v is None else list(v.values()) if isinstance(v, dict) else v for v in values]
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(fields)
    children = [from_values(list(c), f.type) for c, f in zip(columns, fields, strict=True)]
    return pa.StructArray.from_arrays(children, fields=fields, mask=_missing(values))


def _values_to_lists(values: list[Any], type_: pa.DataType) -> pa.Array:
    mask = _missing(values)
    flat: list[Any]
    if pa.types.is_fixed_size_list(type_):
        filler = [None] * type_.list_size
        flat = [item for v in values for item in (filler if v is None else v)]
        return pa.FixedSizeListArray.from_arrays(
            from_values(flat, type_.value_type), type=type_, mask=mask
        )
    flat = [item for v in values if v is not None for item in v]
    sizes = [0 if v is None else len(v) for v in values]
    offsets = [0]
    for size in sizes:
        offsets.append(offsets[-1] + size)
    if pa.types.is_map(type_):
        keys = from_values([pair[0] for pair in flat], type_.key_type)
        items = from_values([pair[1] for pair in flat], type_.item_type)
        return pa.MapArray.from_arrays(
            pa.array(offsets, pa.int32()), keys, items, type=type_, mask=mask
        )
    inner = from_values(flat, type_.value_type)
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        maker, width = (
            (pa.ListArray, pa.int32())
            if pa.types.is_list(type_)
            else (pa.LargeListArray, pa.int64())
        )
        return maker.from_arrays(pa.array(offsets, width), inner, type=type_, mask=mask)
    maker, width = (
        (pa.ListViewArray, pa.int32())
        if pa.types.is_list_view(type_)
        else (pa.LargeListViewArray, pa.int64())
    )
    starts = pa.array(offsets[:-1], width)
    return maker.from_arrays(starts, pa.array(sizes, width), inner, type=type_, mask=mask)
