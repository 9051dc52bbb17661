"""Real plugins of CloudQuery's Python and JavaScript SDKs: started, spoken to, listened to, ended."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from cloudquery.plugin_v3 import plugin_pb2, plugin_pb2_grpc

from contracts.errors import SharderError
from contracts.plugin.plugin import Plugin, Surroundings
from contracts.plugin.program import Program, running
from contracts.spec import PluginSettings
from tests.fakes.plugins.programs import ESTATE, MEMORY, javascript_memory_or_skip

MOST = [("grpc.max_receive_message_length", 200 << 20)]


@pytest.fixture(scope="module")
def javascript() -> str:
    return javascript_memory_or_skip()


def started(path: str, **settings: Any) -> contextlib.AbstractContextManager[Program]:
    plugin = Plugin("source", "kit", path, "local", settings=PluginSettings(**settings))
    around = Surroundings(dict(os.environ), masked=lambda text: text.replace("s3cret", "***"))
    return running(plugin, around)


def synced(program: Program, spec: dict[str, Any], tables: str = "*") -> Counter[str]:
    """How many messages of each kind came."""
    counted: Counter[str] = Counter()
    with grpc.insecure_channel(program.target, MOST) as channel:
        stub = plugin_pb2_grpc.PluginStub(channel)
        stub.Init(plugin_pb2.Init.Request(spec=json.dumps(spec).encode()))
        request = plugin_pb2.Sync.Request(tables=[tables], withErrorMessages=True)
        counted.update(message.WhichOneof("message") for message in stub.Sync(request))
    program.catch_up()
    return counted


@pytest.fixture(scope="module")
def estate() -> Iterator[Program]:
    """One process for many syncs, which this SDK allows."""
    with started(ESTATE) as program:
        yield program


class TestThePythonKit:
    def test_a_source_sends_its_tables_and_rows(self, estate):
        found = synced(estate, {"accounts": ["a", {"id": "b"}], "rows": 4})
        # Machines, two disks each, events; of two accounts.
        assert found == {"migrate_table": 3, "insert": 2 * (4 + 8 + 4)}

    def test_errors_that_it_only_logs_are_counted_by_table_when_the_stream_has_ended(self, estate):
        before = estate.log.failed().get("estate_events")
        spec = {"accounts": ["a"], "faults": {"a": {"bad_value": "estate_events"}}}
        found = synced(estate, spec, "estate_events")
        assert found["insert"] == 2
        assert found["error"] == 0
        failed = estate.log.failed()["estate_events"]
        assert failed.count == (before.count if before else 0) + 1
        assert "failed to resolve resource" in failed.message
        assert failed.client == "a"

    def test_a_resolver_that_fails_is_told_in_the_stream_and_in_the_log(self, estate):
        spec = {"accounts": ["c"], "faults": {"c": {"raise": "estate_machines", "after": 1}}}
        found = synced(estate, spec, "estate_machines")
        assert (found["insert"], found["error"]) == (3, 1)
        assert "estate_machines" in estate.log.failed()

    def test_its_secrets_do_not_reach_our_log(self, estate, caplog):
        with caplog.at_level("INFO", "sharder"):
            synced(estate, {"accounts": ["a"], "secret": "s3cret"})
        assert "password=***" in caplog.text
        assert "s3cret" not in caplog.text

    @pytest.mark.slow
    def test_megabytes_on_its_streams_do_not_stop_it(self):
        fault = {"stderr": 5 << 20, "log_line": 3 << 20}
        with started(ESTATE) as program:
            found = synced(program, {"accounts": ["a"], "rows": 3, "faults": {"a": fault}})
            assert found["insert"] == 12
            assert program.log.failed()["estate_machines"].count == 1

    @pytest.mark.slow
    def test_a_process_that_ends_in_the_middle_ends_the_stream_and_is_told(self):
        with started(ESTATE) as program:
            spec = {"accounts": ["a"], "rows": 50, "faults": {"a": {"exit": 7, "after": 20}}}
            with pytest.raises(grpc.RpcError) as caught:
                synced(program, spec)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            death = program.death(20)
            assert isinstance(death, SharderError)
            assert "exit code 7" in death.message

    @pytest.mark.slow
    def test_it_runs_over_tcp(self):
        with started(ESTATE, runtime="java") as program:
            assert program.target.startswith("127.0.0.1:")
            assert synced(program, {"accounts": ["a"]})["insert"] == 12

    @pytest.mark.slow
    def test_the_memory_plugin_runs(self):
        with started(MEMORY) as program:
            assert synced(program, {}) == {"migrate_table": 3, "insert": 15}


@pytest.mark.slow
class TestTheJavascriptKit:
    def test_it_runs_over_a_socket_whatever_variables_there_are(self, javascript, monkeypatch):
        monkeypatch.setenv("CQ_FOO", "1")  # which would end it
        with started(javascript) as program:
            assert program.target.startswith("unix:")
            assert synced(program, {}) == {"migrate_table": 4, "insert": 11}

    def test_it_runs_over_tcp(self, javascript):
        with started(javascript, runtime="java") as program:
            assert synced(program, {}) == {"migrate_table": 4, "insert": 11}
