"""Rows become batches of exactly the frozen schema, or fail with the column's name."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from contracts import types
from contracts.errors import SchemaChanged
from contracts.table import Column, Table, with_cq_columns
from worker.ids import deterministic_ids, random_ids
from worker.stamp import Stamp, is_exact

NOW = datetime(2026, 5, 4, 3, 2, 1, 654321, tzinfo=UTC)


def stamp(*columns: Column) -> Stamp:
    return Stamp(with_cq_columns(Table("t", columns)), "src", NOW)


KEY = Column("id", pa.int64(), nullable=False, primary_key=True)


def test_all_cq_columns_are_filled_in_and_missing_columns_are_null():
    made = stamp(KEY, Column("name", pa.string()))("c1", pa.record_batch({"id": [1, 2]}))
    assert made.schema.names == [
        "_cq_sync_time", "_cq_source_name", "_cq_id", "_cq_parent_id", "_cq_client_id", "id", "name",
    ]  # fmt: skip
    expected = deterministic_ids(pa.record_batch({"id": [1, 2]}), ["id"]).to_pylist()
    for row, id_ in zip(made.to_pylist(), expected, strict=True):
        assert row["_cq_sync_time"] == NOW
        assert row["_cq_id"] == id_
        assert (row["_cq_source_name"], row["_cq_client_id"]) == ("src", "c1")
        assert row["name"] is row["_cq_parent_id"] is None


def test_columns_may_come_in_any_order():
    made = stamp(KEY, Column("name", pa.string()))("c", pa.record_batch({"name": ["x"], "id": [1]}))
    assert made.select(["id", "name"]).to_pylist() == [{"id": 1, "name": "x"}]


def test_a_table_without_key_gets_random_ids():
    made = stamp(Column("name", pa.string()))
    batch = pa.record_batch({"name": ["x", "x"]})
    assert len(set(made("c", batch)["_cq_id"].to_pylist())) == 2


def test_ids_that_the_source_supplies_stay():
    ids, parents = random_ids(1), random_ids(1)
    made = stamp(KEY)(
        "c", pa.record_batch({"id": pa.array([1]), "_cq_id": ids, "_cq_parent_id": parents})
    )
    assert made["_cq_id"].equals(ids)
    assert made["_cq_parent_id"].equals(parents)


def test_a_missing_key_value_fails_with_the_columns_name():
    with pytest.raises(SchemaChanged, match="t: the column 'id' must not be null, and 1 of 2"):
        stamp(KEY)("c", pa.record_batch({"id": pa.array([1, None])}))


def test_a_missing_key_column_fails():
    with pytest.raises(SchemaChanged, match="'id' must not be null"):
        stamp(KEY, Column("n", pa.int64()))("c", pa.record_batch({"n": pa.array([1])}))


def test_an_unknown_column_fails_with_its_name():
    with pytest.raises(SchemaChanged, match="the column 'extra'"):
        stamp(KEY)("c", pa.record_batch({"id": [1], "extra": [2]}))


STRUCT = pa.struct([("a", pa.int32())])


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (pa.array([1], pa.int8()), pa.int64()),
        (pa.array([1], pa.int64()), pa.uint8()),
        (pa.array([1], pa.int64()), pa.float64()),
        (pa.array([1], pa.int64()), pa.decimal128(38, 2)),
        (pa.array([1.5], pa.float32()), pa.float64()),
        (pa.array(["x"], pa.large_string()), pa.string()),
        (pa.array(["x"]), pa.string_view()),
        (pa.array(["{}"]), types.JSON),
        (pa.array(["10.0.0.0/8"]), types.INET),
        (pa.array([b"x"]), pa.large_binary()),
        (pa.array([b"123456"], pa.binary(6)), types.MAC),
        (pa.array([None]), pa.list_(pa.string())),
        (pa.array([Decimal("1.50")]), pa.decimal256(20, 1)),
        (pa.array([date(2026, 1, 1)]), pa.date64()),
        (pa.array([NOW], pa.timestamp("us", "UTC")), pa.timestamp("ns", "Europe/Paris")),
        (pa.array(["x"]).dictionary_encode(), pa.string()),
        (pa.array(["x"]), pa.dictionary(pa.int32(), pa.string())),
        (pa.array([{"a": 1}], STRUCT), pa.struct([("a", pa.int64())])),
        (pa.array([[1]], pa.list_(pa.int8())), pa.large_list(pa.int64())),
        (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int8())), pa.map_(pa.string(), pa.int64())),
    ],
    ids=str,
)
def test_a_value_is_converted_where_nothing_is_lost(given, wanted):
    made = stamp(KEY, Column("x", wanted))(
        "c", pa.RecordBatch.from_arrays([pa.array([1]), given], ["id", "x"])
    )
    assert made["x"].type == wanted
    back = made["x"].to_pylist()
    storage = made["x"].storage.to_pylist() if isinstance(wanted, pa.BaseExtensionType) else back
    assert given.to_pylist() in (back, storage)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (pa.array([300]), pa.int8()),
        (pa.array([2**60 + 1]), pa.float64()),
        (pa.array([1.5]), pa.int64()),
        (pa.array([1.5]), pa.float32()),
        (pa.array(["1"]), pa.int64()),
        (pa.array([1]), pa.string()),
        (pa.array([b"x"]), pa.string()),
        (pa.array(["x"]), types.UUID),
        (pa.array([1], pa.timestamp("us")), pa.timestamp("us", "UTC")),
        (pa.array([NOW], pa.timestamp("us", "UTC")), pa.timestamp("us")),
        (pa.array([NOW], pa.timestamp("us", "UTC")), pa.timestamp("s", "UTC")),
        (pa.array([Decimal("1.55")]), pa.decimal128(20, 1)),
        (pa.array([{"a": 1}], STRUCT), pa.struct([("b", pa.int32())])),
        (pa.array([{"a": 1}], STRUCT), types.JSON),
        (pa.array([[1]]), pa.int64()),
        (pa.array([date(2026, 1, 1)]), pa.timestamp("us")),
    ],
    ids=str,
)
def test_a_value_that_would_change_fails_with_the_columns_name(given, wanted):
    with pytest.raises(SchemaChanged, match="the column 'x'"):
        stamp(KEY, Column("x", wanted))(
            "c", pa.RecordBatch.from_arrays([pa.array([1]), given], ["id", "x"])
        )


def test_exactness_is_not_symmetric():
    assert is_exact(pa.float32(), pa.float64())
    assert not is_exact(pa.float64(), pa.float32())


OWN_CLIENT = Column("_cq_client_id", pa.string())


def test_client_ids_are_ours_unless_the_table_says_that_they_are_the_sources_own():
    batch = pa.record_batch({"id": [1, 2], "_cq_client_id": pa.array(["theirs", None])})
    ours = stamp(KEY, OWN_CLIENT)
    assert ours("c", batch)["_cq_client_id"].to_pylist() == ["c", "c"]
    own = Stamp(replace(ours.table, own_client_ids=True), "src", NOW)
    assert own("c", batch)["_cq_client_id"].to_pylist() == ["theirs", "c"]
    assert own("c", batch.select(["id"]))["_cq_client_id"].to_pylist() == ["c", "c"]


@pytest.mark.parametrize("type_", [pa.large_string(), pa.string_view(), pa.int64()], ids=str)
def test_client_ids_of_the_sources_own_keep_their_type(type_):
    table = with_cq_columns(Table("t", (Column("_cq_client_id", type_),), own_client_ids=True))
    values = pa.array([7, None]).cast(pa.string()).cast(type_) if type_ != pa.int64() else pa.array([7, None])  # fmt: skip
    made = Stamp(table, "src", NOW)("c", pa.record_batch({"_cq_client_id": values}))
    expected = [7, None] if type_ == pa.int64() else ["7", "c"]
    assert (made["_cq_client_id"].type, made["_cq_client_id"].to_pylist()) == (type_, expected)
