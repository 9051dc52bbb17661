"""Names of types in documents: every Arrow type has one, and it reads back as the same type."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import types

FLAT = [
    *types._FLAT.values(),
    types.UUID,
    types.JSON,
    types.INET,
    types.MAC,
    types.TIMESTAMP,
    pa.binary(7),
]

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
flat = st.sampled_from(FLAT) | st.builds(pa.decimal128, st.integers(1, 38), st.integers(0, 5))
any_type = st.recursive(
    flat,
    lambda inner: (
        st.builds(pa.list_, inner)
        | st.builds(pa.large_list, inner)
        | st.builds(lambda t, n: pa.list_(t, n), inner, st.integers(1, 9))
        | st.builds(pa.map_, st.just(pa.string()), inner)
        | st.builds(
            lambda fields, nullable: pa.struct(
                [pa.field(n, t, nullable or t == pa.null()) for n, t in fields.items()]
            ),
            st.dictionaries(names, inner, min_size=1, max_size=3),
            st.booleans(),
        )
    ),
    max_leaves=6,
)


@given(any_type)
def test_every_type_reads_back_from_its_name(type_):
    assert types.decode(types.encode(type_)) == type_


@pytest.mark.parametrize("name", ["", "int", 7, None, [], {}, {"a": 1, "b": 2}, {"tree": "int8"}])
def test_what_is_no_name_of_a_type_is_refused(name):
    with pytest.raises(ValueError, match="not the name of a type"):
        types.decode(name)


def test_a_type_without_a_name_is_refused():
    with pytest.raises(TypeError, match="has no name"):
        types.encode(pa.run_end_encoded(pa.int32(), pa.string()))


def test_cloudquery_types_are_told_from_their_storage():
    assert [types.extension_of(t) for t in (types.UUID, types.JSON, types.INET, types.MAC)] == [
        "uuid", "json", "inet", "mac",
    ]  # fmt: skip
    assert types.extension_of(pa.string()) == ""
    assert types.storage_of(types.MAC) == pa.binary(6)
    assert types.storage_of(pa.int8()) == pa.int8()
