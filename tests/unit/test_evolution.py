"""Types widen along a lattice, tables unite in any order, and what was written in the old form keeps its values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import reduce
from itertools import product

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import evolution, types
from contracts.errors import SchemaChanged
from contracts.evolution import joined, united, widened
from contracts.table import Column, Table, with_cq_columns
from loader.warehouses import duckdb_types, postgresql_types
from tests.fakes.arrays import any_types, flat_types
from worker.grow import grown

FLAT = [
    *types._FLAT.values(),
    types.UUID, types.JSON, types.INET, types.MAC,
    pa.timestamp("us", "UTC"), pa.timestamp("s", "Asia/Kathmandu"), pa.timestamp("ns", "UTC"),
    pa.binary(4), pa.binary(6),
    pa.decimal32(5, 2), pa.decimal64(12, 0), pa.decimal128(9, -3), pa.decimal128(38, 20), pa.decimal256(76, 38),
    pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int32(), pa.string()), pa.dictionary(pa.int8(), pa.int16()),
    pa.list_(pa.int8()), pa.struct([("a", pa.int8())]),
]  # fmt: skip


def join(*all_: pa.DataType | None) -> pa.DataType | None:
    return reduce(lambda a, b: None if a is None or b is None else joined(a, b), all_)


def test_the_order_of_three_types_does_not_matter():
    for a, b in product(FLAT, FLAT):
        assert join(a, b) == join(b, a), (a, b)
        assert join(a, join(a, b)) == join(a, b), (a, b)
    wrong = [
        (a, b, c)
        for a, b, c in product(FLAT, FLAT, FLAT)
        if join(join(a, b), c) != join(a, join(b, c))
    ]
    assert not wrong, wrong[:5]


@given(any_types, any_types, any_types)
def test_the_laws_hold_for_any_type(a, b, c):
    assert joined(a, a) == a
    assert join(a, b) == join(b, a)
    assert join(join(a, b), c) == join(a, join(b, c))


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (pa.int8(), pa.int64(), pa.int64()),
        (pa.uint8(), pa.int8(), pa.int16()),
        (pa.uint32(), pa.int32(), pa.int64()),
        (pa.uint64(), pa.int8(), pa.decimal128(20, 0)),
        (pa.int64(), pa.decimal128(10, 2), pa.decimal128(22, 2)),
        (pa.int32(), pa.float32(), pa.float64()),
        (pa.float32(), pa.float64(), pa.float64()),
        (pa.decimal128(10, 2), pa.decimal128(8, 4), pa.decimal128(12, 4)),
        (pa.decimal128(38, 0), pa.decimal128(38, 20), pa.decimal256(58, 20)),
        (pa.string(), pa.large_string(), pa.large_string()),
        (pa.binary(4), pa.binary(6), pa.binary()),
        (pa.timestamp("s", "UTC"), pa.timestamp("us", "UTC"), pa.timestamp("us", "UTC")),
        (pa.timestamp("us", "UTC"), pa.timestamp("us", "+01:00"), pa.timestamp("us", "UTC")),
        (pa.null(), types.JSON, types.JSON),
        (pa.dictionary(pa.int8(), pa.string()), pa.string(), pa.string()),
        (pa.int64(), pa.float64(), None),
        (pa.int64(), pa.string(), None),
        (pa.date32(), pa.timestamp("us"), None),
        (pa.timestamp("us"), pa.timestamp("us", "UTC"), None),
        (pa.timestamp("us"), pa.timestamp("ns"), None),
        (types.UUID, pa.string(), None),
        (types.JSON, pa.string(), None),
        (pa.list_(pa.int8()), pa.list_(pa.int64()), None),
        (pa.decimal256(76, 0), pa.decimal256(76, 38), None),
        (pa.bool_(), pa.int8(), None),
    ],
    ids=str,
)
def test_which_type_holds_both(one, other, both):
    assert joined(one, other) == both


NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


def sample(type_: pa.DataType) -> pa.Array:
    """Values of a type, extremes among them, and a null."""
    test = pa.types
    values: list[object] = []
    if test.is_integer(type_):
        signed = type_ in evolution._SIGNED
        top = 2 ** (type_.bit_width - signed)
        values = [0, top - 1, -top if signed else 1]
    elif test.is_float16(type_):
        return pa.array([0.5, None], pa.float32()).cast(type_)
    elif test.is_floating(type_):
        values = [0.5, -2.0]
    elif test.is_decimal(type_):
        values = [Decimal(0), Decimal(-12) * Decimal(1000 if type_.scale < 0 else 1)]
    elif test.is_timestamp(type_):
        values = [NOW if type_.tz else NOW.replace(tzinfo=None)]
    elif test.is_date(type_):
        values = [date(1, 1, 1), date(9999, 12, 31)]
    elif test.is_string(type_) or test.is_dictionary(type_):
        values = (
            ["", "x"] if not test.is_dictionary(type_) or type_.value_type == pa.string() else [1]
        )
    return pa.array([*values, None], type_)


@pytest.mark.parametrize("one", FLAT, ids=str)
def test_every_value_has_its_place_in_the_wider_type(one):
    for other in FLAT:
        wide = joined(one, other)
        if wide is None:
            continue
        values = sample(one)
        found = widened(values, wide)
        assert found.type == wide
        if not pa.types.is_null(one):
            before = values.dictionary_decode() if pa.types.is_dictionary(one) else values
            assert [*map(plain, found.to_pylist())] == [*map(plain, before.to_pylist())], other


def plain(value: object) -> object:
    return value.astimezone(UTC) if isinstance(value, datetime) and value.tzinfo else value


# Tables

BASE = with_cq_columns(
    Table(
        "t",
        (
            Column("id", pa.int64(), nullable=False, primary_key=True),
            Column("n", pa.int8(), nullable=False, description="A number"),
            Column("v", pa.string()),
        ),
        evolves=True,
    )
)


def form(**columns: pa.DataType) -> Table:
    known = {c.name: c for c in BASE.columns}
    for name, type_ in columns.items():
        known[name] = replace(known[name], type=type_) if name in known else Column(name, type_)
    return replace(BASE, columns=tuple(known.values()))


forms = st.lists(
    st.dictionaries(st.sampled_from("nvxyz"), flat_types, max_size=4).map(lambda c: form(**c)),
    max_size=4,
)


def union(of: Iterable[Table]) -> Table | None:
    try:
        return united(BASE, of)
    except SchemaChanged:
        return None


@given(forms, forms, st.randoms())
def test_tables_unite_in_any_order_and_any_grouping(some, others, random):
    whole = union([*some, *others])
    shuffled = [*some, *others, *some]
    random.shuffle(shuffled)
    assert union(shuffled) == whole
    parts = union(some), union(others)
    assert (None if None in parts else union(t for t in parts if t)) == whole


def test_the_plans_columns_keep_their_place_and_new_ones_follow_by_name():
    table = united(BASE, [form(z=pa.int8(), n=pa.int32()), form(y=types.JSON, z=pa.int64())])
    assert [c.name for c in table.columns[-5:]] == ["id", "n", "v", "y", "z"]
    assert [c.type for c in table.columns[-4:]] == [
        pa.int32(),
        pa.string(),
        types.JSON,
        pa.int64(),
    ]
    assert table.column("n").description == "A number"
    assert table.primary_key == ("id",)


def test_two_forms_that_disagree_are_refused_with_the_columns_name():
    with pytest.raises(SchemaChanged, match="'x' is string in one place and int64 in another"):
        united(BASE, [form(x=pa.string()), form(x=pa.int64())])


def test_a_table_does_not_grow_without_end(monkeypatch):
    monkeypatch.setattr(evolution, "MOST_COLUMNS", 10)
    united(BASE, [form(a=pa.int8()), form(b=pa.int8())])
    with pytest.raises(SchemaChanged, match="grew to 11 columns; 10 are the most"):
        united(BASE, [form(a=pa.int8(), b=pa.int8()), form(c=pa.int8())])


# Batches


def test_a_table_grows_no_further_than_a_batch_needs():
    fits = pa.record_batch({"id": [1], "n": pa.array([7], pa.int64()), "v": ["x"]})
    assert grown(BASE, fits) == BASE
    more = pa.record_batch(
        {"z": [1], "id": [1], "n": [300], "v": pa.array([None]), "a": pa.array([None])}
    )
    table = grown(BASE, more)
    assert [c.name for c in table.columns[-4:]] == ["id", "n", "v", "z"]
    assert table.column("n").type == pa.int64()
    assert not table.column("n").nullable
    nulls = pa.record_batch({"id": [1], "n": pa.array([None, 1][:1], pa.int8())})
    assert grown(BASE, nulls).column("n").nullable
    assert grown(BASE, pa.record_batch({"id": [1]})).column("n").nullable


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"id": [1], "v": [7]}, "the column 'v' came as int64"),
        ({"id": [1], "n": ["x"]}, "the column 'n' came as string"),
        ({"id": [1], "_cq_extra": [1]}, "names that begin with `_cq_` are ours"),
    ],
)
def test_what_is_beyond_the_lattice_is_refused(batch, message):
    with pytest.raises(SchemaChanged, match=message):
        grown(BASE, pa.record_batch(batch))


def test_a_new_column_of_a_type_that_no_document_can_hold_is_refused():
    odd = pa.RunEndEncodedArray.from_arrays([1], [5])
    with pytest.raises(SchemaChanged, match=r"'odd': the type run_end_encoded.* has no name"):
        grown(BASE, pa.RecordBatch.from_arrays([pa.array([1]), odd], ["id", "odd"]))


def test_keys_and_our_own_columns_stay_as_planned():
    batch = pa.record_batch({"id": pa.array([2**64 - 1], pa.uint64()), "_cq_sync_time": ["x"]})
    assert grown(BASE, batch).columns[:6] == BASE.columns[:6]


# Warehouses


def refused_in_place(map_type, holds) -> set[tuple[str, str]]:
    """Column types (as it is, as it must become) of widenings that safe mode does not make."""
    found = set()
    for one, other in product(FLAT, FLAT):
        wide = joined(one, other)
        if wide is None or pa.types.is_null(one):
            continue
        have, want = map_type(one).sql, map_type(wide).sql
        if not holds(have, want) and not holds(want, have):
            found.add((have, want))
    return found


def test_postgresql_widens_its_columns_wherever_the_lattice_does():
    assert not refused_in_place(postgresql_types.map_type, postgresql_types.holds)


def test_duckdb_does_too_but_for_unsigned_integers_and_decimals_beyond_its_own():
    refused = refused_in_place(duckdb_types.map_type, duckdb_types.holds)
    assert {want for _, want in refused} == {"SMALLINT", "INTEGER", "VARCHAR"}
    assert {have for have, want in refused if want != "VARCHAR"} == {"UINTEGER"}
