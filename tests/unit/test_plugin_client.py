"""The client against a plugin that behaves like Go's: what it hears, and how a call ends that goes wrong."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pyarrow as pa
import pytest

from contracts import types
from contracts.errors import Denied, Permanent, Transient, Unreachable
from contracts.plugin.arrow import inward, table_of
from contracts.plugin.client import Client
from contracts.plugin.errors import Hung, Malformed, Stopped
from contracts.plugin.messages import (
    Deleted,
    Group,
    Inserted,
    Migrate,
    Predicate,
    Relation,
    Saved,
    SyncRequest,
    TableFailed,
)
from contracts.plugin.watch import silence
from tests.fakes.plugins import contents
from tests.fakes.plugins.server import TABLES, serving
from tests.fakes.plugins.started import started

ALL = SyncRequest(("*",))


@contextmanager
def connected(script: dict[str, Any], **spec: Any) -> Iterator[Client]:
    with serving(script) as target, Client(target) as client:
        client.connect(30)
        client.init(spec)
        yield client


def rows_of(messages: list[Any], table: str) -> pa.Table:
    return pa.Table.from_batches(
        [m.batch for m in messages if isinstance(m, Inserted) and m.table == table]
    )


def expected(table: dict[str, Any], accounts: tuple[str, ...], count: int) -> pa.Table:
    batches = [contents.rows(table, a, 0, count) for a in accounts]
    return pa.Table.from_batches([inward(b, table_of(b.schema)) for b in batches])


class TestWhatItHears:
    def test_name_version_and_an_absent_spec_schema(self):
        with connected({"name": "aws", "version": "v2.0.1"}) as client:
            assert (client.name(), client.version(), client.spec_schema()) == ("aws", "v2.0.1", "")

    def test_tables_with_keys_types_and_parents_first(self):
        tables = [{"name": "child", "parent": "top"}, {"name": "top", "incremental": True}]
        with connected({"tables": tables}) as client:
            top, child = client.tables()
        assert (top.name, child.name, child.parent) == ("top", "child", "top")
        assert top.incremental
        assert top.primary_key == ("account_id", "id")
        kinds = {c.name: c.type for c in top.columns}
        assert kinds["_cq_id"] == types.UUID
        assert kinds["tags"] == types.JSON
        assert kinds["address"] == types.INET
        assert kinds["hardware"] == types.MAC
        assert top.column("tags").type_schema
        assert top.column("id").incremental_key

    def test_a_table_without_key_has_its_cq_id_as_the_key(self):
        table = {"name": "t", "columns": [["_cq_id", "uuid", "notnull"], ["x", "int64"]]}
        with connected({"tables": [table]}) as client:
            assert client.tables()[0].primary_key == ("_cq_id",)

    @pytest.mark.parametrize("plain", [False, True])
    def test_every_row_of_every_account_arrives_in_order(self, plain):
        with connected({}, accounts=["a1", "a2"], rows=120) as client:
            messages = list(client.sync(ALL, plain=plain))
        assert [m.table.name for m in messages if isinstance(m, Migrate)] == [
            "things",
            "thing_parts",
        ]
        for table in TABLES:
            assert rows_of(messages, table["name"]).equals(expected(table, ("a1", "a2"), 120))

    def test_only_the_selected_tables_come(self):
        request = SyncRequest(("things",), skip_dependent_tables=True)
        with connected({}) as client:
            found = {m.table for m in client.sync(request) if isinstance(m, Inserted)}
        assert found == {"things"}

    def test_a_checkpoint_comes_after_every_row_that_was_sent_before_it(self):
        event = {"do": "checkpoint", "state": {"k": "7"}, "version": 2, "message": 3}
        with connected({"events": [event], "rows": 200}) as client:
            messages = list(client.sync(ALL))
        before = messages[: messages.index(Saved({"k": "7"}))]
        assert rows_of(before, "things").num_rows == 150

    def test_a_failed_table_is_told_after_its_rows_and_the_others_go_on(self):
        event = {"do": "error", "table": "things", "error": "throttled", "message": 1}
        with connected({"events": [event], "rows": 100}) as client:
            messages = list(client.sync(ALL))
        at = messages.index(TableFailed("things", "throttled"))
        assert rows_of(messages[:at], "things").num_rows == 50
        assert rows_of(messages, "thing_parts").num_rows == 100

    def test_deleted_rows_are_told_with_their_condition(self):
        event = {
            "do": "delete_record", "table": "things", "column": "id", "value": 3,
            "relations": [["thing_parts", "things"]], "at": "end",
        }  # fmt: skip
        with connected({"events": [event]}) as client:
            gone = list(client.sync(ALL))[-1]
        where = (Group("and", (Predicate("id", pa.array([3])),)),)
        assert gone == Deleted("things", where, (Relation("thing_parts", "things"),))

    def test_a_schema_that_changes_in_mid_stream_starts_a_new_batch(self):
        event = {"do": "schema_change", "message": 1}
        tables = [{"name": "things"}]
        with connected({"events": [event], "tables": tables, "rows": 100}) as client:
            old, new = [m.batch for m in client.sync(ALL) if isinstance(m, Inserted)]
        assert (old.num_rows, new.num_rows) == (50, 50)
        assert set(new.schema.names) - set(old.schema.names) == {"added"}

    @pytest.mark.slow
    def test_a_message_of_150_mebibytes_arrives(self):
        event = {"do": "big", "bytes": 150 << 20, "at": "end"}
        with connected({"events": [event], "rows": 1}) as client:
            last = list(client.sync(SyncRequest(("things",), ("thing_parts",))))[-1]
        assert isinstance(last, Inserted)
        assert last.batch.nbytes > 150 << 20


class TestHowACallEnds:
    def test_a_refused_spec_is_permanent_and_in_the_plugins_words(self):
        event = {"do": "abort", "at": "init", "words": "failed to unmarshal spec: regions"}
        with (
            serving({"events": [event]}) as target,
            Client(target) as client,
            pytest.raises(Permanent, match="failed to unmarshal spec: regions"),
        ):
            client.init({})

    def test_an_unknown_kind_of_message_ends_the_sync(self):
        with (
            connected({"events": [{"do": "unknown", "message": 1}], "rows": 100}) as client,
            pytest.raises(Malformed, match="kind that this release does not know"),
        ):
            list(client.sync(ALL))

    @pytest.mark.slow
    def test_a_message_over_the_limit_says_what_to_do(self):
        event = {"do": "big", "bytes": 210 << 20, "at": "end"}
        with (
            connected({"events": [event]}) as client,
            pytest.raises(Permanent, match="200 MiB"),
        ):
            list(client.sync(ALL))

    @pytest.mark.parametrize("do", [{"do": "kill"}, {"do": "exit", "code": 137}])
    def test_a_plugin_that_dies_ends_the_sync_with_its_death(self, do):
        with (
            started({"events": [do | {"message": 2}], "rows": 500}) as plugin,
            Client(plugin.target, death=plugin.death) as client,
        ):
            client.connect(60)
            client.init({})
            with pytest.raises(Permanent, match="the program ended with"):
                list(client.sync(ALL))

    def test_a_sync_that_fails_may_be_tried_again(self):
        with (
            connected({"events": [{"do": "abort", "message": 1}], "rows": 100}) as client,
            pytest.raises(Transient, match="it did not work"),
        ):
            list(client.sync(ALL))

    def test_refused_credentials_are_denied(self):
        event = {"do": "abort", "code": "UNAUTHENTICATED", "words": "token expired", "at": "tables"}
        with connected({"events": [event]}) as client, pytest.raises(Denied, match="token expired"):
            client.tables()

    def test_a_plugin_of_an_older_protocol_is_refused(self):
        for versions in ([0, 1, 2], None):
            with (
                serving({"versions": versions}) as target,
                Client(target) as client,
                pytest.raises(Permanent, match="Sharder needs 3"),
            ):
                client.connect(30)

    def test_nobody_at_the_address_is_unreachable(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            with (
                Client(f"127.0.0.1:{taken.getsockname()[1]}") as client,
                pytest.raises(Unreachable, match="does not answer"),
            ):
                client.connect(0.3)

    def test_waiting_for_a_plugin_ends_with_its_death(self, tmp_path):
        died = Permanent("exit code 1")
        with (
            Client(f"unix://{tmp_path}/no.sock", death=lambda: died) as client,
            pytest.raises(Permanent, match="exit code 1"),
        ):
            client.connect(60)

    def test_another_thread_can_end_a_read_that_waits(self):
        with connected({"events": [{"do": "hang", "message": 1}], "rows": 100}) as client:
            threading.Thread(target=cancel_once_waiting, args=[client]).start()
            with pytest.raises(Stopped):
                list(client.sync(ALL))
            with pytest.raises(Stopped):
                client.tables()

    def test_a_plugin_that_hangs_and_logs_nothing_is_given_up_with_a_sentence(self):
        with connected({"events": [{"do": "hang", "message": 1}], "rows": 100}) as client:
            client.idle = silence(lambda: client.quiet_s, lambda: 0.0, 0.6, "plugin x")
            with pytest.raises(Hung, match="plugin x has sent nothing and logged nothing"):
                list(client.sync(ALL))

    def test_a_reader_that_takes_its_time_is_not_taken_for_a_silent_plugin(self):
        with connected({"rows": 100_000}) as client:
            client.idle = silence(lambda: client.quiet_s, lambda: 0.0, 0.0, "plugin x")
            messages = client.sync(SyncRequest(("things",)))
            next(messages)
            assert client.quiet_s == 0.0
            messages.close()

    def test_an_iterator_that_is_closed_ends_the_sync_at_the_plugin(self):
        with connected({"events": [{"do": "hang", "message": 300}], "rows": 100_000}) as client:
            messages = client.sync(ALL)
            assert isinstance(next(messages), Migrate)
            messages.close()
            assert client.name() == "scripted"


def cancel_once_waiting(client: Client) -> None:
    until = time.monotonic() + 20
    while client.quiet_s < 0.2 and time.monotonic() < until:
        threading.Event().wait(0.01)
    client.cancel()


class TestTrying:
    def test_a_plugin_that_can_connect_says_nothing(self):
        with connected({"test_connection": {"success": True}}) as client:
            client.test({})

    def test_codes_are_our_errors(self):
        for code, error in (
            ("UNAUTHORIZED", Denied),
            ("UNREACHABLE", Unreachable),
            ("X", Permanent),
        ):
            said = {"success": False, "code": code, "words": "no such luck"}
            with (
                connected({"test_connection": said}) as client,
                pytest.raises(error, match="no such luck"),
            ):
                client.test({})

    def test_without_such_a_call_it_is_an_init_with_a_connection(self):
        event = {"do": "abort", "at": "init", "words": "bad password"}
        with (
            serving({"events": [event]}) as target,
            Client(target) as client,
            pytest.raises(Permanent, match="bad password"),
        ):
            client.test({})


def test_grpc_is_asked_for_no_keepalive_and_messages_of_200_mebibytes():
    from contracts.plugin.calls import _OPTIONS

    assert not [name for name, _ in _OPTIONS if "keepalive" in name]
    assert dict(_OPTIONS)["grpc.max_receive_message_length"] == 200 * 1024 * 1024
    assert grpc.__version__
