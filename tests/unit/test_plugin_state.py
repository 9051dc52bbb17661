"""State: what a source may read, what it writes is held, checkpoints are understood."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pytest

from contracts.plugin.client import Client
from contracts.plugin.cursor import values_of
from contracts.plugin.errors import Malformed
from contracts.plugin.messages import Backend, Inserted, Saved, SyncRequest
from contracts.plugin.state import StateServer
from tests.fakes.plugins import encode, programs
from tests.fakes.plugins.server import serving

SCRIPT = {"tables": [{"name": "events", "incremental": True}], "checkpoints": True, "rows": 120}


def python_client(connection: str, *change: str) -> dict[str, str]:
    done = subprocess.run(
        [programs.KITS, "-m", "tests.fakes.plugins.python_state", connection, *change],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def synced(state: StateServer, *, checkpoints: bool) -> list[Any]:
    backend = Backend("state", state.connection)
    with serving(SCRIPT) as target, Client(target) as client:
        client.connect(30)
        client.init({})
        return list(client.sync(SyncRequest(("*",), backend=backend, checkpoints=checkpoints)))


class TestTheServer:
    def test_pythons_state_client_reads_and_writes(self, tmp_path):
        with StateServer({"events/a1": "7"}, directory=tmp_path) as state:
            assert python_client(state.connection, "events/a1", "9") == {"events/a1": "7"}
            assert state.written() == {"events/a1": "9"}
            assert python_client(state.connection) == {"events/a1": "9"}

    def test_a_client_with_versions_begins_where_the_state_says_and_writes_on(self):
        with StateServer({"events/a1": "100"}) as state:
            messages = synced(state, checkpoints=False)
            assert state.written() == {"events/a1": "120"}
        assert sum(m.batch.num_rows for m in messages if isinstance(m, Inserted)) == 20

    def test_with_checkpoints_the_state_comes_behind_its_rows_and_nothing_is_written(self):
        with StateServer({}) as state:
            messages = synced(state, checkpoints=True)
            assert state.written() == {}
        assert messages[-1] == Saved({"events/a1": "120"})
        assert isinstance(messages[-2], Inserted)

    def test_an_older_version_of_a_key_does_not_replace_a_newer_one(self):
        with StateServer({}) as state:
            for version, value in ((2, "new"), (1, "old")):
                state.keep(encode.record_bytes(encode.state_batch("state", {"k": value}, version)))
            assert state.written() == {"k": "new"}

    def test_known_keys_by_the_ten_thousand_arrive(self):
        known = {f"key{n:06}": str(n) for n in range(25_000)}
        schema = encode.state_batch("state", {}, None).schema
        with StateServer(known) as state:
            assert values_of(state.batches(schema)) == known

    def test_what_is_no_state_is_refused(self):
        bad = encode.record_bytes(pa.record_batch({"x": [1]}))
        request = encode.pb.Write.Request(insert={"record": bad}).SerializeToString()
        with StateServer({}) as state, grpc.insecure_channel(state.connection) as channel:
            write = channel.stream_unary("/cloudquery.plugin.v3.Plugin/Write")
            with pytest.raises(grpc.RpcError, match="state without column"):
                write(iter([request]))

    def test_for_a_container_it_is_named_as_the_container_names_this_machine(self):
        with StateServer({}, alias="host.docker.internal") as state:
            host, _, port = state.connection.partition(":")
            assert host == "host.docker.internal"
            with Client(f"127.0.0.1:{port}") as client:
                client.connect(30)


class TestAReadCursor:
    def test_the_highest_version_of_a_key_counts(self):
        batches = [encode.state_batch("s", {"k": f"v{n}"}, n) for n in (1, 3, 2)]
        assert values_of(batches) == {"k": "v3"}

    def test_without_versions_the_last_counts(self):
        batches = [encode.state_batch("s", {"k": f"v{n}"}, None) for n in (1, 3, 2)]
        assert values_of(batches) == {"k": "v2"}

    def test_a_key_that_is_null_is_refused(self):
        batch = pa.record_batch({"key": pa.array([None], pa.string()), "value": ["x"]})
        with pytest.raises(Malformed, match="key is null"):
            values_of([batch])
