"""Hypothesis strategies: any type that has a name in our documents, and arrays of it."""

from __future__ import annotations

from decimal import Context, Decimal
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from contracts import types

_FLAT = [
    *types._FLAT.values(),
    types.UUID, types.JSON, types.INET, types.MAC,
    pa.timestamp("us", tz="UTC"), pa.timestamp("ns", tz="Asia/Kathmandu"), pa.timestamp("s", tz="+05:00"),
    pa.binary(0), pa.binary(5),
    pa.decimal32(5, 2), pa.decimal64(12, 0), pa.decimal128(38, 20), pa.decimal128(9, -3),
    pa.decimal256(76, 38),
    pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int32(), pa.int64()),
]  # fmt: skip

flat_types = st.sampled_from(_FLAT)


def _nest(inner: st.SearchStrategy[pa.DataType]) -> st.SearchStrategy[pa.DataType]:
    # Arrow nests no type without values into a list view of Parquet, nor a dictionary into a map key.
    field = st.builds(pa.field, st.sampled_from(["a", "b", 'ü, "x"']), inner)
    return st.one_of(
        inner.map(pa.list_),
        inner.map(pa.large_list),
        inner.map(pa.list_view),
        inner.map(pa.large_list_view),
        st.builds(pa.list_, inner, st.integers(1, 3)),
        st.lists(field, max_size=3).map(pa.struct),
        st.builds(pa.map_, st.sampled_from([pa.string(), pa.int32(), pa.date32()]), inner),
    )


any_types = st.recursive(flat_types, _nest, max_leaves=4)


def storage(type_: pa.DataType) -> pa.DataType:
    """The type without extensions and dictionaries at any depth: what Python values are turned into."""
    if isinstance(type_, pa.BaseExtensionType):
        return type_.storage_type
    if pa.types.is_dictionary(type_):
        return type_.value_type
    if pa.types.is_struct(type_):
        return pa.struct([f.with_type(storage(f.type)) for f in type_.fields])
    if pa.types.is_map(type_):
        return pa.map_(type_.key_field, type_.item_field.with_type(storage(type_.item_type)))
    if pa.types.is_fixed_size_list(type_):
        return pa.list_(type_.value_field.with_type(storage(type_.value_type)), type_.list_size)
    if pa.types.is_nested(type_):
        inner = type_.value_field.with_type(storage(type_.value_type))
        for name, maker in types._LISTS.items():
            if str(type_).startswith(f"{name}<"):
                return maker(inner)
    return type_


def dressed(array: pa.Array, type_: pa.DataType) -> pa.Array:
    """An array of the storage type as one of `type_`."""
    if array.type == type_:
        return array
    if isinstance(type_, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(type_, array)
    if pa.types.is_dictionary(type_):
        return array.dictionary_encode().cast(type_)
    mask = array.is_null()
    if pa.types.is_struct(type_):
        fields = list(type_.fields)
        children = [dressed(array.field(i), f.type) for i, f in enumerate(fields)]
        return pa.StructArray.from_arrays(children, fields=fields, mask=mask)
    if pa.types.is_map(type_):
        items = dressed(array.items, type_.item_type)
        return pa.MapArray.from_arrays(array.offsets, array.keys, items, type=type_, mask=mask)
    values = dressed(array.values, type_.value_type)
    if pa.types.is_fixed_size_list(type_):
        return pa.FixedSizeListArray.from_arrays(values, type=type_, mask=mask)
    if pa.types.is_list_view(type_):
        return pa.ListViewArray.from_arrays(
            array.offsets, array.sizes, values, type=type_, mask=mask
        )
    if pa.types.is_large_list_view(type_):
        return pa.LargeListViewArray.from_arrays(
            array.offsets, array.sizes, values, type=type_, mask=mask
        )
    maker = pa.ListArray if pa.types.is_list(type_) else pa.LargeListArray
    return maker.from_arrays(array.offsets, values, type=type_, mask=mask)


_TEXT = st.one_of(
    st.sampled_from(
        ["", " ", '"', ",", "\n", "\r\n", "\r", "NULL", "null", "@1", "żółć 🦆", "a\tb", "\\N"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
)


def _integers(type_: pa.DataType) -> st.SearchStrategy[Any]:
    width = type_.bit_width
    if pa.types.is_unsigned_integer(type_):
        return st.integers(0, 2**width - 1)
    return st.integers(-(2 ** (width - 1)), 2 ** (width - 1) - 1)


def _decimals(type_: pa.DataType) -> st.SearchStrategy[Decimal]:
    most = 10**type_.precision - 1
    exact = Context(prec=100)
    return st.integers(-most, most).map(lambda i: Decimal(i).scaleb(-type_.scale, context=exact))


def values(type_: pa.DataType) -> st.SearchStrategy[Any]:
    """Python values that `pa.array(…, storage(type_))` takes, nulls among them."""
    return st.one_of(st.none(), _values(storage(type_)))


def _values(type_: pa.DataType) -> st.SearchStrategy[Any]:
    test = pa.types
    if test.is_null(type_):
        return st.none()
    if test.is_boolean(type_):
        return st.booleans()
    if test.is_integer(type_):
        return _integers(type_)
    if test.is_floating(type_):
        width = {"halffloat": 16, "float": 32, "double": 64}[str(type_)]
        return st.floats(width=width)
    if test.is_decimal(type_):
        return _decimals(type_)
    if test.is_date64(type_):
        return st.integers(-(10**10), 10**10).map(lambda days: days * 86_400_000)
    if test.is_date(type_) or test.is_timestamp(type_) or test.is_duration(type_):
        few = st.integers(-(10**5), 10**5)
        return st.one_of(few, _integers(pa.int32() if type_.bit_width == 32 else pa.int64()))
    if test.is_time(type_):
        return st.integers(0, 86_400 * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[type_.unit])
    if test.is_interval(type_):
        small = st.integers(-(2**31), 2**31 - 1)
        return st.tuples(small, small, st.integers(-(2**63), 2**63 - 1))
    if test.is_fixed_size_binary(type_):
        return st.binary(min_size=type_.byte_width, max_size=type_.byte_width)
    if test.is_struct(type_):
        # As pairs: two fields may have one name.
        return st.tuples(*(values(f.type) for f in type_.fields)).map(
            lambda row: list(zip([f.name for f in type_.fields], row, strict=True))
        )
    if test.is_map(type_):
        return st.lists(st.tuples(_values(type_.key_type), values(type_.item_type)), max_size=2)
    if not test.is_nested(type_):
        return st.binary(max_size=5) if "binary" in str(type_) else _TEXT
    size = type_.list_size if test.is_fixed_size_list(type_) else None
    return st.lists(
        values(type_.value_type), min_size=size or 0, max_size=3 if size is None else size
    )


@st.composite
def arrays(
    draw: Any, of: st.SearchStrategy[pa.DataType] = any_types, rows: int | None = None
) -> pa.Array:
    """An array of any type; sometimes a slice of a longer one."""
    type_ = draw(of)
    size = draw(st.integers(0, 5)) if rows is None else rows
    before = draw(st.integers(0, 2))
    python = draw(st.lists(values(type_), min_size=size + before, max_size=size + before))
    return dressed(pa.array(python, storage(type_)), type_)[before:]


def same(one: pa.Array, other: pa.Array) -> bool:
    """Equal types and values; dictionaries by what they say, nan equal to nan."""
    test, type_ = pa.types, one.type
    if type_ != other.type or len(one) != len(other):
        return False
    if not one.is_null().equals(other.is_null()):
        return False
    if isinstance(type_, pa.BaseExtensionType):
        return same(one.storage, other.storage)
    if test.is_dictionary(type_):
        return same(one.dictionary_decode(), other.dictionary_decode())
    if test.is_floating(type_):
        left, right = (a.cast(pa.float64()).to_pylist() for a in (one, other))
        return repr(left) == repr(right)
    if test.is_struct(type_):
        pairs = zip(one.flatten(), other.flatten(), strict=True)
        return all(same(a, b) for a, b in pairs)
    if test.is_nested(type_):
        left, right = ([a[i].values for i in range(len(a)) if a[i].is_valid] for a in (one, other))
        return all(same(a, b) for a, b in zip(left, right, strict=True))
    return bool(one.equals(other))
