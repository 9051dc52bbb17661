"""Batches as an engine takes them: each column in the Arrow type that the dialect asks for, nothing lost.

What an engine has no type for becomes text: durations and intervals as ISO 8601, structs and maps as
JSON, hardware addresses as `08:00:2b:01:02:03`, decimals as digits. Times with a zone become UTC.
"""

from __future__ import annotations

import math
from itertools import accumulate, pairwise
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from contracts import types
from contracts.stagefile.text import to_text

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def convert(array: pa.Array, target: pa.DataType) -> pa.Array:
    """The array as `target`. Raises pa.ArrowInvalid for a value that has no place in it."""
    type_ = array.type
    if type_ == target:
        return array
    if pa.types.is_null(type_):
        return pa.nulls(len(array), target)
    if pa.types.is_dictionary(type_):
        return convert(array.dictionary_decode(), target)
    if pa.types.is_string(types.storage_of(target)) and types.extension_of(type_) != "json":
        text = _text(array)
        return text if target == pa.string() else text.cast(types.storage_of(target)).cast(target)
    if isinstance(target, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(target, convert(array, target.storage_type))
    if isinstance(type_, pa.BaseExtensionType):
        return convert(array.storage, target)
    if pa.types.is_list(target):
        return _list(array, target)
    if pa.types.is_struct(target):
        return _struct(array, target)
    if pa.types.is_map(target):
        return _entries(array, target)
    if pa.types.is_timestamp(type_) and pa.types.is_timestamp(target) and type_.tz:
        # Both count from the epoch in UTC: only the unit may differ.
        utc = array.cast(pa.timestamp(target.unit, tz="UTC"))
        return utc.view(pa.int64()).view(target)
    return array.cast(target)


def _list(array: pa.Array, target: pa.DataType) -> pa.Array:
    """Any kind of list as a plain list of converted values."""
    offsets, values = _lists(array)
    mask = array.is_null() if array.null_count else None
    return pa.ListArray.from_arrays(
        offsets, convert(values, target.value_type), type=target, mask=mask
    )


def _struct(array: pa.Array, target: pa.DataType) -> pa.Array:
    """A struct of converted fields, in the order of the target."""
    fields = [target.field(i) for i in range(target.num_fields)]
    children = [convert(c, f.type) for c, f in zip(array.flatten(), fields, strict=True)]
    return pa.StructArray.from_arrays(children, fields=fields, mask=array.is_null())


def _entries(array: pa.Array, target: pa.DataType) -> pa.Array:
    """A map of converted keys and items."""
    offsets, (keys, items) = _flattened(array, array.keys, array.items)
    return pa.MapArray.from_arrays(
        offsets, convert(keys, target.key_type), convert(items, target.item_type),
        type=target, mask=array.is_null() if array.null_count else None,
    )  # fmt: skip


def _lists(array: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Offsets from zero and the values between them, for every layout of lists; a null list is empty.

    Arrow's own `list_flatten` has no form for extension types.
    """
    if pa.types.is_list(array.type) and not array.null_count:
        first, last = array.offsets[0], array.offsets[-1]
        values = array.values.slice(first.as_py(), last.as_py() - first.as_py())
        return pc.subtract(array.offsets, first), values
    offsets, (values,) = _flattened(array, array.values)
    return offsets, values


def _flattened(array: pa.Array, *children: pa.Array) -> tuple[pa.Array, list[pa.Array]]:
    """Offsets from zero, and of each child array what lies between them."""
    spans = _spans(array)
    offsets = list(accumulate((stop - start for start, stop in spans), initial=0))
    filled = [span for span in spans if span[0] < span[1]]
    if all(left[1] == right[0] for left, right in pairwise(filled)):
        start = filled[0][0] if filled else 0
        found = [child.slice(start, offsets[-1]) for child in children]
    else:
        # Not by `take`, which Arrow lacks for views.
        found = [pa.concat_arrays([c.slice(a, z - a) for a, z in filled]) for c in children]
    return pa.array(offsets, pa.int32()), found


def _spans(array: pa.Array) -> list[tuple[int, int]]:
    """Where each list starts and stops in the child array; nowhere if it is null."""
    type_ = array.type
    if pa.types.is_fixed_size_list(type_):
        starts = [(array.offset + i) * type_.list_size for i in range(len(array))]
        stops = [start + type_.list_size for start in starts]
    else:
        starts = array.offsets.to_pylist()
        if hasattr(array, "sizes"):
            stops = [a + n for a, n in zip(starts, array.sizes.to_pylist(), strict=True)]
        else:
            starts, stops = starts[:-1], starts[1:]
    valid = array.is_valid().to_pylist()
    return [(a, z) if ok else (0, 0) for a, z, ok in zip(starts, stops, valid, strict=True)]


def _text(array: pa.Array) -> pa.Array:
    """The text of every value; null stays null."""
    type_ = array.type
    if pa.types.is_nested(type_):
        return pa.array([None if v is None else json_text(v) for v in objects(array)], pa.string())
    if pa.types.is_duration(type_) or type_ == pa.month_day_nano_interval():
        return pa.array(objects(array), pa.string())
    return to_text(array)


def objects(array: pa.Array) -> list[Any]:
    """The values as JSON has them. Columns are walked rather than values: Python has no nanoseconds."""
    type_ = array.type
    if pa.types.is_dictionary(type_):
        return objects(array.dictionary_decode())
    if pa.types.is_struct(type_):
        names = [type_.field(i).name for i in range(type_.num_fields)]
        columns = [objects(column) for column in array.flatten()]
        rows = zip(*columns, strict=True) if columns else ([()] * len(array))
        valid = array.is_valid().to_pylist()
        return [
            dict(zip(names, row, strict=True)) if ok else None
            for row, ok in zip(rows, valid, strict=True)
        ]
    if pa.types.is_map(type_):
        # Not by a cast to a list of structs: of some nested maps that ends the process.
        offsets, children = _flattened(array, array.keys, array.items)
        entries = list(zip(*map(objects, children), strict=True))
        at, valid = offsets.to_pylist(), array.is_valid().to_pylist()
        return [_map(entries[at[i] : at[i + 1]]) if ok else None for i, ok in enumerate(valid)]
    if _is_list(type_):
        offsets, inner = _lists(array)
        at, values, valid = offsets.to_pylist(), objects(inner), array.is_valid().to_pylist()
        return [values[at[i] : at[i + 1]] if ok else None for i, ok in enumerate(valid)]
    if pa.types.is_duration(type_):
        counts = array.view(pa.int64()).to_pylist()
        return [None if v is None else duration_text((v, type_.unit)) for v in counts]
    if type_ == pa.month_day_nano_interval():
        return [None if v is None else interval_text(v) for v in array.to_pylist()]
    if pa.types.is_floating(type_):
        finite = (
            None if v is None else v if math.isfinite(v) else str(v) for v in array.to_pylist()
        )
        return list(finite)
    if types.extension_of(type_) == "json":
        return [None if v is None else _parsed(v) for v in array.to_pylist()]
    if pa.types.is_boolean(type_) or pa.types.is_integer(type_):
        return list(array.to_pylist())
    return list(_text(array).to_pylist())


def duration_text(value: tuple[int, str]) -> str:
    """ISO 8601 in seconds: (1500, "ms") → PT1.5S."""
    count, unit = value
    return f"PT{_decimal_seconds(count, _PER_SECOND[unit])}S"


def interval_text(value: Any) -> str:
    """ISO 8601 of months, days and nanoseconds, none of which turns into another: P1M2DT0.5S."""
    months, days, nanoseconds = value
    return f"P{months}M{days}DT{_decimal_seconds(nanoseconds, 10**9)}S"


def _decimal_seconds(count: int, per_second: int) -> str:
    whole, rest = divmod(abs(count), per_second)
    digits = len(str(per_second)) - 1
    fraction = f".{rest:0{digits}d}".rstrip("0") if rest else ""
    return f"{'-' if count < 0 else ''}{whole}{fraction}"


def json_text(value: Any) -> str:
    return orjson.dumps(value).decode()


def _parsed(text: str) -> Any:
    """JSON inside of JSON is itself; a text that is no JSON stays a text."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _map(entries: list[tuple[Any, Any]]) -> Any:
    """A map as an object; as a list of pairs if a key is not text or comes twice."""
    keys = [k for k, _ in entries]
    if all(isinstance(k, str) for k in keys) and len(set(keys)) == len(keys):
        return dict(entries)
    return [list(entry) for entry in entries]


def _is_list(type_: pa.DataType) -> bool:
    return isinstance(
        type_, pa.ListType | pa.LargeListType | pa.ListViewType | pa.LargeListViewType
        | pa.FixedSizeListType,
    )  # fmt: skip
