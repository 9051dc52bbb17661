"""The type system: every Arrow type, and CloudQuery's four (uuid, json, inet, mac) on top of them.

uuid and json are Arrow's canonical extension types, so that any Parquet reader sees them as such;
inet (CIDR text) and mac (six bytes) are ours. The names of types in our documents are JSON:
a string for a flat type, an object for a nested one; `encode` and `decode` are each other's inverse.
"""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]


class InetType(pa.ExtensionType):
    """An IP address or network, as CIDR text."""

    def __init__(self) -> None:
        super().__init__(pa.string(), "inet")

    def __hash__(self) -> int:
        return hash(self.extension_name)

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> InetType:
        del storage_type, serialized
        return cls()


class MacType(pa.ExtensionType):
    """A hardware address: six raw bytes."""

    def __init__(self) -> None:
        super().__init__(pa.binary(6), "mac")

    def __hash__(self) -> int:
        return hash(self.extension_name)

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> MacType:
        del storage_type, serialized
        return cls()


UUID = pa.uuid()
JSON = pa.json_(pa.string())
INET = InetType()
MAC = MacType()
TIMESTAMP = pa.timestamp("us", tz="UTC")

_EXTENSIONS: dict[str, pa.DataType] = {"uuid": UUID, "json": JSON, "inet": INET, "mac": MAC}

_FLAT: dict[str, pa.DataType] = {
    str(t): t
    for t in (
        pa.null(), pa.bool_(),
        pa.int8(), pa.int16(), pa.int32(), pa.int64(),
        pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64(),
        pa.float16(), pa.float32(), pa.float64(),
        pa.string(), pa.large_string(), pa.string_view(),
        pa.binary(), pa.large_binary(), pa.binary_view(),
        pa.date32(), pa.date64(),
        pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns"),
        pa.duration("s"), pa.duration("ms"), pa.duration("us"), pa.duration("ns"),
        pa.month_day_nano_interval(),
        *(pa.timestamp(unit) for unit in ("s", "ms", "us", "ns")),
    )
}  # fmt: skip
_ZONED = re.compile(r"timestamp\[(s|ms|us|ns), tz=(.+)\]")
_FIXED = re.compile(r"fixed_size_binary\[(\d+)\]")
_DECIMALS = {
    "decimal32": pa.decimal32,
    "decimal64": pa.decimal64,
    "decimal128": pa.decimal128,
    "decimal256": pa.decimal256,
}
_LISTS = {
    "list": pa.list_,
    "large_list": pa.large_list,
    "list_view": pa.list_view,
    "large_list_view": pa.large_list_view,
}


def extension_of(type_: pa.DataType) -> str:
    """'uuid', 'json', 'inet' or 'mac'; empty for every other type."""
    for name, known in _EXTENSIONS.items():
        if type_ == known:
            return name
    return ""


def storage_of(type_: pa.DataType) -> pa.DataType:
    """The physical type below an extension type; other types are their own."""
    return type_.storage_type if isinstance(type_, pa.BaseExtensionType) else type_


def encode(type_: pa.DataType) -> Any:
    """The JSON name of a type. Raises TypeError for a type that no document can hold."""
    if name := extension_of(type_):
        return name
    text = str(type_)
    if text in _FLAT or _ZONED.fullmatch(text) or _FIXED.fullmatch(text):
        return text
    if pa.types.is_decimal(type_):
        return {text.split("(", maxsplit=1)[0]: [type_.precision, type_.scale]}
    if pa.types.is_dictionary(type_):
        return {"dictionary": [encode(type_.index_type), encode(type_.value_type)]}
    if pa.types.is_fixed_size_list(type_):
        return {"fixed_size_list": [_encode_field(type_.value_field), type_.list_size]}
    if pa.types.is_struct(type_):
        return {"struct": [_encode_field(type_.field(i)) for i in range(type_.num_fields)]}
    if pa.types.is_map(type_):
        return {"map": [_encode_field(type_.key_field), _encode_field(type_.item_field)]}
    for name in _LISTS:
        if text.startswith(f"{name}<"):
            return {name: _encode_field(type_.value_field)}
    raise TypeError(f"the type {text} has no name in our documents")


def decode(name: Any) -> pa.DataType:
    """The type of a JSON name. Raises ValueError if there is no such type."""
    if isinstance(name, str):
        return _decode_flat(name)
    if not isinstance(name, dict) or len(name) != 1:
        raise ValueError(f"not the name of a type: {name!r}")
    (kind, inner), *_ = name.items()
    if kind in _DECIMALS:
        return _DECIMALS[kind](*inner)
    if kind in _LISTS:
        return _LISTS[kind](_decode_field(inner))
    match kind:
        case "fixed_size_list":
            return pa.list_(_decode_field(inner[0]), inner[1])
        case "struct":
            return pa.struct([_decode_field(f) for f in inner])
        case "map":
            return pa.map_(_decode_field(inner[0]), _decode_field(inner[1]))
        case "dictionary":
            return pa.dictionary(decode(inner[0]), decode(inner[1]))
        case _:
            raise ValueError(f"not the name of a type: {name!r}")


def _decode_flat(name: str) -> pa.DataType:
    if known := _EXTENSIONS.get(name) or _FLAT.get(name):
        return known
    if zoned := _ZONED.fullmatch(name):
        return pa.timestamp(zoned[1], tz=zoned[2])
    if fixed := _FIXED.fullmatch(name):
        return pa.binary(int(fixed[1]))
    raise ValueError(f"not the name of a type: {name!r}")


def _encode_field(field: pa.Field) -> list[Any]:
    return [field.name, encode(field.type), field.nullable]


def _decode_field(field: list[Any]) -> pa.Field:
    return pa.field(field[0], decode(field[1]), field[2])
