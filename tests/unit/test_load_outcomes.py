"""Rounds, slices and checkpoints: what counts as ok, which rows are taken, which cursors are set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from contracts.commit import Cell, Commit, Part, Tombstone, Value
from contracts.errors import Permanent, Transient
from contracts.plan import Plan
from contracts.spec import PluginSettings
from contracts.stage import Stage
from contracts.table import Column
from loader import outcomes
from loader.outcomes import Round, Seen, Survey, not_ok, ok_cells, parts, survey
from loader.publication import Counts
from tests.fakes.stage import NOW, Bad, Content, Good, StageRun, rows, shard, table

HERE = {"connection_string": "w"}


@pytest.fixture
def run(tmp_path: Path) -> StageRun:
    return StageRun(tmp_path, spec=HERE)


def rounds(run: StageRun) -> list[Round]:
    plans: list[Plan] = [run.stage.plan(run.run, n) for n in run.stage.rounds(run.run)]
    return [Round(p, p.table("src", "items")) for p in plans]


def surveyed(run: StageRun, *pending: int) -> Survey:
    return survey(run.stage, rounds(run), pending or (1,))


def taken(run: StageRun, found: Survey) -> list[tuple[int, tuple[str, ...]]]:
    listed = parts(run.stage, rounds(run), found).get("items", [])
    return [(loadable.rows, loadable.part.dropped) for loadable in listed]


def bad(run: StageRun, found: Survey) -> dict[tuple[str, str], Seen]:
    return {seen.key: seen for seen in not_ok(run.stage, rounds(run), found)}


def test_cells_that_are_not_ok_are_counted_and_not_kept_either(run):
    run.round([shard({"a": Bad(rows=rows(1)), "b": rows(2)}), shard({"c": Bad("off", "skipped")})])
    found = surveyed(run)
    assert found.counts == {"items": Counts(ok=1, failed=1, skipped=1)}
    assert found.taken == {}
    assert taken(run, found) == [(1, ("a",))]
    assert [client for _, client in bad(run, found)] == ["a", "c"]


def test_the_rows_of_a_cell_of_which_one_slice_failed_are_dropped_from_the_other(run):
    run.round([
        shard({"a": rows(1), "b": rows(2)}, slice=(0, 2)), shard({"a": Bad(), "b": rows(3)}, slice=(1, 2)),
    ])  # fmt: skip
    found = surveyed(run)
    assert found.taken == {("items", "a"): 0}
    assert taken(run, found) == [(1, ("a",)), (1, ())]


def test_ok_cells_are_counted_and_not_kept(run):
    run.round([shard({"a": rows(1), "b": rows(2, 3)})])
    found = surveyed(run)
    assert found.counts == {"items": Counts(ok=2)}
    assert (bad(run, found), found.taken, found.expected) == ({}, {}, {"items": 3})
    assert taken(run, found) == [(3, ())]


def test_a_failed_cell_is_dropped_from_its_part(run):
    run.round([shard({"a": rows(1), "b": Bad(rows=rows(2))})])
    found = surveyed(run)
    assert found.counts == {"items": Counts(ok=1, failed=1)}
    assert taken(run, found) == [(1, ("b",))]


def test_a_part_without_any_row_to_load_is_left_out(run):
    run.round([shard({"b": Bad(rows=rows(2))})])
    assert taken(run, surveyed(run)) == []


def test_a_failed_cell_that_the_manifest_did_not_drop_is_dropped_here(run):
    """A manifest that contradicts itself must not bring rows of a failed cell into the warehouse."""
    run.round([shard({"a": rows(1), "b": Bad(kept=rows(2))})])
    commit = run.stage.commit("run-1", "01-0000000")
    cells = tuple(c.model_copy(update={"rows": 0 if c.client == "b" else 1}) for c in commit.cells)
    wrong = commit.model_copy(update={"cells": cells})
    run.stage.store.put("runs/run-1/commits/01-0000000.json", wrong.to_bytes())
    found = surveyed(run)
    assert (found.expected, taken(run, found)) == ({"items": 1}, [(1, ("b",))])


def test_a_cell_is_ok_when_all_its_slices_are(run):
    run.round([
        shard({"a": Good(rows(1), {"k": "1"})}, slice=(0, 2)), shard({"a": rows(2)}, slice=(1, 2)),
        shard({"b": Good(rows(3), {"k": "3"})}, slice=(0, 2)), shard({"b": Bad("throttled")}, slice=(1, 2)),
    ])  # fmt: skip
    found = surveyed(run)
    assert found.counts == {"items": Counts(ok=1, failed=1)}
    assert (found.expected, found.cursors) == ({"items": 2}, {"k": "1"})
    assert taken(run, found) == [(1, ()), (1, ())]


def test_failed_weighs_more_than_skipped_among_slices(run):
    run.round([
        shard({"a": Bad("denied")}, slice=(0, 2)), shard({"a": Bad("off", "skipped")}, slice=(1, 2)),
    ])  # fmt: skip
    assert bad(run, surveyed(run))["items", "a"].outcome == "failed"


def test_a_cell_that_any_round_ended_ok_is_ok(run):
    run.round([shard({"a": rows(1), "b": Bad("denied")})])
    run.round([shard({"a": Bad("throttled"), "b": rows(2)})], number=2)
    found = surveyed(run, 1, 2)
    assert found.counts == {"items": Counts(ok=2)}
    assert taken(run, found) == [(1, ()), (1, ())]


def test_the_last_outcome_of_a_cell_that_never_was_ok_is_the_one_that_counts(run):
    run.round([shard({"a": Bad("denied")})])
    run.round([shard({"a": Bad("off", "skipped")})], number=2)
    found = surveyed(run, 2)
    assert found.counts == {"items": Counts(skipped=1)}
    last = bad(run, found)["items", "a"]
    assert (last.round, last.reason) == (2, "off")


def test_rows_of_a_cell_come_from_its_last_ok_round_only(run):
    run.round([shard({"a": rows(1), "b": rows(5)})])
    run.round([shard({"a": rows(2, 3)})], number=2)
    found = surveyed(run, 1, 2)
    assert found.expected == {"items": 3}
    assert taken(run, found) == [(1, ("a",)), (2, ())]


def test_a_cell_that_was_ok_in_a_loaded_round_gives_nothing_more(run):
    run.round([shard({"a": rows(1)})])
    run.round([shard({"a": Good(rows(2), {"k": "2"}), "b": rows(3)})], number=2)
    found = surveyed(run, 2)
    assert (found.expected, found.cursors) == ({"items": 1}, {})
    assert taken(run, found) == [(1, ("a",))]


def test_cells_of_a_loaded_round_take_no_memory(run):
    run.round([shard({"a": rows(1), "b": Bad("denied")})])
    run.round([], number=2)
    assert surveyed(run, 2).taken == {}


def test_a_cell_with_two_checkpoints_gives_the_later_rows(run):
    run.round([shard({"a": Bad(kept=rows(1), cursor={"k": "1"})})])
    run.round([shard({"a": Bad(kept=rows(1, 2), cursor={"k": "2"})})], number=2)
    found = surveyed(run, 1, 2)
    assert (found.expected, found.cursors) == ({"items": 2}, {"k": "2"})
    assert taken(run, found) == [(2, ())]


def test_a_checkpoint_is_kept_when_the_next_round_brought_nothing(run):
    run.round([shard({"a": Bad(kept=rows(1), cursor={"k": "1"})})])
    run.round([shard({"a": Bad("denied")})], number=2)
    assert surveyed(run, 1, 2).cursors == {"k": "1"}


def test_a_cursor_of_a_cell_without_rows_is_set(run):
    run.round([shard({"a": Good((), {"k": "9"})})])
    assert surveyed(run).cursors == {"k": "9"}


def test_a_verdict_ends_every_planned_cell_of_every_selected_table(tmp_path):
    run = StageRun(tmp_path, table(), table("children", parent="items"), spec=HERE)
    run.round([Content({"": {}}, ("a", "b"), verdict="cancelled")])
    found = surveyed(run)
    assert found.counts == {"items": Counts(failed=2), "children": Counts(failed=2)}
    assert {s.reason for s in bad(run, found).values()} == {"cancelled"}


def test_a_cell_that_no_commit_mentions_has_failed(run):
    run.round([shard({"a": rows(1)}, forget=True), shard({"b": rows(2)})])
    found = surveyed(run)
    assert bad(run, found)["items", "a"].outcome == "failed"
    assert taken(run, found) == [(1, ())]


def test_a_shard_without_a_commit_means_come_again(run):
    run.round([shard({"a": rows(1)}, missing=True)])
    with pytest.raises(Transient, match="01-0000000"):
        surveyed(run)


def test_the_cells_that_are_loaded_now_are_the_scope_of_a_narrow_run(run):
    run.round([shard({"a": rows(1), "b": Bad("denied")})])
    run.round([shard({"a": rows(1), "b": rows(2)})], number=2)
    found = surveyed(run, 2)
    assert [s.client for s in ok_cells(run.stage, rounds(run), found)] == ["b"]


def test_commits_of_a_remote_stage_are_read_ahead_in_order(run, monkeypatch):
    run.round([shard({f"c{n}": rows(n)}) for n in range(40)])
    monkeypatch.setattr(run.stage.store, "local_path", lambda key: None)
    found = rounds(run)[0]
    assert [s.id for s, _ in outcomes.commits(run.stage, found)] == [
        f"01-{n:07d}" for n in range(40)
    ]


def test_a_form_that_many_parts_have_is_kept_once(run):
    grown = replace(run.top, columns=(*run.top.columns, Column("x", pa.int8())))
    run.round([shard({c: rows(1)}, missing=True) for c in "abc"])
    for n, client in enumerate("abc"):
        key = f"runs/x/{n}.parquet"
        part = Part(key=key, table="items", rows=1, bytes=1, checksum="", cells={client: 1}, form=1)
        run.stage.create_commit(Commit(
            run=run.run, shard=f"01-000000{n}", attempt="a", started=NOW, ended=NOW, parts=(part,),
            cells=(Cell(table="items", client=client, outcome="ok", rows=1),), tables=(grown,),
        ))  # fmt: skip
    found = parts(run.stage, rounds(run), surveyed(run))["items"]
    assert [p.form for p in found] == [grown] * 3
    assert len({id(p.form) for p in found}) == 1


def test_of_a_shared_shard_a_table_has_its_own_cells_and_parts_alone(tmp_path):
    """`tags` is a top-level table of its own here, in the commits of `items`."""
    spec = {"connection_string": str(tmp_path / "w.duckdb")}
    run = StageRun(tmp_path, table(), table("tags"), spec=spec)
    run.round([
        shard({"a": Good(rows(1, 2), {"items": "2"}), "b": rows(3)}, children={"tags": {"a": Bad(rows=rows(7)), "b": Good(rows(8), {"tags": "8"})}}),
        shard({"c": ()}, verdict="lost"),
    ])  # fmt: skip
    plan = run.stage.plan(run.run, 1)
    both = plan.tables[0]
    alone = {
        t.name: both.model_copy(
            update={"name": t.name, "tree": (t,), "selected": (t.name,), "cells": 3}
        )
        for t in both.tree
    }
    shards = [replace(s, tables=2) for s in run.stage.shards(run.run, 1, 0, 2)]
    run.stage.write_plan(plan.model_copy(update={"tables": tuple(alone.values())}), shards)
    run.stage = Stage(run.stage.store)
    plan = run.stage.plan(run.run, 1)
    found = {t.name: survey(run.stage, [Round(plan, t)], (1,)) for t in plan.tables}
    assert found["items"].counts == {"items": Counts(ok=2, failed=1)}
    assert (found["items"].expected, found["items"].cursors) == ({"items": 3}, {"items": "2"})
    assert found["tags"].counts == {"tags": Counts(ok=1, failed=2)}
    assert (found["tags"].expected, found["tags"].cursors) == ({"tags": 1}, {"tags": "8"})
    for t in plan.tables:
        listed = parts(run.stage, [Round(plan, t)], found[t.name])
        assert list(listed) == [t.name]
    receipts = {t.name: run.load_of(t.name) for t in plan.tables}
    assert {n: (r.cells_ok, r.cells_failed, r.published) for n, r in receipts.items()} == {
        "items": (2, 1, 3),
        "tags": (1, 2, 1),
    }


def of_plugin(found: list[Round]) -> list[Round]:
    """The same rounds, of a source that is a program and asked for shards of its own."""

    def told(plan: Plan) -> Plan:
        source = plan.sources[0].model_copy(update={"plugin": PluginSettings(shards=2)})
        return plan.model_copy(update={"sources": (source,)})

    return [replace(r, plan=told(r.plan)) for r in found]


def test_slices_that_all_bring_the_same_are_told_from_a_plugin_that_keeps_to_them(run):
    run.round([shard({"a": rows(1, 2)}, slice=(0, 2)), shard({"a": rows(1, 2)}, slice=(1, 2))])
    assert surveyed(run).expected == {"items": 4}  # a range of keys may be as large as another
    with pytest.raises(
        Permanent, match=r"each of the 2 parts of client 'a' has the same number of rows \(2\)"
    ):
        survey(run.stage, of_plugin(rounds(run)), (1,))


def test_slices_of_a_plugin_that_differ_are_taken(run):
    run.round([shard({"a": rows(1, 2)}, slice=(0, 2)), shard({"a": rows(3)}, slice=(1, 2))])
    assert survey(run.stage, of_plugin(rounds(run)), (1,)).expected == {"items": 3}


@pytest.mark.parametrize("second", ["ok", "failed"])
def test_slices_take_rows_back_together_or_not_at_all(run, second):
    run.round([
        shard({"a": ()}, slice=(0, 2), missing=True), shard({"a": ()}, slice=(1, 2), missing=True),
    ])  # fmt: skip
    for n, outcome in enumerate(("ok", second)):
        gone = Tombstone(where={"id": Value(type="int64", text=str(n))}, before={"items": 0})
        cell = Cell(table="items", client="a", outcome=outcome, deletes=(gone,))
        run.stage.create_commit(Commit(
            run=run.run, shard=f"01-000000{n}", attempt="a", started=NOW, ended=NOW, cells=(cell,),
        ))  # fmt: skip
    found = [t.where["id"].text for _, deletes in surveyed(run).deletes for t in deletes]
    assert found == (["0", "1"] if second == "ok" else [])
