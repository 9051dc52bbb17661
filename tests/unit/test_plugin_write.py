"""What a destination and a transformer are sent, and what becomes of a write that goes wrong."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest
from pyarrow import ipc

from contracts import types
from contracts.errors import Permanent, Transient
from contracts.plugin.arrow import inward, schema_of, table_of
from contracts.plugin.client import Client
from contracts.plugin.errors import Unsupported
from contracts.plugin.messages import (
    DeleteRecord,
    DeleteStale,
    Flush,
    Group,
    Insert,
    MigrateTable,
    Predicate,
    Relation,
    WriteAnswer,
)
from contracts.plugin.predicates import groups_of, relations_of
from contracts.plugin.requests import PIECE
from contracts.table import Column, Table
from tests.fakes.plugins.receiver import receiving
from tests.fakes.plugins.server import serving

TABLE = Table(
    "things",
    (
        Column("id", types.UUID, nullable=False, primary_key=True),
        Column("tags", types.JSON),
        Column("address", types.INET),
        Column("hardware", types.MAC),
    ),
)
ROWS = pa.record_batch(
    [
        pa.ExtensionArray.from_storage(types.UUID, pa.array([b"0123456789abcdef"], pa.binary(16))),
        pa.ExtensionArray.from_storage(types.JSON, pa.array(['{"a": "ü"}'])),
        pa.ExtensionArray.from_storage(types.INET, pa.array(["10.0.0.0/8"])),
        pa.ExtensionArray.from_storage(types.MAC, pa.array([b"\2\0\0\0\0\1"], pa.binary(6))),
    ],
    schema=TABLE.schema,
)
TIME = datetime(2026, 5, 1, 12, 30, 0, 250_000, UTC)


class TestAWrite:
    def test_every_kind_of_message_arrives_in_order(self):
        group = Group("or", (Predicate("id", ROWS.column(0)), Predicate("n", pa.array([1]))))
        relation = Relation("parts", "things")
        messages = [
            MigrateTable(TABLE, force=True),
            Insert(TABLE, ROWS),
            DeleteStale("things", "aws", TIME),
            DeleteRecord("things", (group,), (relation,)),
            Flush(1),
        ]
        with receiving() as receiver, Client(receiver.target) as client:
            assert client.write(messages) == WriteAnswer()
        migrate, insert, stale, gone, flush = receiver.got
        assert migrate.migrate_table.migrate_force
        assert table_of(ipc.open_stream(migrate.migrate_table.table).schema) == TABLE
        assert insert.WhichOneof("message") == "insert"
        assert stale.delete.sync_time.ToDatetime(UTC) == TIME
        assert (stale.delete.table_name, stale.delete.source_name) == ("things", "aws")
        assert groups_of(gone.delete_record.where_clause) == (group,)
        assert relations_of(gone.delete_record.table_relations) == (relation,)
        assert flush.flush.id == 1

    def test_a_plugin_sees_the_storage_and_the_names_of_the_four_types(self):
        with receiving() as receiver, Client(receiver.target) as client:
            client.write([Insert(TABLE, ROWS)])
        (batch,) = receiver.batches()
        assert [str(f.type) for f in batch.schema] == ["fixed_size_binary[16]", *["binary"] * 3]
        marks = [f.metadata[b"ARROW:extension:metadata"].decode() for f in batch.schema]
        assert marks == [f"{n}-serialized" for n in ("uuid", "json", "inet", "mac")]
        assert inward(batch, table_of(batch.schema)).equals(ROWS)

    def test_a_large_batch_goes_in_handy_pieces_and_an_empty_one_goes_too(self):
        table = Table("t", (Column("n", pa.int64()),))
        large = pa.record_batch([pa.array(range(3 * PIECE // 8))], schema=table.schema)
        with receiving() as receiver, Client(receiver.target) as client:
            client.write([Insert(table, large), Insert(table, large.slice(0, 0))])
        *pieces, empty = receiver.batches()
        assert len(pieces) == 3
        assert pa.concat_batches(pieces).column(0).equals(large.column(0))
        assert empty.num_rows == 0

    def test_failed_tables_and_the_error_of_a_flush_are_reported(self):
        said = {"flush_id": 2, "flush_error": "disk full", "failed_tables": ["a", "b"]}
        with receiving(answer=said) as receiver, Client(receiver.target) as client:
            assert client.write([Flush(2)]) == WriteAnswer(2, "disk full", ("a", "b"))

    def test_a_write_that_fails_in_the_middle_takes_no_more_messages(self):
        taken = []

        def messages():
            for n in range(10_000):
                taken.append(n)
                yield Insert(TABLE, ROWS)

        with (
            receiving(after=3, fail="no space") as receiver,
            Client(receiver.target) as client,
            pytest.raises(Transient, match="no space"),
        ):
            client.write(messages())
        assert len(taken) < 10_000

    def test_a_destination_that_ends_early_without_an_error_has_not_written_everything(self):
        messages = (Insert(TABLE, ROWS) for _ in range(10_000))
        with (
            receiving(after=3) as receiver,
            Client(receiver.target) as client,
            pytest.raises(Permanent, match="before it had everything"),
        ):
            client.write(messages)

    def test_what_the_maker_of_messages_raises_ends_the_write(self):
        def messages():
            yield Insert(TABLE, ROWS)
            raise KeyError("no such part")

        with (
            receiving() as receiver,
            Client(receiver.target) as client,
            pytest.raises(KeyError, match="no such part"),
        ):
            client.write(messages())

    def test_a_plugin_that_cannot_be_written_to_says_so(self):
        with serving({}) as target, Client(target) as client, pytest.raises(Unsupported):
            client.write([Insert(TABLE, ROWS)])


class TestATransformation:
    def test_schema_and_batches_come_back_with_our_types(self):
        with receiving() as receiver, Client(receiver.target) as client:
            schema = client.transform_schema(schema_of(TABLE))
            batches = list(client.transform([ROWS, ROWS.slice(0, 0)]))
        assert schema.names == [*TABLE.schema.names, "added"]
        assert table_of(schema).column("id").primary_key
        assert [f.type for f in schema][:4] == [c.type for c in TABLE.columns]
        assert [b.num_rows for b in batches] == [1, 0]
        assert batches[0].select(TABLE.schema.names).equals(ROWS)

    def test_a_thousand_batches_pass_in_order(self):
        batches = (pa.record_batch({"n": [n]}) for n in range(1000))
        with receiving() as receiver, Client(receiver.target) as client:
            found = [b.column(0)[0].as_py() for b in client.transform(batches)]
        assert found == list(range(1000))

    def test_its_failure_and_that_of_the_batches_are_raised(self):
        def broken():
            yield ROWS
            raise KeyError("no such part")

        with (
            receiving() as receiver,
            Client(receiver.target) as client,
            pytest.raises(KeyError, match="no such part"),
        ):
            list(client.transform(broken()))
        with (
            receiving(fail="bad row") as receiver,
            Client(receiver.target) as client,
            pytest.raises(Transient, match="bad row"),
        ):
            list(client.transform([ROWS]))
