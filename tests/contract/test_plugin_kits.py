"""Real plugins of CloudQuery's Python and JavaScript SDKs: started, spoken to, listened to, ended."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.plugin.client import Client
from contracts.plugin.ended import Died
from contracts.plugin.errors import Hung
from contracts.plugin.messages import Inserted, Migrate, SyncRequest, TableFailed
from contracts.plugin.plugin import Plugin, Surroundings
from contracts.plugin.program import Program, running
from contracts.plugin.watch import silence
from contracts.spec import PluginSettings
from tests.fakes.plugins.programs import ESTATE, MEMORY, javascript_memory_or_skip


@pytest.fixture(scope="module")
def javascript() -> str:
    return javascript_memory_or_skip()


def started(path: str, **settings: Any) -> contextlib.AbstractContextManager[Program]:
    plugin = Plugin("source", "kit", path, "local", settings=PluginSettings(**settings))
    around = Surroundings(dict(os.environ), masked=lambda text: text.replace("s3cret", "***"))
    return running(plugin, around)


def synced(
    program: Program, spec: dict[str, Any], tables: str = "*", idle_s: float = 60.0
) -> Counter[str]:
    """Rows by table; `tables` and `errors` are how many of these came."""
    counted: Counter[str] = Counter()
    with Client(program.target, death=program.death, what=program.what) as client:
        client.connect(30)
        client.idle = silence(
            lambda: client.quiet_s, lambda: program.log.last_s, idle_s, program.what
        )
        client.init(spec)
        for message in client.sync(SyncRequest((tables,))):
            match message:
                case Migrate():
                    counted["tables"] += 1
                case Inserted(table, batch):
                    counted[table] += batch.num_rows
                case TableFailed():
                    counted["errors"] += 1
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
        assert found == {
            "tables": 3,
            "estate_machines": 2 * 4,
            "estate_disks": 2 * 4 * 2,
            "estate_events": 2 * 4,
        }

    def test_errors_that_it_only_logs_are_counted_by_table_when_the_stream_has_ended(self, estate):
        before = estate.log.failed().get("estate_events")
        spec = {"accounts": ["a"], "faults": {"a": {"bad_value": "estate_events"}}}
        found = synced(estate, spec, "estate_events")
        assert (found["estate_events"], found["errors"]) == (2, 0)
        failed = estate.log.failed()["estate_events"]
        assert failed.count == (before.count if before else 0) + 1
        assert "failed to resolve resource" in failed.message
        assert failed.client == "a"

    def test_a_resolver_that_fails_is_told_in_the_stream_and_in_the_log(self, estate):
        spec = {"accounts": ["c"], "faults": {"c": {"raise": "estate_machines", "after": 1}}}
        found = synced(estate, spec, "estate_machines")
        assert (found["estate_machines"], found["estate_disks"], found["errors"]) == (1, 2, 1)
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
            assert found["estate_disks"] == 6
            assert program.log.failed()["estate_machines"].count == 1

    @pytest.mark.slow
    def test_a_process_that_ends_in_the_middle_ends_the_stream_and_is_told(self):
        with started(ESTATE) as program:
            spec = {"accounts": ["a"], "rows": 50, "faults": {"a": {"exit": 7, "after": 20}}}
            with pytest.raises(Died, match=r"in the middle of its work \(exit code 7\)"):
                synced(program, spec)
            assert program.death()

    @pytest.mark.slow
    def test_one_that_hangs_is_given_up_and_killed_though_it_ignores_sigint(self):
        with started(ESTATE) as program:
            spec = {"accounts": ["a"], "faults": {"a": {"hang": True, "table": "estate_events"}}}
            with pytest.raises(Hung, match="has sent nothing and logged nothing"):
                synced(program, spec, "estate_events", idle_s=0.5)
            pid = program.pid
        assert not Path(f"/proc/{pid}").exists()

    @pytest.mark.slow
    def test_it_runs_over_tcp(self):
        with started(ESTATE, runtime="java") as program:
            assert program.target.startswith("127.0.0.1:")
            assert synced(program, {"accounts": ["a"]})["estate_disks"] == 6

    @pytest.mark.slow
    def test_the_memory_plugin_runs(self):
        with started(MEMORY) as program:
            found = synced(program, {})
            assert found == {"tables": 3, "table_1": 3, "table_1_relation_1": 9, "table_2": 3}


@pytest.mark.slow
class TestTheJavascriptKit:
    def test_it_runs_over_a_socket_whatever_variables_there_are(self, javascript, monkeypatch):
        monkeypatch.setenv("CQ_FOO", "1")  # which would end it
        with started(javascript) as program:
            assert program.target.startswith("unix:")
            found = synced(program, {})
            assert found.pop("tables") == 4
            assert found.total() == 11

    def test_it_runs_over_tcp(self, javascript):
        with started(javascript, runtime="java") as program:
            found = synced(program, {})
            assert found.pop("tables") == 4
            assert found.total() == 11
