"""The Source suite on plugins that are programs, and what becomes of streams that go wrong, as Go sends them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest

from contracts.errors import Permanent
from contracts.spec import PluginSettings
from contracts.spec import Source as SourceSpec
from tests.fakes.plugins import contents
from tests.fakes.plugins.programs import ESTATE, javascript_memory_or_skip
from tests.fakes.plugins.server import program
from tests.suites.source import Reading, SourceSuite, context, frozen, read
from worker.sources import registry
from worker.sources.base import Cancelled, CellDone, Checkpoint, Deleted, Rows, Source, Work

THINGS = {"name": "things"}
PARTS = {"name": "thing_parts", "parent": "things"}


def opened(
    path: str,
    spec: Mapping[str, Any],
    *,
    settings: Mapping[str, Any] | None = None,
    state_table: str = "",
    **around: Any,
) -> Source:
    document = SourceSpec(
        name="src", path=path, registry="local", tables=("*",), destinations=("d",), spec=spec
    )
    given = {"clients": "accounts[]", "start_timeout": 120, **(settings or {})}
    here = context(
        environment=os.environ,
        settings=PluginSettings(**given),
        state_table=state_table,
        **around,
    )
    return registry.open_document(document, here)


class TestPythonPlugin(SourceSuite):
    tops = ("estate_events",)  # this SDK sends no ids, and nothing that links a child to its parent

    @pytest.fixture
    def source(self) -> Source:
        return opened(ESTATE, {"accounts": ["acme", "beta"]})


class TestGoShapedPlugin(SourceSuite):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        path = str(program(tmp_path, {}))
        return opened(path, {"accounts": ["a1", "a2"]}, settings={"runtime": "go"})


class Scripted:
    """A plugin of three accounts with 120 things and 120 parts of them each, and what happens to them."""

    accounts = ("a1", "a2", "a3")
    rows = 120  # three messages per table and account

    def __init__(self, tmp_path: Path) -> None:
        self._place = tmp_path

    def read(
        self, *events: Mapping[str, Any], script: Mapping[str, Any] = {}, **more: Any
    ) -> Reading:
        self.source = self.open(*events, script=script, **more)
        tree = frozen(self.source)["things"]
        return read(self.source, tree, self.accounts)

    def open(
        self, *events: Mapping[str, Any], script: Mapping[str, Any] = {}, **more: Any
    ) -> Source:
        written = {"rows": self.rows, "events": [*events], **script}
        path = program(self._place, written)
        settings = {"runtime": "go", **more.pop("settings", {})}
        return opened(str(path), {"accounts": [*self.accounts]}, settings=settings, **more)

    def whole(self, reading: Reading, account: str, table: Mapping[str, Any] = THINGS) -> bool:
        """Whether exactly the rows that the plugin has of this table of this account have come."""
        batches = reading.rows.get((table["name"], account), [])
        came = [n for batch in batches for n in batch.column("id").to_pylist()]
        names = {n for batch in batches for n in batch.column("name").to_pylist()}
        sent = contents.rows(dict(table), account, 0, self.rows)
        return sorted(came) == list(range(self.rows)) and names == {
            *sent.column("name").to_pylist()
        }


@pytest.fixture
def scripted(tmp_path: Path) -> Scripted:
    return Scripted(tmp_path)


def outcomes(reading: Reading, table: str = "things") -> list[str]:
    return [reading.outcomes(table)[a] for a in Scripted.accounts]


def failure(reading: Reading, table: str = "things", account: str = "a2") -> tuple[str, str]:
    """(reason, message) of a cell that failed."""
    (end,) = (e for e in reading.ends if (e.table, e.client) == (table, account))
    assert end.outcome == "failed"
    return str(end.reason), end.message


def test_every_row_comes_with_inet_mac_json_and_uuid_in_our_types(scripted):
    reading = scripted.read()
    assert outcomes(reading) == outcomes(reading, "thing_parts") == ["ok"] * 3
    assert all(scripted.whole(reading, a, t) for a in scripted.accounts for t in (THINGS, PARTS))
    row = reading.rows["things", "a1"][0].slice(8, 1)
    assert row.column("address").to_pylist() == ["10.8.0.0/24"]
    assert row.column("hardware").to_pylist() == [bytes([2, 0, 0, 0, 0, 8])]
    assert row.column("_cq_id")[0].as_py().bytes == contents.row_id("things", "a1", 8)
    assert str(row.schema.field("tags").type) == "extension<arrow.json>"


@pytest.mark.parametrize("message", range(6))
def test_a_program_that_is_killed_at_any_message_takes_no_other_account_with_it(scripted, message):
    reading = scripted.read({"do": "kill", "account": "a2", "message": message})
    assert outcomes(reading) == outcomes(reading, "thing_parts") == ["ok", "failed", "ok"]
    assert failure(reading)[0] == "memory"
    assert scripted.whole(reading, "a1")
    assert scripted.whole(reading, "a3", PARTS)


A2 = {"account": "a2", "message": 1}
FAULTS: Mapping[str, tuple[Sequence[Mapping[str, Any]], str, str]] = {
    "exit 137": ([{"do": "exit", "code": 137, **A2}], "memory", "137"),
    "exit 2": ([{"do": "exit", "code": 2, **A2}], "failed", "panic: scripted end"),
    "the call is aborted": ([{"do": "abort", "words": "no quota left", **A2}], "failed", "no quota left"),
    "denied, in the plugin's words": ([{"do": "abort", "words": "AccessDenied: go away", **A2}], "denied", "go away"),
    "a member that nobody knows": ([{"do": "unknown", **A2}], "failed", "does not know"),
    "bytes that are no message": ([{"do": "raw", "hex": "ffffff", **A2}], "failed", ""),
    "an error that is only logged": ([{"do": "log", "level": "error", "words": "row dropped", **A2}], "failed", "row dropped"),
    "a huge line at error level": ([{"do": "log", "level": "error", "bytes": 2_000_000, **A2}], "failed", "scripted line"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_what_goes_wrong_for_one_account_fails_its_cells_with_words(scripted, name):
    events, reason, words = FAULTS[name]
    reading = scripted.read(*events)
    assert outcomes(reading) == outcomes(reading, "thing_parts") == ["ok", "failed", "ok"]
    found = failure(reading)
    assert found[0] == reason
    assert words in found[1]
    assert scripted.whole(reading, "a1")
    assert scripted.whole(reading, "a3", PARTS)


def test_an_error_message_fails_its_table_alone(scripted):
    reading = scripted.read({"do": "error", "table": "thing_parts", "error": "403 Forbidden", **A2})
    assert outcomes(reading) == ["ok"] * 3
    assert outcomes(reading, "thing_parts") == ["ok", "failed", "ok"]
    assert failure(reading, "thing_parts") == ("denied", "403 Forbidden")


def test_logged_errors_are_warnings_where_the_fleet_document_says_so(scripted):
    event = {"do": "log", "level": "error", "words": "never mind", **A2}
    assert outcomes(scripted.read(event, settings={"logged_errors": "warn"})) == ["ok"] * 3


def test_a_flood_of_log_lines_loses_no_row(scripted):
    reading = scripted.read({"do": "log", "lines": 20_000, **A2})
    assert all(scripted.whole(reading, a, t) for a in scripted.accounts for t in (THINGS, PARTS))


def test_a_message_of_150_mib_comes_whole(scripted):
    size = 150 << 20
    source = scripted.open({"do": "big", "bytes": size, **A2})
    tree = frozen(source)["things"]
    events = list(source.read(Work(tree, frozenset(t.name for t in tree), ["a2"]), {}))
    batches = [e.batch for e in events if isinstance(e, Rows) and e.table == "things"]
    lengths = [pc.max(pc.binary_length(b.column("name"))).as_py() for b in batches]
    assert max(filter(None, lengths)) == size
    assert sum(b.num_rows for b in batches) == scripted.rows + 1
    assert {e.outcome for e in events if isinstance(e, CellDone)} == {"ok"}


def test_a_program_that_hangs_is_given_up_after_its_idle_time(scripted):
    reading = scripted.read({"do": "hang", **A2}, settings={"idle_timeout": 10})
    assert outcomes(reading) == ["ok", "failed", "ok"]
    assert "has sent nothing and logged nothing" in failure(reading)[1]


def test_a_program_of_an_older_protocol_is_refused(scripted):
    source = scripted.open(script={"versions": [1, 2]})
    with pytest.raises(Permanent, match="plugin protocol"):
        source.tables()


def test_an_attempt_that_is_over_ends_the_program_in_the_middle(scripted, tmp_path):
    gate = tmp_path / "gate"
    over = []
    source = scripted.open({"do": "until", "path": str(gate), **A2}, cancelled=lambda: bool(over))
    tree = frozen(source)["things"]
    names = frozenset(t.name for t in tree)
    events = source.read(Work(tree, names, ["a2"]), {})
    over.append(True)
    with pytest.raises(Cancelled):
        list(events)


def test_rows_that_a_plugin_takes_back_are_told_with_their_children(scripted):
    event = {"do": "delete_record", "table": "things", "column": "id", "value": 7, "relations": [["thing_parts", "things"]], **A2}  # fmt: skip
    reading = scripted.read(event)
    assert outcomes(reading) == ["ok"] * 3
    (gone,) = (e for e in reading.events if isinstance(e, Deleted))
    assert (gone.table, gone.client, list(gone.relations)) == (
        "things",
        "a2",
        [("thing_parts", "things")],
    )
    assert [{c: v.to_pylist() for c, v in each.items()} for each in gone.where] == [{"id": [7]}]


def test_a_plugin_that_asks_to_delete_without_saying_what_fails_its_client(scripted):
    event = {
        "do": "raw",
        "hex": "1a080a067468696e6773",
        **A2,
    }  # a delete_record of `things`, no predicates
    reading = scripted.read(event)
    assert outcomes(reading) == ["ok", "failed", "ok"]
    assert "without saying which rows" in failure(reading)[1]


def test_a_column_that_comes_in_the_middle_is_left_to_the_table_which_grows(scripted):
    source = scripted.open({"do": "schema_change", **A2})
    tree = frozen(source)["things"]
    assert all(t.evolves for t in tree)
    events = source.read(Work(tree, frozenset(t.name for t in tree), ["a2"]), {})
    batches = [e.batch for e in events if isinstance(e, Rows) and e.table == "things"]
    assert [("added" in b.schema.names) for b in batches] == [False, True]


def test_checkpoints_hold_what_came_before_them_and_end_with_the_state(scripted):
    tables = [{"name": "things", "incremental": True}]
    script = {"checkpoints": True, "tables": tables}
    source = scripted.open({"do": "kill", "at": "end"}, script=script, state_table="cq_state")
    reading = read(source, frozen(source)["things"], ["a1"])
    (saved,) = (e for e in reading.events if isinstance(e, Checkpoint))
    assert saved.cursor == {"things/a1": "120"}
    assert reading.outcomes("things") == {"a1": "failed"}
    again = read(
        scripted.open(script=script, state_table="cq_state"), frozen(source)["things"], ["a1"],
        cursors={"things/a1": "100"},
    )  # fmt: skip
    ids = [n for b in again.rows["things", "a1"] for n in b.column("id").to_pylist()]
    assert sorted(ids) == list(range(100, 120))
    assert again.cursors == {"things/a1": "120"}


def test_no_checkpoint_counts_after_an_error(scripted):
    tables = [{"name": "things", "incremental": True}]
    script = {"checkpoints": True, "tables": tables}
    event = {"do": "log", "level": "error", "words": "lost a row", **A2}
    source = scripted.open(event, script=script, state_table="cq_state")
    reading = read(source, frozen(source)["things"], ["a2"])
    assert not [e for e in reading.events if isinstance(e, Checkpoint)]
    assert not reading.cursors


@pytest.mark.slow
def test_a_plugin_of_the_javascript_sdk_is_read():
    source = opened(javascript_memory_or_skip(), {}, settings={"clients": "none"})
    tops = frozen(source)
    assert tops
    for tree in tops.values():
        assert {e.outcome for e in read(source, tree, ["src"]).ends} == {"ok"}
