"""What every warehouse with transactions must do, said through whole loads of runs written by hand.

A binding gives a `place` fixture (see `Place`); the suite knows no engine.
"""

# ruff: noqa: DTZ001  # warehouses keep timestamps without a zone, in UTC

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from copy import copy
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

import pyarrow as pa
import pytest

from contracts import types
from contracts.errors import InputError, Transient
from contracts.queue import Message
from contracts.table import Column, Table
from loader import cache
from loader.cache import Warehouses
from loader.documents import OpenDestination
from loader.prepare import prepare
from loader.warehouses import registry
from tests.fakes.mortal import dies, doomed_run
from tests.fakes.stage import NOW, Bad, Content, Good, StageRun, rows, shard, table
from tests.suites.loads import LoadsSuite, days


class Place(Protocol):
    """An empty database of one engine."""

    path: str  # of the plugin: cloudquery/duckdb
    spec: Mapping[str, Any]  # the destination's nested options

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Run SQL over a connection of its own, committed; the rows it returns, if any."""

    def beside(
        self, warehouse: Any
    ) -> AbstractContextManager[Callable[[str], list[tuple[Any, ...]]]]:
        """A reader that works while `warehouse` has a transaction open."""


class WarehouseSuite(LoadsSuite):
    def ids(self, place: Place) -> list[int]:
        return [row[0] for row in place.rows("SELECT id FROM items ORDER BY id")]

    def test_it_tells_its_version_and_its_clock_before_a_run(self, place, start):
        run, before = start(0), datetime.now(UTC).timestamp()
        prepare(Message("prepare", "run-0", destination="w"), stage=run.stage, environment={})
        server = run.stage.cursors("run-0", "w").server
        assert f"cloudquery/{server.name.lower()}" == place.path
        assert server.version[0].isdigit()
        assert before - 1 <= server.now_s <= datetime.now(UTC).timestamp() + 1

    # Rows

    def test_rows_arrive_with_their_cq_columns(self, place, start):
        run = start(0)
        run.round([shard({"a": rows(1, 2)}), shard({"b": rows(3)})])
        receipt = run.load()
        assert (receipt.outcome, receipt.published, receipt.error) == ("ok", 3, "")
        found = place.rows(
            "SELECT _cq_client_id, id, v, _cq_source_name, _cq_sync_time FROM items ORDER BY id"
        )
        at = NOW.replace(tzinfo=None)
        assert found == [
            ("a", 1, "x1", "src", at),
            ("a", 2, "x2", "src", at),
            ("b", 3, "x3", "src", at),
        ]

    def test_an_empty_table_is_created_with_its_schema(self, place, start):
        child = table("children", Column("n", pa.int64()), parent="items")
        run = start(0, table(), child)
        run.round([shard({"a": ()})])
        assert run.load().published == 0
        assert place.rows("SELECT id, v FROM items") == []
        assert place.rows("SELECT n FROM children") == []

    def test_parents_and_children_are_loaded_together(self, place, start):
        child = table("children", Column("n", pa.int64()), parent="items")
        run = start(0, table(), child)
        run.round([shard({"a": rows(1)}, children={"children": {"a": ({"n": 5}, {"n": 6})}})])
        receipt = run.load()
        assert [(t.table, t.published) for t in receipt.tables] == [
            ("children", 0),
            ("items", 1),
        ] or [(t.table, t.published) for t in receipt.tables] == [("items", 1), ("children", 1)]

    def test_copying_the_same_parts_twice_keeps_one_set_of_rows(self, place, start, mode):
        run = start(0, write_mode=mode)
        run.round([shard({"a": rows(1, 2)})])
        first = run.load()
        run.stage.store.delete([_receipt_key(run)])
        second = run.load()
        assert second.outcome == "ok"
        assert second.tables == first.tables
        assert place.rows("SELECT count(*) FROM items") == [(2,)]
        assert place.rows("SELECT count(*) FROM sharder_loads") == [(1,)]

    def test_a_receipt_ends_the_matter(self, place, start):
        run = start(0)
        run.round([shard({"a": rows(1)})])
        first = run.load()
        place.rows("DELETE FROM items")
        assert run.load() == first
        assert place.rows("SELECT count(*) FROM items") == [(0,)]

    def test_rows_of_the_same_key_are_updated(self, place, start):
        self._two_runs(start, "overwrite", rows(1, 2), rows(2, 3, v="new"))
        assert place.rows("SELECT id, v FROM items ORDER BY id") == [
            (1, "x1"),
            (2, "new2"),
            (3, "new3"),
        ]

    def test_append_keeps_every_row(self, place, start):
        self._two_runs(start, "append", rows(1, 2), rows(2, 3))
        assert place.rows("SELECT id FROM items ORDER BY id") == [(1,), (2,), (2,), (3,)]

    def test_rows_that_repeat_a_key_are_reduced_to_the_greatest_and_counted(self, place, start):
        run = start(0)
        run.round(
            [
                shard({"a": rows(1, v="b")}),
                shard({"b": rows(1, v="c")}),
                shard({"c": rows(1, v="a")}),
            ]
        )
        receipt = run.load()
        assert (receipt.tables[0].duplicates, receipt.published) == (2, 1)
        # The greatest by its columns in order, of which `_cq_client_id` comes first.
        assert place.rows("SELECT id, _cq_client_id, v FROM items") == [(1, "c", "a1")]

    def test_append_counts_no_duplicates(self, place, start):
        run = start(0, write_mode="append")
        run.round([shard({"a": rows(1, 1)})])
        receipt = run.load()
        assert (receipt.tables[0].duplicates, receipt.published) == (0, 2)

    def test_a_table_of_several_key_columns_is_merged_by_all_of_them(self, place, start):
        keys = [Column(n, pa.int64(), nullable=False, primary_key=True) for n in ("a", "b")]
        wide = table("items", *keys, Column("v", pa.string()))
        for day, v in ((0, "old"), (1, "new")):
            run = start(day, wide, write_mode="overwrite")
            run.round([shard({"c": ({"a": 1, "b": day, "v": v}, {"a": 1, "b": 9, "v": v})})])
            run.load()
        assert place.rows("SELECT a, b, v FROM items ORDER BY a, b") == [
            (1, 0, "old"),
            (1, 1, "new"),
            (1, 9, "new"),
        ]

    def test_a_table_of_nothing_but_its_key_is_merged(self, place, start):
        keyed = table("items", Column("id", pa.int64(), nullable=False, primary_key=True))
        for day in (0, 1):
            run = start(day, keyed, write_mode="overwrite")
            run.round([shard({"a": ({"id": 1},)})])
            run.load()
        assert place.rows("SELECT id FROM items") == [(1,)]

    # Cells that are not ok

    def test_rows_up_to_a_checkpoint_are_loaded_with_its_cursor(self, place, start):
        run = start(0, table(incremental=True), state="cq_state")
        run.round([shard({"a": Bad("timeout", kept=rows(1, 2), cursor={"items": "2"})})])
        receipt = run.load()
        assert (receipt.published, receipt.cells_failed) == (2, 1)
        assert place.rows("SELECT key, value FROM cq_state") == [("items", "2")]

    def test_the_two_tables_for_readers_say_what_is_complete(self, place, start):
        run = start(0)
        run.round([shard({"a": rows(1), "b": Bad("denied"), "c": Bad("off", "skipped")})])
        run.load()
        assert place.rows(
            "SELECT run, round, source, table_name, rows, complete, cells_ok, cells_failed, cells_skipped "
            "FROM sharder_loads"
        ) == [("run-0", 1, "src", "items", 1, False, 1, 1, 1)]
        assert place.rows(
            "SELECT client, outcome, reason, message FROM sharder_cells ORDER BY client"
        ) == [("b", "failed", "denied", "denied: no"), ("c", "skipped", "off", "off: no")]
        run.round([shard({"b": rows(2)})], number=2, authoritative=False)
        run.load(2)
        assert place.rows("SELECT round, client FROM sharder_cells") == [(1, "c")]
        assert place.rows("SELECT complete, cells_ok FROM sharder_loads ORDER BY round") == [
            (False, 1), (False, 2),
        ]  # fmt: skip

    def test_a_verdict_of_the_watcher_fails_every_planned_cell(self, place, start):
        run = start(0)
        run.round([shard({"a": rows(1)}), Content({"": {}}, ("b", "c"), verdict="lost")])
        receipt = run.load()
        assert (receipt.cells_ok, receipt.cells_failed) == (1, 2)
        assert place.rows("SELECT client, reason FROM sharder_cells ORDER BY client") == [
            ("b", "lost"), ("c", "lost"),
        ]  # fmt: skip

    def test_a_planned_cell_that_a_commit_does_not_mention_has_failed(self, place, start):
        self._seed(start)
        run = start(1)
        run.round([shard({"a": rows(1)}), shard({"b": ()}, forget=True)])
        assert run.load().cells_failed == 1
        assert place.rows("SELECT id FROM items ORDER BY id") == [(1,), (2,)]

    # Stale rows

    def _seed(self, start: Callable[..., StageRun], *tree: Table, **kwargs: Any) -> None:
        """Row 1 of client a, 2 of b, 3 of c, on day 0."""
        run = start(0, *tree, **kwargs)
        run.round([shard({"a": rows(1), "b": rows(2), "c": rows(3)})])
        run.load()

    def test_rows_that_vanished_from_a_client_go(self, place, start):
        self._seed(start)
        run = start(1)
        run.round([shard({"a": rows(11), "b": rows(2), "c": ()})])
        assert run.load().tables[0].stale == 2
        assert self.ids(place) == [2, 11]

    def test_a_failed_client_keeps_its_old_rows_and_the_others_lose_theirs(self, place, start):
        self._seed(start)
        run = start(1)
        run.round([shard({"a": (), "b": Bad("denied"), "c": Bad("region_off", "skipped")})])
        run.load()
        assert self.ids(place) == [2, 3]

    def test_a_departed_client_loses_its_rows_while_a_denied_one_keeps_them(self, place, start):
        self._seed(start)
        run = start(1)
        run.round([shard({"b": Bad("denied"), "c": rows(3)})])
        run.load()
        assert self.ids(place) == [2, 3]

    def test_without_an_authoritative_list_only_ok_cells_are_cleaned(self, place, start):
        self._seed(start)
        run = start(1)
        run.round([shard({"a": rows(11), "b": Bad("denied")})], authoritative=False)
        run.load()
        assert self.ids(place) == [2, 3, 11]

    def test_an_empty_list_without_authority_touches_nothing(self, place, start):
        self._seed(start)
        run = start(1)
        run.round([], clients=[], authoritative=False)
        assert run.load().outcome == "ok"
        assert self.ids(place) == [1, 2, 3]

    def test_a_retry_cleans_the_cells_that_it_repaired_and_nothing_else(self, place, start):
        self._seed(start)
        run = start(1)
        run.round([shard({"a": rows(1), "b": Bad("denied"), "c": Bad("denied")})])
        run.load()
        place.rows("UPDATE items SET _cq_client_id = 'elsewhere' WHERE id = 3")
        run.round([shard({"b": rows(22), "c": Bad("denied")})], number=2, authoritative=False)
        run.load(2)
        assert self.ids(place) == [1, 3, 22]

    def test_rows_without_a_client_go_only_when_every_cell_is_ok(self, place, start):
        self._seed(start)
        place.rows("UPDATE items SET _cq_client_id = NULL WHERE id = 3")
        run = start(1)
        run.round([shard({"a": rows(1), "b": Bad("denied")})])
        run.load()
        assert self.ids(place) == [1, 2, 3]
        run.round([shard({"b": rows(2)})], number=2, authoritative=False)
        run.load(2)
        assert self.ids(place) == [1, 2]

    def test_rows_of_other_sources_stay(self, place, start):
        self._seed(start, source="other")
        run = start(1, run="run-b")
        run.round([shard({"a": rows(11)})])
        run.load()
        assert self.ids(place) == [1, 2, 3, 11]

    def test_children_are_cleaned_by_their_own_outcomes(self, place, start):
        child = table(
            "children", Column("id", pa.int64(), nullable=False, primary_key=True), parent="items"
        )
        seed = start(0, table(), child)
        seed.round([shard(
            {"a": rows(1), "b": rows(2)}, children={"children": {"a": ({"id": 10},), "b": ({"id": 20},)}}
        )])  # fmt: skip
        seed.load()
        run = start(1, table(), child)
        run.round([shard(
            {"a": rows(1), "b": rows(2)}, children={"children": {"a": (), "b": Bad("throttled")}}
        )])  # fmt: skip
        run.load()
        assert place.rows("SELECT id FROM children") == [(20,)]

    def test_incremental_tables_and_their_children_are_never_cleaned(self, place, start):
        top = table(incremental=True)
        child = table(
            "children", Column("id", pa.int64(), nullable=False, primary_key=True), parent="items"
        )
        for day, ids in ((0, rows(1)), (1, rows(2))):
            run = start(day, top, child)
            run.round([shard({"a": ids}, children={"children": {"a": ({"id": day},)}})])
            run.load()
        assert self.ids(place) == [1, 2]
        assert place.rows("SELECT count(*) FROM children") == [(2,)]

    @pytest.mark.parametrize("kept", ["overwrite", "append"])
    def test_other_write_modes_delete_nothing(self, place, start, kept):
        self._seed(start, write_mode=kept)
        run = start(1, write_mode=kept)
        run.round([shard({"a": ()})])
        run.load()
        assert self.ids(place) == [1, 2, 3]

    def test_a_full_refresh_merges_deletes_nothing_and_replaces_the_cursor(self, place, start):
        for day, full in ((0, False), (1, True)):
            run = start(day, state="cq_state", full_refresh=full)
            cells = Good(rows(1, 2) if day == 0 else rows(2, v="new"), {"items": str(9 - day)})
            run.round([shard({"a": cells})])
            run.load()
        assert place.rows("SELECT id, v FROM items ORDER BY id") == [(1, "x1"), (2, "new2")]
        assert place.rows("SELECT value, version FROM cq_state") == [("8", 2)]

    # Rounds

    def test_a_failed_load_is_covered_by_the_next_round(self, place, start):
        place.rows("CREATE TABLE items (id varchar(9), v varchar(9))")
        run = start(0, write_mode="append")
        run.round([shard({"a": rows(1), "b": Bad("denied")})])
        first = run.load()
        assert first.outcome == "failed"
        assert "id" in first.error
        place.rows("DROP TABLE items")
        run.round([shard({"b": rows(2)})], number=2, authoritative=False)
        second = run.load(2)
        assert (second.rounds, second.published) == ((1, 2), 2)
        run.round([], number=3, authoritative=False)
        assert run.load(3).published == 0
        assert self.ids(place) == [1, 2]

    def test_a_round_without_shards_loads_what_an_earlier_one_could_not(self, place, start):
        self._seed(start)
        run = start(1)
        run.round([shard({"a": rows(11), "b": Bad("denied")})])
        run.round([], number=2, authoritative=False)
        receipt = run.load(2)
        assert (receipt.rounds, receipt.published) == ((1, 2), 1)
        # Round 1's list was authoritative, and its load is done here: c has departed.
        assert self.ids(place) == [2, 11]

    def test_an_earlier_round_that_a_later_one_covered_is_done(self, place, start):
        run = start(0, write_mode="append")
        run.round([shard({"a": rows(1)})])
        run.round([shard({"b": rows(2)})], number=2)
        run.load(2)
        late = run.load(1)
        assert (late.outcome, late.published) == ("ok", 0)
        assert self.ids(place) == [1, 2]

    # Fence, state, transaction

    def test_an_older_load_is_refused_by_the_fence(self, place, start):
        old, new = start(0), start(1)
        old.round([shard({"a": rows(1)})])
        new.round([shard({"a": rows(2)})])
        new.load()
        receipt = old.load()
        assert receipt.outcome == "failed"
        assert "run-1" in receipt.error
        assert self.ids(place) == [2]

    def test_the_fence_is_taken_again_in_the_publish(self, place, start):
        """A newer load is published after the older one began: the older one must not write over it."""
        old, new = start(0), start(1)
        old.round([shard({"a": rows(1)})])
        new.round([shard({"a": rows(2)})])

        old.warehouses = _hooked(lambda _: new.load())
        receipt = old.load()
        assert receipt.outcome == "failed"
        assert "run-1" in receipt.error
        assert self.ids(place) == [2]

    def test_a_load_of_the_same_run_that_came_in_between_asks_for_another_try(self, place, start):
        run = start(0, write_mode="append")
        run.round([shard({"a": rows(1)})])
        run.round([shard({"b": rows(2)})], number=2)
        run.warehouses = _hooked(lambda _: _fresh(run).load(1))
        with pytest.raises(Transient, match="another load"):
            run.load(2)
        assert self.ids(place) == [1]
        assert _fresh(run).load(2).published == 1
        assert self.ids(place) == [1, 2]

    def test_state_and_rows_are_committed_together(self, place, start):
        run = start(0, table(incremental=True), state="cq_state")
        run.round([shard({"a": Good(rows(1), {"items": "1"})})])
        seen = []
        with _spying(
            run, place, seen, "SELECT (SELECT count(*) FROM items), (SELECT count(*) FROM cq_state)"
        ):
            run.load()
        assert set(seen) == {(0, 0)}
        assert place.rows("SELECT key, value, version FROM cq_state") == [("items", "1", 1)]
        assert self.ids(place) == [1]

    def test_readers_never_see_half_a_table(self, place, start):
        self._seed(start)
        run = start(1)
        run.round([shard({"a": rows(11), "b": rows(22), "c": rows(33)})])
        seen = []
        with _spying(run, place, seen, "SELECT count(*), max(id) FROM items"):
            run.load()
        assert set(seen) == {(3, 3)}
        assert self.ids(place) == [11, 22, 33]

    def test_an_unchanged_cursor_keeps_its_version(self, place, start):
        for day, value in ((0, "1"), (1, "1"), (2, "5")):
            run = start(day, table(incremental=True), state="cq_state")
            run.round([shard({"a": Good(rows(day), {"items": value})})])
            run.load()
        assert place.rows("SELECT value, version FROM cq_state") == [("5", 2)]

    def test_prepare_finds_cursors_and_last_sync_times(self, place, start):
        run = start(0, table(incremental=True), state="cq_state")
        run.round([shard({"a": Good(rows(1), {"items": "41"})})])
        run.load()
        prepare(Message("prepare", "run-0", destination="w"), stage=run.stage, environment={})
        found = run.stage.cursors("run-0", "w")
        assert found is not None
        assert found.error is None
        assert found.cursors == {"src": {"items": "41"}}
        assert found.last_sync == {"src": days(0)}
        assert found.guarantee == "transactional"

    def test_prepare_of_an_empty_warehouse_finds_nothing(self, place, start):
        run = start(0, state="cq_state")
        prepare(Message("prepare", "run-0", destination="w"), stage=run.stage, environment={})
        found = run.stage.cursors("run-0", "w")
        assert (found.error, found.cursors, found.last_sync) == (None, {"src": {}}, {})

    def test_no_landing_table_is_left_behind(self, place, start):
        run = start(0)
        run.round([shard({"a": rows(1), "b": Bad(rows=rows(2))})])
        run.load()
        assert place.rows(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'sharder' ORDER BY 1"
        ) == [("fence",)]

    def test_rows_that_are_missing_from_a_part_fail_the_load_and_publish_nothing(
        self, place, start
    ):
        self._seed(start)
        run = start(1)
        run.round([shard({"a": rows(11)})])
        _edit_commit(run, lambda part: {"rows": 2, "cells": {"a": 2}}, cell_rows=2)
        receipt = run.load()
        assert receipt.outcome == "failed"
        assert self.ids(place) == [1, 2, 3]

    def test_a_damaged_part_fails_the_load_and_publishes_nothing(self, place, start, format_):
        self._seed(start)
        run = start(1, format_=format_)
        run.round([shard({"a": rows(11)})])
        key = run.stage.commit("run-1", "01-0000000").parts[0].key
        run.stage.store.put(key, run.stage.store.get(key)[:-9])
        receipt = run.load()
        assert (receipt.outcome, self.ids(place)) == ("failed", [1, 2, 3])

    # Deaths

    @pytest.mark.slow
    @pytest.mark.timeout(600)
    @pytest.mark.parametrize("write_mode", ["append", "overwrite-delete-stale"])
    def test_a_loader_killed_after_any_write_and_started_again_loads_every_row_once(
        self, place, tmp_path, write_mode
    ):
        """Run after run into the same tables; run n dies by SIGKILL right after its n-th write."""
        appended: list[int] = []
        died, n = True, 0
        while died:
            n += 1
            run = doomed_run(tmp_path / "stage", place.path, place.spec, n, write_mode)
            died = dies(tmp_path / "stage", place.path, place.spec, n, write_mode)
            receipt = run.load()
            assert (receipt.outcome, receipt.error) == ("ok", "")
            appended += [n, n + 1]
            kept = appended if write_mode == "append" else [n, n + 1]
            assert self.ids(place) == sorted(kept), f"killed after write {n}"
            assert place.rows("SELECT value FROM cq_state") == [(str(n),)]
            assert place.rows("SELECT count(*) FROM sharder_loads") == [(n,)]
            assert place.rows("SELECT count(*) FROM sharder_cells") == [(n,)]
        assert n > 15

    # Migrations

    def test_an_added_column_arrives_as_null_in_old_rows(self, place, start):
        wider = table(
            "items", *_columns(("id", pa.int64()), ("v", pa.string()), ("w", pa.string()))
        )
        run = start(0, write_mode="overwrite")
        run.round([shard({"a": rows(1)})])
        run.load()
        run = start(1, wider, write_mode="overwrite")
        run.round([shard({"a": ({"id": 2, "v": "x", "w": "y"},)})])
        run.load()
        assert place.rows("SELECT id, w FROM items ORDER BY id") == [(1, None), (2, "y")]

    def test_a_removed_column_stays_and_is_null_in_new_rows(self, place, start):
        wider = table(
            "items", *_columns(("id", pa.int64()), ("v", pa.string()), ("w", pa.string()))
        )
        run = start(0, wider, write_mode="overwrite")
        run.round([shard({"a": ({"id": 1, "v": "x", "w": "y"},)})])
        run.load()
        run = start(1, write_mode="overwrite")
        run.round([shard({"a": rows(2)})])
        run.load()
        assert place.rows("SELECT id, w FROM items ORDER BY id") == [(1, "y"), (2, None)]

    def test_a_column_widens_and_keeps_its_values(self, place, start):
        self._retyped(start, pa.int32(), pa.int64(), 5, 2**40)
        assert place.rows("SELECT id, v FROM items ORDER BY id") == [(1, 5), (2, 2**40)]

    def test_a_narrower_column_fits_into_the_wide_one(self, place, start):
        self._retyped(start, pa.int64(), pa.int32(), 2**40, 5)
        assert place.rows("SELECT id, v FROM items ORDER BY id") == [(1, 2**40), (2, 5)]

    def test_a_change_that_would_lose_something_is_refused_in_safe_mode(self, place, start):
        receipt = self._retyped(start, pa.string(), pa.int64(), "word", 5)
        assert receipt.outcome == "failed"
        assert "'v'" in receipt.error
        assert "migrate_mode: forced" in receipt.error
        assert place.rows("SELECT id, v FROM items") == [(1, "word")]

    def test_a_forced_migration_swaps_the_table_and_keeps_what_it_can(self, place, start):
        receipt = self._retyped(start, pa.string(), pa.int64(), "word", 5, migrate_mode="forced")
        assert receipt.error == ""
        assert place.rows("SELECT id, v FROM items ORDER BY id") == [(1, None), (2, 5)]

    def test_a_forced_migration_that_cannot_keep_old_rows_starts_anew(self, place, start):
        other = table("items", Column("name", pa.string(), nullable=False, primary_key=True))
        self._seed(start)
        run = start(1, other, migrate_mode="forced")
        run.round([shard({"a": ({"name": "n"},)})])
        run.load()
        assert place.rows("SELECT name FROM items") == [("n",)]

    def test_readers_see_the_old_table_until_a_forced_migration_is_published(self, place, start):
        self._seed(start)
        wider = table("items", *_columns(("id", pa.int64()), ("v", pa.float64())))
        run = start(1, wider, migrate_mode="forced")
        run.round([shard({"a": ({"id": 5, "v": 0.5},)})])
        seen = []
        with _spying(run, place, seen, "SELECT count(*), max(v) FROM items"):
            assert run.load().error == ""
        assert set(seen) == {(3, "x3")}
        assert place.rows("SELECT id, v FROM items") == [(5, 0.5)]

    def test_a_table_that_was_appended_to_is_not_silently_merged_into(self, place, start):
        self._seed(start, write_mode="append")
        run = start(1, write_mode="overwrite")
        run.round([shard({"a": rows(1)})])
        receipt = run.load()
        assert receipt.outcome == "failed"
        assert "key" in receipt.error

    def test_forced_mode_gives_an_appended_table_its_key_and_keeps_the_newest_rows(
        self, place, start
    ):
        self._two_runs(start, "append", rows(1, 2), rows(2, v="newest"))
        run = start(2, write_mode="overwrite", migrate_mode="forced")
        run.round([shard({"a": rows(3)})])
        assert run.load().error == ""
        assert place.rows("SELECT id, v FROM items ORDER BY id") == [
            (1, "x1"),
            (2, "newest2"),
            (3, "x3"),
        ]

    def test_the_key_moves_to_cq_id_without_force(self, place, start):
        self._seed(start, write_mode="overwrite")
        run = start(1, write_mode="overwrite", pk_mode="cq-id-only")
        run.round([shard({"a": rows(1, v="new")})])
        assert run.load().error == ""
        assert place.rows("SELECT id, v FROM items ORDER BY id") == [
            (1, "new1"),
            (2, "x2"),
            (3, "x3"),
        ]
        run = start(2, write_mode="overwrite", pk_mode="cq-id-only")
        run.round([shard({"a": rows(1, v="again")})])
        assert run.load().published == 1

    def test_sync_groups_keep_their_rows_apart(self, place, start):
        for day, group in ((0, "{{YEAR}}-{{MONTH}}"), (1, "{{SYNC_ID}}"), (2, "run-1")):
            run = start(day, write_mode="overwrite", sync_group_id=group)
            run.round([shard({"a": rows(1, v=str(day))})])
            run.load()
        assert place.rows("SELECT _cq_sync_group_id, v FROM items ORDER BY 1") == [
            ("2026-01", "01"), ("run-1", "21"),
        ]  # fmt: skip

    # Types and names

    @pytest.mark.parametrize(("type_", "value", "expected"), [
        (pa.bool_(), True, True),
        (pa.int8(), -128, -128), (pa.int16(), 2**15 - 1, 2**15 - 1), (pa.int32(), -5, -5),
        (pa.int64(), -(2**63), -(2**63)),
        (pa.uint8(), 255, 255), (pa.uint16(), 65535, 65535), (pa.uint32(), 2**32 - 1, 2**32 - 1),
        (pa.uint64(), 2**64 - 1, 2**64 - 1),
        (pa.float16(), 1.5, 1.5), (pa.float32(), 0.25, 0.25), (pa.float64(), 1e300, 1e300),
        (pa.string(), "żółć 🦆 \"'\\ \n,", "żółć 🦆 \"'\\ \n,"), (pa.string(), "", ""),
        (pa.large_string(), "x", "x"), (pa.string_view(), "y", "y"),
        (pa.binary(), b"\x00\xff", b"\x00\xff"), (pa.large_binary(), b"1", b"1"),
        (pa.binary_view(), b"2", b"2"), (pa.binary(3), b"abc", b"abc"),
        (pa.date32(), date(2024, 2, 29), date(2024, 2, 29)),
        (pa.date64(), date(1969, 12, 31), date(1969, 12, 31)),
        (pa.time32("s"), time(1, 2, 3), time(1, 2, 3)),
        (pa.time32("ms"), time(1, 2, 3, 4000), time(1, 2, 3, 4000)),
        (pa.time64("us"), time(1, 2, 3, 4), time(1, 2, 3, 4)),
        (pa.timestamp("s"), datetime(2024, 1, 2), datetime(2024, 1, 2)),
        (pa.timestamp("ms"), datetime(2024, 1, 2, 3, 4, 5, 6000), datetime(2024, 1, 2, 3, 4, 5, 6000)),
        (pa.timestamp("us"), datetime(1815, 1, 2, 3, 4, 5, 6), datetime(1815, 1, 2, 3, 4, 5, 6)),
        (pa.timestamp("us", "UTC"), datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 2)),
        (pa.timestamp("s", "+05:00"), datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 2)),
        (pa.decimal32(5, 2), Decimal("-123.45"), Decimal("-123.45")),
        (pa.decimal64(12, 0), Decimal(123456789012), Decimal(123456789012)),
        (pa.decimal128(38, 20), Decimal("123456789012345678.12345678901234567890"),
         Decimal("123456789012345678.12345678901234567890")),
        (pa.decimal256(76, 38), Decimal("1." + "3" * 38), Decimal("1." + "3" * 38)),
        (types.UUID, UUID(int=7).bytes, UUID(int=7)),
        (types.JSON, '{"a": [1, null, "ü"]}', {"a": [1, None, "ü"]}),
        (types.INET, "10.0.0.0/8", "10.0.0.0/8"),
        (types.MAC, b"\x08\x00\x2b\x01\x02\x03", "08:00:2b:01:02:03"),
        (pa.duration("ms"), timedelta(milliseconds=1500), "PT1.5S"),
        (pa.month_day_nano_interval(), (1, -2, 500_000_000), "P1M-2DT0.5S"),
        (pa.list_(pa.string()), ["a", None, ""], ["a", None, ""]),
        (pa.large_list(pa.int64()), [1, 2], [1, 2]),
        (pa.list_(pa.int32(), 2), [1, 2], [1, 2]),
        (pa.list_view(pa.bool_()), [True], [True]),
        (pa.list_(pa.timestamp("us", "UTC")), [datetime(2024, 1, 2, tzinfo=UTC)], [datetime(2024, 1, 2)]),
        (pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))]), {"a": 1, "b": ["x"]}, {"a": 1, "b": ["x"]}),
        (pa.map_(pa.string(), pa.int64()), [("k", 1)], {"k": 1}),
    ], ids=str)  # fmt: skip
    @pytest.mark.parametrize("format_", ["parquet", "csv"])
    def test_every_type_arrives_as_it_left(self, place, start, format_, type_, value, expected):
        run = self._typed(start, format_, type_, [value, None])
        assert run.load().error == ""
        ((found,), (nothing,)) = place.rows("SELECT c FROM items ORDER BY id")
        assert nothing is None
        assert _plain(found, expected) == expected

    @pytest.mark.parametrize("format_", ["parquet", "csv"])
    @pytest.mark.parametrize("type_", [
        pa.time64("ns"), pa.timestamp("ns"), pa.timestamp("ns", "Asia/Kathmandu"), pa.duration("ns"),
    ], ids=str)  # fmt: skip
    def test_nanoseconds_are_kept_or_refused_but_never_cut(self, place, start, format_, type_):
        run = self._typed(start, format_, type_, [123_456_789, None])
        receipt = run.load()
        if receipt.outcome == "failed":
            assert "'c'" in receipt.error
            return
        ((found,), (nothing,)) = place.rows("SELECT CAST(c AS varchar) FROM items ORDER BY id")
        assert ".123456789" in found
        assert nothing is None

    @pytest.mark.parametrize("format_", ["parquet", "csv"])
    def test_a_column_without_any_value_is_a_text_column(self, place, start, format_):
        run = self._typed(start, format_, pa.null(), [None, None])
        assert run.load().error == ""
        assert place.rows("SELECT c FROM items") == [(None,), (None,)]

    @pytest.mark.parametrize("format_", ["parquet", "csv"])
    def test_a_dictionary_arrives_as_its_values(self, place, start, format_):
        run = self._typed(start, format_, pa.dictionary(pa.int8(), pa.string()), ["a", "b"])
        assert run.load().error == ""
        assert place.rows("SELECT c FROM items ORDER BY id") == [("a",), ("b",)]

    @pytest.mark.parametrize("name", [
        'a"b', "a'b", "a`b", "a;DROP TABLE items;--", "a b", "żółć 🦆", "a%sb", "a$1b", "{}", "SELECT", "\\",
    ])  # fmt: skip
    def test_hostile_names_are_only_names(self, place, start, name):
        odd = table(name, *_columns(("id", pa.int64()), (name + "!", pa.string())))
        for day in (0, 1):
            run = start(day, odd)
            run.round([shard({name: ({"id": day, name + "!": name}, {"id": 7, name + "!": name})})])
            receipt = run.load()
            assert receipt.error == ""
        quoted = '"' + name.replace('"', '""') + '"'
        column = '"' + (name + "!").replace('"', '""') + '"'
        found = place.rows(f"SELECT id, {column}, _cq_client_id FROM {quoted} ORDER BY id")
        assert found == [(1, name, name), (7, name, name)]

    def test_a_nul_in_a_name_is_refused_with_a_sentence(self, place, start):
        odd = table("items", *_columns(("id", pa.int64()), ("a\0b", pa.string())))
        run = start(0, odd)
        run.round([shard({"a": ()})])
        receipt = run.load()
        assert receipt.outcome == "failed"
        assert "NUL" in receipt.error

    def test_long_column_names_are_kept_apart(self, place, start):
        long = "n" * 300
        odd = table(
            "items",
            *_columns(("id", pa.int64()), (long + "1", pa.string()), (long + "2", pa.string())),
        )
        for day in (0, 1):
            run = start(day, odd, write_mode="overwrite")
            run.round([shard({"a": ({"id": 1, long + "1": "one", long + "2": "two"},)})])
            assert run.load().error == ""
        ((*_, one, two),) = place.rows("SELECT * FROM items")
        assert (one, two) == ("one", "two")

    def test_columns_that_differ_only_in_case_are_kept_apart(self, place, start):
        odd = table(
            "items", *_columns(("id", pa.int64()), ("Name", pa.string()), ("name", pa.string()))
        )
        for day in (0, 1):
            run = start(day, odd, write_mode="overwrite")
            run.round([shard({"a": ({"id": 1, "Name": "one", "name": "two"},)})])
            assert run.load().error == ""
        ((*_, one, two),) = place.rows("SELECT * FROM items")
        assert (one, two) == ("one", "two")

    def test_options_are_validated_without_the_engine(self, place):
        with pytest.raises(InputError, match="connection_string"):
            registry.open_warehouse(place.path.rsplit("/", 1)[-1], {})

    # Helpers

    @pytest.fixture(params=["append", "overwrite", "overwrite-delete-stale"])
    def mode(self, request) -> str:
        return str(request.param)

    def _two_runs(self, start, mode: str, first: tuple, second: tuple) -> None:
        for day, cells in enumerate((first, second)):
            run = start(day, write_mode=mode)
            run.round([shard({"a": cells})])
            run.load()

    def _retyped(
        self, start, old: pa.DataType, new: pa.DataType, one: Any, two: Any, **kwargs: Any
    ) -> Any:
        """Column v of row 1 in the old type, then of row 2 in the new one; the second receipt."""
        run = start(
            0, table("items", *_columns(("id", pa.int64()), ("v", old))), write_mode="overwrite"
        )
        run.round([shard({"a": ({"id": 1, "v": one},)})])
        run.load()
        run = start(
            1,
            table("items", *_columns(("id", pa.int64()), ("v", new))),
            write_mode="overwrite",
            **kwargs,
        )
        run.round([shard({"a": ({"id": 2, "v": two},)})])
        return run.load()

    def _typed(self, start, format_: str, type_: pa.DataType, values: list[Any]) -> StageRun:
        run = start(0, table("items", *_columns(("id", pa.int64()), ("c", type_))), format_=format_)
        cells = [{"id": n, "c": _array(v, type_)} for n, v in enumerate(values)]
        run.round([shard({"a": tuple(cells)})])
        return run


def _array(value: Any, type_: pa.DataType) -> pa.Array:
    """One value as an array of any type, views and extensions included."""
    if pa.types.is_dictionary(type_):
        return pa.array([value], type_.value_type).dictionary_encode().cast(type_)
    storage = types.storage_of(type_)
    array = pa.array([value], storage)
    return array if storage == type_ else pa.ExtensionArray.from_storage(type_, array)


def _columns(*columns: tuple[str, pa.DataType]) -> list[Column]:
    """The first is the key."""
    return [Column(n, t, nullable=i > 0, primary_key=i == 0) for i, (n, t) in enumerate(columns)]


def _plain(found: Any, expected: Any) -> Any:
    """Drivers differ in how they give JSON, bytes and long decimals to Python."""
    if isinstance(found, str) and isinstance(expected, dict):
        return json.loads(found)
    if isinstance(found, str) and isinstance(expected, Decimal):
        return Decimal(found)
    if isinstance(found, memoryview):
        return bytes(found)
    if isinstance(found, Decimal) and isinstance(expected, int):
        return int(found)
    return found


def _receipt_key(run: StageRun) -> str:
    return f"runs/{run.run}/loads/w/{run.source}/{run.top.name}/1.json"


def _edit_commit(run: StageRun, change: Callable[[Any], Mapping[str, Any]], cell_rows: int) -> None:
    """Rewrite the only commit of a run, as a mistaken worker might have written it."""
    commit = run.stage.commit(run.run, "01-0000000")
    parts = tuple(p.model_copy(update=dict(change(p))) for p in commit.parts)
    cells = tuple(c.model_copy(update={"rows": cell_rows}) for c in commit.cells)
    wrong = commit.model_copy(update={"parts": parts, "cells": cells})
    run.stage.store.put(f"runs/{run.run}/commits/01-0000000.json", wrong.to_bytes())


def _fresh(run: StageRun) -> StageRun:
    """The same run, loaded over a connection of its own."""
    again = copy(run)
    again.warehouses = None
    return again


def _hooked(hook: Callable[[Any], None]) -> Warehouses:
    """Warehouses of which the first calls `hook` just before it publishes."""
    hooks = [hook]

    def open_(found: OpenDestination) -> Any:
        warehouse = cache.open_destination(found)
        publish = warehouse.publish

        def hooked(publication: Any) -> Any:
            if hooks:
                hooks.pop()(warehouse)
            return publish(publication)

        warehouse.publish = hooked
        return warehouse

    return Warehouses(open_)


@contextmanager
def _spying(run: StageRun, place: Place, seen: list[Any], query: str) -> Iterator[None]:
    """After every statement of the publish, what a reader beside it sees."""

    def watch(warehouse: Any) -> None:
        execute = warehouse.execute

        def spied(text: str, parameters: Any = ()) -> int:
            touched = execute(text, parameters)
            with place.beside(warehouse) as read:
                seen.extend(read(query))
            return int(touched)

        publish = warehouse.transaction

        @contextmanager
        def transaction() -> Iterator[None]:
            with publish():
                warehouse.execute = spied
                try:
                    yield
                finally:
                    warehouse.execute = execute

        warehouse.transaction = transaction

    with closing(_hooked(watch)) as run.warehouses:
        yield
    run.warehouses = None
    assert seen
