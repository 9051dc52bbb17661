"""An array as another type of the same values: extension types put on and taken off, at any depth.

Arrow's cast does not go from one extension type to another, nor into list views; so the way down is
walked here, sharing the buffers, and only what is flat is cast.
"""

from __future__ import annotations

import pyarrow as pa


def recast(array: pa.Array, type_: pa.DataType) -> pa.Array:
    """Raises pa.ArrowInvalid or pa.ArrowNotImplementedError for values that the type does not allow."""
    if array.type == type_:
        return array
    if isinstance(array.type, pa.BaseExtensionType):
        return recast(array.storage, type_)
    if isinstance(type_, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(type_, recast(array, type_.storage_type))
    if array.type.id != type_.id:
        return array.cast(type_)
    if pa.types.is_dictionary(type_):
        values = recast(array.dictionary, type_.value_type)
        indices = array.indices.cast(type_.index_type)
        return pa.DictionaryArray.from_arrays(indices, values, ordered=type_.ordered)
    if pa.types.is_struct(type_):
        children = [recast(array.field(i), f.type) for i, f in enumerate(type_.fields)]
        return pa.StructArray.from_arrays(children, fields=type_.fields, mask=array.is_null())
    if pa.types.is_map(type_):
        entries = [recast(array.keys, type_.key_type), recast(array.items, type_.item_type)]
        fields = [type_.key_field, type_.item_field]
        return _around(array, type_, pa.StructArray.from_arrays(entries, fields=fields))
    if pa.types.is_nested(type_):
        return _around(array, type_, recast(array.values, type_.value_type))
    return array.cast(type_)


def _around(array: pa.Array, type_: pa.DataType, child: pa.Array) -> pa.Array:
    """The same lists around other values; `values` and `keys` of a slice are those of the whole array."""
    own = array.buffers()[: type_.num_buffers]
    return pa.Array.from_buffers(type_, len(array), own, offset=array.offset, children=[child])
