"""Any destination plugin of CloudQuery's keeps the contract of loads; here a real one, which writes to SQLite."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest

from contracts import layout, types
from contracts.plugin.plugin import Plugin, Surroundings
from contracts.plugin.program import running
from contracts.queue import Message
from contracts.table import Column, Table
from loader.migrating import migrate
from loader.prepare import prepare
from tests.fakes.contents import differences, of_duckdb
from tests.fakes.mortal import dies, doomed_run
from tests.fakes.plugins.programs import python
from tests.fakes.sqlite_plugin import SqlitePlace
from tests.fakes.stage import Bad, Good, StageRun, rows, shard, table
from tests.suites.loads import LoadsSuite, days

CHILD = table("children", Column("n", pa.int64(), nullable=False, primary_key=True), parent="items")
MODES = ("append", "overwrite", "overwrite-delete-stale")


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    """The address of one program for many loads: to start one takes seconds."""
    plugin = Plugin("destination", "served", python("destination"), "local")
    with running(plugin, Surroundings(os.environ)) as program:
        yield program.target


@dataclass(frozen=True)
class Served(SqlitePlace):
    address: str = ""

    @property
    def path(self) -> str:
        return self.address

    @property
    def outer(self) -> Mapping[str, Any]:
        return {"registry": "grpc"}


@pytest.fixture
def place(served: str, tmp_path: Path) -> Served:
    return Served(tmp_path / "w.sqlite", address=served)


class TestPlugin(LoadsSuite):
    def ids(self, place: SqlitePlace) -> list[int]:
        return [n for (n,) in place.rows("SELECT id FROM items ORDER BY id")]

    def outer(self, place: SqlitePlace) -> Mapping[str, Any]:
        return place.outer

    def test_an_unknown_option_is_refused_with_its_place(self, place, start):
        """By the plugin itself: nobody else knows its options."""
        run = start(0)
        said = self._prepared(replace(place, options={"conection": 1}), run)
        assert "unknown option conection" in said.message
        assert "destination 'w'" in said.message or "plugin 'w'" in said.message

    # Write modes

    @pytest.mark.parametrize("mode", MODES)
    def test_a_child_comes_with_its_parent_and_every_type_with_its_values(self, place, start, mode):
        typed = table(
            "items",
            Column("id", pa.int64(), nullable=False, primary_key=True),
            Column("v", pa.string()),
            Column("u", types.UUID),
            Column("j", types.JSON),
            Column("at", types.TIMESTAMP),
            Column("d", pa.dictionary(pa.int8(), pa.string())),
        )
        run = start(0, typed, CHILD, write_mode=mode)
        cells = {"id": 1, "v": "ü", "u": b"\7" * 16, "j": '{"a":[1]}', "at": days(3), "d": "x"}
        run.round([shard({"a": (cells,)}, children={"children": {"a": ({"n": 5}, {"n": 6})}})])
        receipt = run.load()
        assert [(t.table, t.copied, t.published) for t in receipt.tables] == [
            ("items", 1, 1), ("children", 2, 2),
        ]  # fmt: skip
        ((v, u, j, at, d, client),) = place.rows("SELECT v, u, j, at, d, _cq_client_id FROM items")
        assert (v, d, client, j) == ("ü", "x", "a", '{"a":[1]}') or isinstance(j, bytes)
        assert at.startswith("2026-01-04")
        assert u
        keyed = place.rows("SELECT count(*) FROM pragma_table_info('items') WHERE pk")
        assert keyed == [(0 if mode == "append" else 1,)]

    def test_a_newer_row_of_a_key_takes_the_place_of_the_older_one(self, place, start):
        for day in (0, 1):
            run = start(day, write_mode="overwrite")
            run.round([shard({"a": rows(1, 1 + day, v=f"v{day}_")})])
            assert run.load().error == ""
        assert place.rows("SELECT id, v FROM items ORDER BY id") == [(1, "v1_1"), (2, "v1_2")]

    def test_append_keeps_what_is_there_and_has_no_key(self, place, start):
        for day in (0, 1):
            run = start(day, write_mode="append")
            run.round([shard({"a": rows(1)})])
            receipt = run.load()
        assert receipt.guarantee == "at-least-once"
        assert self.ids(place) == [1, 1]

    def test_the_only_key_may_be_that_of_cloudquery(self, place, start):
        run = start(0, write_mode="overwrite", pk_mode="cq-id-only")
        run.round([shard({"a": rows(1)})])
        run.load()
        keys = "SELECT name FROM pragma_table_info('items') WHERE pk"
        assert place.rows(keys) == [("_cq_id",)]

    def test_the_sync_group_is_part_of_the_key(self, place, start):
        for day in (0, 1):
            run = start(day, write_mode="overwrite", sync_group_id="{{DAY}}")
            run.round([shard({"a": rows(1)})])
            assert run.load().error == ""
        assert place.rows("SELECT id, _cq_sync_group_id FROM items ORDER BY 2") == [
            (1, "01"),
            (1, "02"),
        ]

    # Stale rows

    def test_older_rows_go_when_everything_is_known(self, place, start):
        for day, cells in ((0, {"a": rows(1, 2), "b": rows(3)}), (1, {"a": rows(2)})):
            run = start(day)
            run.round([shard(cells)])
            receipt = run.load()
        assert (receipt.warnings, self.ids(place)) == ((), [2])

    def test_a_failure_deletes_nothing_and_is_told(self, place, start):
        for day, cells in ((0, {"a": rows(1, 2), "b": rows(3)}), (1, {"a": rows(2), "b": Bad()})):
            run = start(day)
            run.round([shard(cells)])
            receipt = run.load()
        assert self.ids(place) == [1, 2, 3]
        (warning,) = receipt.warnings
        assert "older rows of table 'items' stay in the destination: 1 of its cells" in warning
        run.round([shard({"b": rows(4)})], number=2, authoritative=False)
        assert run.load(2).warnings == ()
        assert self.ids(place) == [2, 4]

    def test_without_the_whole_list_of_clients_nothing_goes(self, place, start):
        for day in (0, 1):
            run = start(day)
            run.round([shard({"a": rows(1 + day)})], authoritative=not day)
            receipt = run.load()
        assert self.ids(place) == [1, 2]
        assert "the list of clients was not whole" in receipt.warnings[0]

    def test_rows_of_another_source_stay(self, place, start):
        for day, source in ((0, "other"), (1, "src")):
            run = start(day, source=source)
            run.round([shard({"a": rows(1 + day)})])
            run.load()
        assert self.ids(place) == [1, 2]

    # Tables

    def test_a_new_column_is_added_and_a_changed_one_needs_force(self, place, start):
        def shape(type_: pa.DataType) -> Table:
            return table(
                "items",
                Column("id", pa.int64(), nullable=False, primary_key=True),
                Column("v", type_),
            )

        run = start(0, shape(pa.string()), write_mode="overwrite")
        run.round([shard({"a": rows(1)})])
        run.load()
        run = start(1, shape(pa.int64()), write_mode="overwrite")
        run.round([shard({"a": ({"id": 2, "v": 2},)})])
        receipt = run.load()
        assert receipt.outcome == "failed"
        assert "cannot be changed in safe mode" in receipt.error
        assert self.ids(place) == [1]
        run = start(2, shape(pa.int64()), write_mode="overwrite", migrate_mode="forced")
        run.round([shard({"a": ({"id": 2, "v": 2},)})])
        assert run.load().error == ""
        assert place.rows("SELECT id, v FROM items") == [(2, 2)]

    def test_migrate_leaves_it_to_the_plugin(self, place, start):
        run = start(0, table(), CHILD, send_sync_summary=True)
        run.round([shard({"a": rows(1)})])
        run.stage.write_tables(run.stage.plan(run.run, 1))
        found = migrate(
            Message("migrate", run.run, destination="w"), stage=run.stage, environment={}
        )
        assert found.error is None
        assert [(t.table, t.action) for t in found.tables] == [
            ("items", "migrated"), ("children", "migrated"), ("cloudquery_sync_summaries", "migrated"),
        ]  # fmt: skip
        assert place.tables() == {"items", "children", "cloudquery_sync_summaries"}
        assert self.ids(place) == []

    # State

    def test_cursors_are_written_after_the_rows_and_read_back(self, place, start):
        for day, value in ((0, "1"), (1, "1"), (2, "5")):
            run = start(day, state="cq_state")
            run.round([shard({"a": Good(rows(day), {"items": value})})])
            assert run.load().error == ""
        assert place.rows("SELECT key, value, version FROM cq_state") == [("items", "5", 2)]
        assert self._prepared(place, run) is None
        assert run.stage.cursors(run.run, "w").cursors == {"src": {"items": "5"}}

    def test_a_plugin_that_cannot_be_read_from_is_refused_before_the_run(self, place, start):
        run = start(0, state="cq_state")
        error = self._prepared(replace(place, options={"reads": False}), run)
        assert error.exit_code == 2
        assert "cannot read table 'cq_state' back" in error.message

    def test_a_state_that_is_not_there_yet_has_no_cursors(self, place, start):
        run = start(0, state="cq_state")
        assert self._prepared(place, run) is None
        assert run.stage.cursors(run.run, "w").cursors == {"src": {}}

    # Failures

    def test_what_the_plugin_says_is_told_and_nothing_is_claimed(self, place, start):
        broken = replace(place, options={"faults": {"after": 1, "raise": "no space left"}})
        failing = StageRun(
            place.file.parent / "stage2", spec=broken.spec, path=place.path, state="cq_state",
            **place.outer,
        )  # fmt: skip
        failing.round([shard({"a": Good(tuple(rows(*range(25_000))), {"items": "1"})})])
        receipt = failing.load()
        assert receipt.outcome == "failed"
        assert "no space left" in receipt.error
        assert receipt.tables == ()
        assert failing.stage.cursors(failing.run, "w") is None

    @pytest.mark.slow
    def test_an_error_that_is_only_logged_fails_the_load(self, tmp_path):
        place = SqlitePlace(tmp_path / "w.sqlite", {"faults": {"log_error": "a row was left out"}})
        run = StageRun(tmp_path / "stage", spec=place.spec, path=place.path, **place.outer)
        run.round([shard({"a": rows(1)})])
        receipt = run.load()
        assert receipt.outcome == "failed"
        assert "logged errors while it wrote (1), such as: a row was left out" in receipt.error
        fleet = '{"kind": "fleet", "spec": {"broker": "${BROKER}", "plugins": {"w": {"logged_errors": "warn"}}}}'
        run.stage.store.put(layout.spec(run.run, 7), fleet.encode())
        run.round([shard({"a": rows(1)})], number=2)
        assert run.load(2).error == ""

    def test_rows_that_a_part_lost_are_noticed(self, place, start):
        run = start(0)
        run.round([shard({"a": rows(1, 2)})])
        commit = run.stage.commit(run.run, "01-0000000")
        part = commit.parts[0].model_copy(update={"rows": 3, "cells": {"a": 3}})
        cells = (commit.cells[0].model_copy(update={"rows": 3}),)
        wrong = commit.model_copy(update={"parts": (part,), "cells": cells})
        run.stage.store.put(layout.commit(run.run, "01-0000000"), wrong.to_bytes())
        receipt = run.load()
        assert receipt.outcome == "failed"
        assert "manifests promise" in receipt.error or "rows" in receipt.error

    def _prepared(self, place: SqlitePlace, run: StageRun) -> Any:
        document = {"name": "w", "path": place.path, "spec": place.spec, **place.outer}
        text = orjson.dumps({"kind": "destination", "spec": document})
        run.stage.store.put(layout.spec(run.run, 1), text)
        prepare(Message("prepare", run.run, destination="w"), stage=run.stage, environment={})
        return run.stage.cursors(run.run, "w").error


@pytest.mark.parametrize("mode", MODES)
def test_the_same_runs_leave_the_same_rows_as_in_a_native_warehouse(tmp_path, place, mode):
    duckdb = tmp_path / "w.duckdb"
    for path, spec, outer in (
        (place.path, place.spec, place.outer),
        ("cloudquery/duckdb", {"connection_string": str(duckdb)}, {}),
    ):
        for day, cells in ((0, {"a": rows(1, 2), "b": rows(3)}), (1, {"a": rows(2, 4, v="new")})):
            run = StageRun(
                tmp_path / path.replace("/", "_").replace(":", "_"), table(), CHILD, spec=spec, path=path,
                run=f"run-{day}", sync_time=days(day), write_mode=mode, **outer,
            )  # fmt: skip
            run.round([shard(cells, children={"children": {"a": ({"n": day},)}})])
            assert run.load().error == ""
    left_out = ("_cq_id", "_cq_parent_id")
    assert differences(place.contents(*left_out), of_duckdb(duckdb, *left_out)) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_loader_killed_after_any_message_and_started_again_leaves_the_same_rows(tmp_path, place):
    control = replace(place, file=tmp_path / "control.sqlite")
    died, n = True, 0
    while died:
        n += 1
        run = doomed_run(tmp_path / "stage", place.path, place.spec, n, "overwrite", **place.outer)
        died = dies(tmp_path / "stage", place.path, place.spec, n, "overwrite", **place.outer)
        assert run.load().error == "", f"killed after write {n}"
        calm = doomed_run(
            tmp_path / "control", control.path, control.spec, n, "overwrite", **control.outer
        )
        assert calm.load().error == ""
        assert place.contents() == control.contents(), f"killed after write {n}"
        cursors = "SELECT key, value FROM cq_state"
        assert place.rows(cursors) == control.rows(cursors), f"killed after write {n}"
    assert n > 5
