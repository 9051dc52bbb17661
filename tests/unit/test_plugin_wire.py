"""The fast road of a sync says what the plain one says, over every type; damaged bytes are refused by both."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from cloudquery.plugin_v3 import plugin_pb2 as pb
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import ipc

from contracts.plugin import wire
from contracts.plugin.arrow import outward, schema_of, table_of
from contracts.plugin.consolidate import Limits, consolidated
from contracts.plugin.errors import Malformed
from contracts.plugin.messages import Inserted
from contracts.plugin.rows import Plain, Rows
from contracts.plugin.wire import Fast
from contracts.table import Column, Table
from tests.fakes.arrays import any_types, arrays, same
from tests.fakes.plugins import contents, encode, programs

NAMES = ("things", "thïngs")


@st.composite
def syncs(draw: Any) -> list[tuple[Table, pa.RecordBatch]]:
    """Batches of one or two tables, in any order, with empty ones among them."""
    tables = []
    for name in NAMES[: draw(st.integers(1, 2))]:
        kinds = draw(st.lists(any_types, min_size=1, max_size=3))
        columns = tuple(Column(f"c{i}", kind) for i, kind in enumerate(kinds))
        tables.append(Table(name, columns))
    sent = []
    for table in draw(st.lists(st.sampled_from(tables), min_size=1, max_size=4)):
        rows = draw(st.integers(0, 4))
        columns = [draw(arrays(st.just(c.type), rows)) for c in table.columns]
        sent.append((table, pa.RecordBatch.from_arrays(columns, schema=table.schema)))
    return sent


def message(batch: pa.RecordBatch, table: Table, compression: str | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    theirs = outward(batch, table)
    options = ipc.IpcWriteOptions(compression=compression)
    with ipc.new_stream(sink, theirs.schema, options=options) as writer:
        writer.write_batch(theirs)
    return encode.response(insert={"record": bytes(sink.getvalue())})


def whole(batch: pa.RecordBatch) -> bool:
    """Whether Arrow itself takes the values: 24:00 is no time of the day to it."""
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def heard(decoder: Any, raws: list[bytes], limits: Limits) -> list[Any]:
    return list(consolidated((e for raw in raws for e in decoder.events(raw)), limits))


def alike(one: Any, other: Any) -> bool:
    return (
        one.table == other.table
        and one.batch.schema.equals(other.batch.schema)
        and all(map(same, one.batch.columns, other.batch.columns))
    )


@given(
    sent=syncs(),
    compression=st.sampled_from([None, "lz4", "zstd"]),
    limits=st.builds(
        Limits, st.integers(1, 6), st.sampled_from([1, 1 << 20]), st.sampled_from([1, 1 << 20])
    ),
)
def test_both_roads_bring_what_was_sent(sent, compression, limits):
    sent = [(table, batch) for table, batch in sent if whole(batch)]
    raws = [message(batch, table, compression) for table, batch in sent]
    plain, fast = heard(Plain(), raws, limits), heard(Fast(), raws, limits)
    assert [type(m) for m in plain] == [type(m) for m in fast]
    assert all(map(alike, plain, fast))
    for name in NAMES:
        was = [batch for table, batch in sent if table.name == name and batch.num_rows]
        got = [m.batch for m in fast if m.table == name]
        assert sum(b.num_rows for b in was) == sum(b.num_rows for b in got)
        if was:
            for a, b in zip(
                pa.concat_batches(was).columns, pa.concat_batches(got).columns, strict=True
            ):
                assert same(a, b)


@given(st.lists(any_types, min_size=1, max_size=4))
def test_a_table_survives_the_way_to_a_plugin_and_back(kinds):
    columns = tuple(
        Column(
            f"c{i}",
            kind,
            nullable=i % 2 == 0 or kind == pa.null(),
            primary_key=i == 0,
            unique=i == 1,
            sensitive=i == 2,
        )
        for i, kind in enumerate(kinds)
    )
    table = Table("t", columns, parent="p", incremental=True, description="d", title="T")
    assert table_of(ipc.read_schema(pa.py_buffer(encode.schema_bytes(schema_of(table))))) == table


def insert(rows: int = 3) -> bytes:
    return encode.insert(contents.rows({"name": "things"}, "a1", 0, rows))


class TestTheFastRoad:
    @pytest.fixture(autouse=True)
    def no_way_out(self, monkeypatch):
        """The plain road is closed: what arrives went the fast one."""
        monkeypatch.setattr(Plain, "events", lambda _self, _raw: iter(["plain"]))

    def test_usual_inserts_take_it(self):
        fast = Fast()
        for raw in (insert(1), insert(50), insert(0)):
            (event,) = fast.events(raw)
            assert isinstance(event, Rows)

    def test_a_schema_is_read_once(self, monkeypatch):
        fast = Fast()
        (first,) = fast.events(insert(1))
        monkeypatch.setattr(wire, "table_of", None)
        (second,) = fast.events(insert(2))
        assert first.shape is second.shape

    @pytest.mark.parametrize(
        "what", ["dictionary", "two batches", "no insert", "old stream", "two members"]
    )
    def test_whatever_is_unusual_does_not(self, what):
        batch = contents.rows({"name": "things"}, "a1", 0, 3)
        if what == "dictionary":
            coded = batch.column(2).dictionary_encode()
            schema = pa.schema([pa.field("x", coded.type)], metadata=batch.schema.metadata)
            raw = encode.insert(pa.RecordBatch.from_arrays([coded], schema=schema))
        elif what == "no insert":
            raw = encode.response(error={"table_name": "things", "error": "no"})
        elif what == "two members":
            raw = insert() + encode.response(error={"table_name": "things", "error": "no"})
        else:
            sink = pa.BufferOutputStream()
            options = ipc.IpcWriteOptions(use_legacy_format=what == "old stream")
            with ipc.new_stream(sink, batch.schema, options=options) as writer:
                writer.write_batch(batch)
                if what == "two batches":
                    writer.write_batch(batch)
            raw = encode.response(insert={"record": bytes(sink.getvalue())})
        assert list(Fast().events(raw)) == ["plain"]


def test_every_batch_of_a_record_arrives():
    batch = contents.rows({"name": "things"}, "a1", 0, 3)
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
        writer.write_batch(batch)
    raw = encode.response(insert={"record": bytes(sink.getvalue())})
    assert sum(m.batch.num_rows for m in heard(Fast(), [raw], Limits())) == 6


@pytest.mark.parametrize("decoder", [Plain, Fast])
class TestDamage:
    def test_bytes_that_are_no_message_are_refused(self, decoder):
        for raw in (
            b"",
            b"\x12",
            b"\x12\xff\xff\xff\xff\x0f",
            b"\x12\x02\x0a\x05",
            b"abc",
            b"\x12\x02\x0a\x00",
        ):
            with pytest.raises(Malformed):
                heard(decoder(), [raw], Limits())

    def test_a_record_that_is_cut_off_anywhere_is_refused_or_empty(self, decoder):
        record = pb.Sync.Response.FromString(insert()).insert.record
        for end in range(0, len(record) - 8, 37):
            try:
                messages = heard(
                    decoder(), [encode.response(insert={"record": record[:end]})], Limits()
                )
            except Malformed:
                continue
            assert messages == []

    @given(data=st.data())
    def test_bytes_that_were_changed_give_an_error_or_a_whole_batch(self, decoder, data):
        raw = bytearray(insert(data.draw(st.integers(1, 4))))
        for _ in range(data.draw(st.integers(1, 3))):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        before = [insert(2)] if data.draw(st.booleans()) else []
        try:
            messages = heard(decoder(), [*before, bytes(raw)], Limits())
        except Malformed:
            return
        for m in messages:
            if isinstance(m, Inserted):
                m.batch.validate(full=True)
                encode.record_bytes(m.batch)

    def test_text_that_is_not_utf8_fails_its_table(self, decoder):
        raw = insert().replace("ü".encode(), b"\xff\xfe")
        (failed,) = heard(decoder(), [raw], Limits())
        assert failed.table == "things"
        assert "UTF8" in failed.error

    def test_a_value_that_is_none_of_its_type_fails_its_table_alone(self, decoder):
        bad = contents.rows({"name": "things", "columns": [["m", "binary"]]}, "a1", 0, 3)
        mac = pa.schema([bad.schema.field(0).with_metadata({"ARROW:extension:name": "mac"})])
        bad = bad.cast(mac.with_metadata(bad.schema.metadata))
        good = contents.rows({"name": "others"}, "a1", 0, 3)
        failed, kept = heard(decoder(), [encode.insert(bad), encode.insert(good)], Limits())
        assert failed.table == "things"
        assert "column 'm'" in failed.error
        assert kept.batch.num_rows == 3

    def test_rows_without_the_name_of_a_table_are_refused(self, decoder):
        with pytest.raises(Malformed, match="without the name of its table"):
            heard(decoder(), [encode.insert(pa.record_batch({"x": [1]}))], Limits())


def test_both_forms_of_extension_types_are_the_same_to_us():
    """In a process of its own: the SDK's types, once registered, stay."""
    done = subprocess.run(
        [programs.KITS, "-m", "tests.fakes.plugins.both_forms"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "same"), done.stderr
