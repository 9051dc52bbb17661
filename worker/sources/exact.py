"""Exact casts between Arrow types, and the names by which a user chooses a type.

What a driver or a file delivers becomes the frozen type without losing anything, or it is an error.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from contracts import types


def named(name: str) -> pa.DataType:
    """The Arrow type of a name that options accept. Raises ValueError for any other."""
    known: dict[str, Any] = {
        "text": pa.string(),
        "json": types.JSON,
        "uuid": types.UUID,
        "binary": pa.binary(),
        "date": pa.date32(),
        "time": pa.time64("us"),
        "timestamp": pa.timestamp("us"),
        "timestamptz": types.TIMESTAMP,
        "bool": pa.bool_(),
        "int32": pa.int32(),
        "int64": pa.int64(),
        "float64": pa.float64(),
    }
    if name in known:
        return known[name]
    numbers = name.removeprefix("decimal(").removesuffix(")").split(",")
    decimal = decimal_type(*(int(n) for n in (*numbers, "0")[:2]))
    if decimal is None:
        raise ValueError(f"no type is called {name!r}; there are {', '.join(known)}, decimal(P,S)")
    return decimal


def decimal_type(precision: int, scale: int) -> pa.DataType | None:
    """The smallest decimal that holds numeric(precision, scale) exactly; None if none does.

    PostgreSQL allows a negative scale (whole hundreds) and a scale above the precision (0.00123).
    """
    if scale < 0:
        precision, scale = precision - scale, 0
    precision = max(precision, scale)
    if not 1 <= precision <= 76:
        return None
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)


def normalise(type_: pa.DataType) -> pa.DataType:
    """The type that we freeze for a type that is delivered: no opaque types, no dictionaries."""
    if types.extension_of(type_):
        return type_
    if isinstance(type_, pa.Bool8Type):  # how DuckDB sends booleans without loss
        return pa.bool_()
    if isinstance(type_, pa.BaseExtensionType):
        return normalise(type_.storage_type)
    if pa.types.is_dictionary(type_):
        return normalise(type_.value_type)
    if pa.types.is_timestamp(type_) and type_.tz:
        return pa.timestamp(type_.unit, tz="UTC")
    if pa.types.is_list(type_):
        return pa.list_(normalise(type_.value_type))
    if pa.types.is_fixed_size_list(type_):
        return pa.list_(normalise(type_.value_type), type_.list_size)
    if pa.types.is_struct(type_):
        return pa.struct([(f.name, normalise(f.type)) for f in type_])
    return type_


def exactly(array: pa.Array, target: pa.DataType) -> pa.Array:
    """The array as another type, every value kept. Raises ValueError (ArrowInvalid is one) or TypeError."""
    if array.type == target:
        return array
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), target)
    if target == types.UUID and pa.types.is_string(array.type):
        raw = [None if text is None else UUID(text).bytes for text in array.to_pylist()]
        return pa.ExtensionArray.from_storage(types.UUID, pa.array(raw, pa.binary(16)))
    if isinstance(target, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(target, exactly(array, target.storage_type))
    if isinstance(array.type, pa.BaseExtensionType):
        return exactly(array.storage, target)
    if pa.types.is_list(target) and pa.types.is_list(array.type):
        return _list(array, target)
    if pa.types.is_struct(target) and pa.types.is_struct(array.type):
        return _struct(array, target)
    if pa.types.is_boolean(target) and pa.types.is_integer(array.type):
        between(array, 0, 1, "neither 0 nor 1")
    elif not _keeps(array.type, target):
        raise ValueError(f"{array.type} arrived where {target} was planned")
    return array.cast(target)


def _list(array: pa.Array, target: pa.DataType) -> pa.Array:
    if array.offset:
        array = pa.concat_arrays([array])  # a copy: offsets of a slice cannot go with a mask
    values = exactly(array.values, target.value_type)
    mask = array.is_null() if array.null_count else None
    return pa.ListArray.from_arrays(array.offsets, values, type=target, mask=mask)


def _struct(array: pa.Array, target: pa.DataType) -> pa.Array:
    """Fields by name; a field that the target lacks is an error, one that the array lacks is null."""
    have = {f.name: i for i, f in enumerate(array.type)}
    if more := have.keys() - {f.name for f in target}:
        raise ValueError(f"the field {min(more)!r} was not planned")
    children = [
        exactly(array.field(have[f.name]), f.type) if f.name in have else pa.nulls(len(array), f.type)
        for f in target
    ]  # fmt: skip
    return pa.StructArray.from_arrays(children, fields=list(target), mask=array.is_null())


def _keeps(have: pa.DataType, want: pa.DataType) -> bool:
    """Whether Arrow's safe cast from one type to the other keeps every value or raises."""
    t = pa.types
    if t.is_string(have) or t.is_large_string(have) or t.is_string_view(have):
        return True
    if t.is_dictionary(have):
        return bool(have.value_type == want)
    if t.is_integer(have):
        return bool(t.is_integer(want) or t.is_decimal(want) or t.is_floating(want))
    if t.is_floating(have):
        return bool(t.is_floating(want) and have.bit_width <= want.bit_width)
    if t.is_binary(have) or t.is_large_binary(have) or t.is_fixed_size_binary(have):
        return bool(t.is_binary(want) or t.is_large_binary(want) or t.is_fixed_size_binary(want))
    if t.is_timestamp(have) and t.is_timestamp(want):
        return bool(have.tz) == bool(want.tz)
    kinds = (t.is_decimal, t.is_date, t.is_time, t.is_duration, t.is_list, t.is_large_list, t.is_fixed_size_list, t.is_map)  # fmt: skip
    return any(kind(have) and kind(want) for kind in kinds)


def between(numbers: pa.Array, low: int, high: int, what: str) -> None:
    """Raises ValueError (`a value is <what>`) if a number lies outside; both ends are inside."""
    found: Any = pc.min_max(numbers).as_py()
    if found["min"] is not None and (found["min"] < low or found["max"] > high):
        raise ValueError(f"a value is {what}")
