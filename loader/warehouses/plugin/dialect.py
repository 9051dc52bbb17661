"""Types and names as CloudQuery's plugins have them: as they are, but for the layouts that their SDKs lack."""

from __future__ import annotations

import json

import pyarrow as pa

from contracts import types
from loader.dialect import Dialect, Mapped


def arrow(type_: pa.DataType) -> pa.DataType:
    """The type on the wire. Views and dictionaries are layouts of values that have plain types."""
    test = pa.types
    if test.is_dictionary(type_):
        return arrow(type_.value_type)
    if type_ == pa.string_view():
        return pa.string()
    if type_ == pa.binary_view():
        return pa.binary()
    if isinstance(type_, pa.Decimal32Type | pa.Decimal64Type):
        return pa.decimal128(type_.precision, type_.scale)
    if test.is_struct(type_):
        return pa.struct([_inner(type_.field(i)) for i in range(type_.num_fields)])
    if test.is_map(type_):
        return pa.map_(_inner(type_.key_field), _inner(type_.item_field))
    if isinstance(type_, pa.ListType | pa.ListViewType | pa.LargeListViewType | pa.LargeListType):
        return pa.list_(_inner(type_.value_field))
    return type_


def _inner(field: pa.Field) -> pa.Field:
    return field.with_type(arrow(field.type))


def _mapped(type_: pa.DataType) -> Mapped:
    found = arrow(type_)
    return Mapped(json.dumps(types.encode(found)), found)


DIALECT = Dialect(
    name="plugin",
    map_type=_mapped,
    holds=lambda wide, narrow: wide == narrow,
    merge="on-conflict",
    text=json.dumps("string"),
    enforces_keys=False,
)
