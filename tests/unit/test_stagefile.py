"""Every Arrow type, written as a part and read back, is what it was."""

from __future__ import annotations

import io
import uuid
import zlib
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import types
from contracts.commit import Part
from contracts.errors import NotFound, Permanent
from contracts.stagefile import parquet, quoted, read_part
from contracts.stagefile.text import from_text, to_text
from contracts.store.local import LocalStore
from contracts.table import Column, Table, with_cq_columns
from tests.fakes import arrays

AWKWARD = [
    "",
    " ",
    '"',
    '""',
    ",",
    "\n",
    "\r\n",
    "\r",
    "NULL",
    "\\N",
    "@1",
    "żółć 🦆",
    "a\tb",
    "\x00",
    None,
]


def as_csv(batch: pa.RecordBatch) -> bytes:
    return quoted.encode(batch, header=True).to_pybytes()


def from_csv(data: bytes, schema: pa.Schema, **options) -> pa.Table:
    batches = quoted.decode(io.BytesIO(data), schema, where="x.csv", **options)
    return pa.Table.from_batches(batches, schema=schema)


def through_parquet(batch: pa.RecordBatch) -> pa.Table:
    sink = io.BytesIO()
    schema = parquet.physical(batch.schema)
    with pq.ParquetWriter(sink, schema) as writer:
        writer.write_table(parquet.encode(pa.Table.from_batches([batch]), schema))
    sink.seek(0)
    batches = parquet.decode(sink, batch.schema, where="x.parquet")
    return pa.Table.from_batches(batches, schema=batch.schema)


@settings(max_examples=100)
@given(arrays.arrays())
def test_the_text_of_any_value_reads_back_equal(array):
    text = to_text(array)
    assert len(text) == len(array)
    assert text.null_count == array.null_count
    back = from_text(text, array.type)
    back.validate()
    assert arrays.same(back, array)


@settings(max_examples=100)
@given(st.lists(arrays.arrays(rows=4), min_size=1, max_size=3))
def test_any_batch_comes_back_from_csv_as_it_was(columns):
    batch = pa.RecordBatch.from_arrays(columns, names=[f'c{i}, "ü"' for i in range(len(columns))])
    back = from_csv(as_csv(batch), batch.schema)
    assert back.schema == batch.schema
    for name, column in zip(batch.schema.names, columns, strict=True):
        assert arrays.same(back[name].combine_chunks(), column)


@settings(max_examples=100)
@given(st.lists(arrays.arrays(rows=4), min_size=1, max_size=3))
def test_any_batch_comes_back_from_parquet_as_it_was(columns):
    batch = pa.RecordBatch.from_arrays(columns, names=[f'c{i}, "ü"' for i in range(len(columns))])
    back = through_parquet(batch)
    assert back.schema == batch.schema
    for name, column in zip(batch.schema.names, columns, strict=True):
        assert arrays.same(back[name].combine_chunks(), column)


def test_null_empty_and_awkward_texts_stay_apart_in_csv():
    batch = pa.record_batch({"a": pa.array(AWKWARD), "b": pa.array(AWKWARD[::-1], pa.string())})
    data = as_csv(batch)
    assert from_csv(data, batch.schema).to_batches() == [batch]
    assert data.startswith(b'"a","b"\n"",\n')  # empty text, then null


def test_a_column_of_nulls_alone_is_a_row_per_null():
    batch = pa.record_batch({"a": pa.array([None, None, "x", None])})
    assert from_csv(as_csv(batch), batch.schema)["a"].to_pylist() == [None, None, "x", None]


def test_an_empty_batch_is_a_header():
    batch = pa.record_batch({"a": pa.array([], pa.int64())})
    data = as_csv(batch)
    assert data == b'"a"\n'
    assert from_csv(data, batch.schema).num_rows == 0


@pytest.mark.parametrize(
    ("value", "type_", "text"),
    [
        (uuid.UUID(int=255).bytes, types.UUID, "00000000-0000-0000-0000-0000000000ff"),
        (bytes(range(6)), types.MAC, "00:01:02:03:04:05"),
        ("10.0.0.0/8", types.INET, "10.0.0.0/8"),
        ('{"a":[1]}', types.JSON, '{"a":[1]}'),
        (b"\x00\xff", pa.binary(), "AP8="),
        (datetime(2026, 1, 2, 3, 4, 5, 6, UTC), types.TIMESTAMP, "2026-01-02 03:04:05.000006Z"),
        (1_767_312_000, pa.timestamp("s"), "2026-01-02 00:00:00"),
        (2**62, pa.timestamp("us"), "@4611686018427387904"),
        (86_400, pa.time32("s"), "@86400"),
        (date(2026, 1, 2), pa.date32(), "2026-01-02"),
        (timedelta(seconds=1.5), pa.duration("ms"), "1500"),
        (Decimal("1.50"), pa.decimal128(9, 2), "1.50"),
        (0.1, pa.float64(), "0.1"),
        (True, pa.bool_(), "true"),
        ([1, None], pa.list_(pa.int64()), "[1,null]"),
        ({"a": b"\xff", "b": float("nan")}, pa.struct([("a", pa.binary()), ("b", pa.float32())]), '{"a":"/w==","b":"nan"}'),
        ([("k", 1)], pa.map_(pa.string(), pa.int64()), '[["k",1]]'),
        ((1, 2, 3), pa.month_day_nano_interval(), "[1,2,3]"),
    ],
    ids=str,
)  # fmt: skip
def test_values_have_the_text_that_the_table_of_the_format_says(value, type_, text):
    assert to_text(pa.array([value, None], type_)).to_pylist() == [text, None]


def test_a_text_that_is_no_uuid_is_refused():
    with pytest.raises(ValueError, match="not a uuid: 'short'"):
        from_text(pa.array(["short", None]), types.UUID)


@pytest.mark.parametrize(
    "type_",
    [
        pa.month_day_nano_interval(),
        pa.decimal128(9, -3),
        pa.binary(0),
        pa.struct([]),
        pa.dictionary(pa.int8(), pa.int64()),
        pa.list_(pa.date64()),
        pa.list_(types.MAC),
        pa.map_(pa.string(), pa.timestamp("s")),
    ],
    ids=str,
)
def test_what_parquet_cannot_hold_is_stored_as_text(type_):
    assert parquet.physical(pa.schema([("c", type_)])).field("c").type == pa.string()


def test_rows_longer_than_a_block_are_read_whole():
    long = 'x\n"' * quoted.BLOCK_BYTES
    batch = pa.record_batch(
        {"a": pa.array([long, "short", None, long]), "b": pa.array([1, 2, 3, 4])}
    )
    assert from_csv(as_csv(batch), batch.schema).to_pylist() == batch.to_pylist()


def test_reading_a_long_file_holds_one_block_at_a_time():
    batch = pa.record_batch({"a": pa.array(["some text\nin two lines"] * 200_000)})
    sizes = [b.num_rows for b in quoted.decode(io.BytesIO(as_csv(batch)), batch.schema, where="x")]
    assert sum(sizes) == 200_000
    assert max(sizes) < 60_000


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: d.replace(b'"7"', b'"x"'), "not a CSV part"),
        (lambda d: d.replace(b'"id"', b'"no"', 1), "its columns are"),
        (lambda d: d.replace(b"x7", b"y7"), "is damaged"),
        (lambda d: d[: len(d) // 2], "not a CSV part|damaged"),
    ],
)
def test_a_damaged_csv_part_is_refused(damage, message):
    batch = pa.record_batch(
        {"id": pa.array(range(10)), "v": pa.array([f"x{i}" for i in range(10)])}
    )
    data = as_csv(batch)
    checksum = f"crc32:{zlib.crc32(data):08x}"
    with pytest.raises(Permanent, match=message):
        from_csv(damage(data), batch.schema, checksum=checksum)


def stored(tmp_path, data: bytes, **changes) -> tuple[LocalStore, Part]:
    store = LocalStore(tmp_path)
    store.put("p", data)
    facts = {
        "rows": 3,
        "bytes": len(data),
        "checksum": f"crc32:{zlib.crc32(data):08x}",
        "cells": {"a": 2, "b": 1},
    }
    return store, Part(key="p", table="t", **(facts | changes))


TABLE = with_cq_columns(Table("t", (Column("v", pa.string()),)))
BATCH = pa.RecordBatch.from_pylist(
    [{"_cq_id": bytes(16), "_cq_client_id": c, "v": v} for c, v in (("a", "x"), ("a", ""), ("b", None))],
    TABLE.schema,
)  # fmt: skip


def as_parquet(batch: pa.RecordBatch) -> bytes:
    sink = io.BytesIO()
    with pq.ParquetWriter(
        sink, batch.schema, write_page_checksum=True, compression="none"
    ) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


@pytest.mark.parametrize(("format_", "write"), [("csv", as_csv), ("parquet", as_parquet)])
class TestReadPart:
    def test_all_rows_come_back(self, tmp_path, format_, write):
        store, part = stored(tmp_path, write(BATCH))
        assert list(read_part(store, part, TABLE, format_)) == [BATCH]

    def test_rows_of_dropped_clients_do_not(self, tmp_path, format_, write):
        store, part = stored(tmp_path, write(BATCH), dropped=("a",))
        assert [b["v"].to_pylist() for b in read_part(store, part, TABLE, format_)] == [[None]]

    def test_a_wrong_number_of_rows_is_an_error(self, tmp_path, format_, write):
        store, part = stored(tmp_path, write(BATCH), rows=4)
        with pytest.raises(Permanent, match="has 3 rows; the manifest says 4"):
            list(read_part(store, part, TABLE, format_))

    def test_other_columns_are_an_error(self, tmp_path, format_, write):
        store, part = stored(tmp_path, write(BATCH.drop_columns("v")))
        with pytest.raises(Permanent, match="columns"):
            list(read_part(store, part, TABLE, format_))

    def test_a_file_of_another_kind_is_an_error(self, tmp_path, format_, write):
        store, part = stored(tmp_path, b"nothing of the kind")
        with pytest.raises(Permanent, match=r"not a .* part of this table"):
            list(read_part(store, part, TABLE, format_))

    def test_a_missing_part_is_not_found(self, tmp_path, format_, write):
        store, part = stored(tmp_path, write(BATCH))
        store.delete(["p"])
        with pytest.raises(NotFound):
            list(read_part(store, part, TABLE, format_))


def test_rows_of_dropped_clients_are_left_out_of_columns_of_views_too(tmp_path):
    table = with_cq_columns(
        Table("t", (Column("v", pa.string_view()), Column("b", pa.binary_view())))
    )
    batch = pa.RecordBatch.from_pylist(
        [{"_cq_id": bytes(16), "_cq_client_id": c, "v": c, "b": c.encode()} for c in "aab"],
        table.schema,
    )
    store, part = stored(tmp_path, as_csv(batch), dropped=("a",))
    (kept,) = read_part(store, part, table, "csv")
    assert kept.select(["v", "b"]).to_pylist() == [{"v": "b", "b": b"b"}]


def test_a_flipped_byte_in_a_page_of_parquet_is_found(tmp_path):
    data = as_parquet(BATCH)
    store, part = stored(tmp_path, data.replace(b"\x01\x00\x00\x00x", b"\x01\x00\x00\x00y", 1))
    assert store.get("p") != data
    with pytest.raises(Permanent, match="not a Parquet part"):
        list(read_part(store, part, TABLE, "parquet"))
