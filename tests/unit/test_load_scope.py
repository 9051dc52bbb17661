"""Which older rows may go: every case decided without an engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from loader.outcomes import Round, survey
from loader.scope import stale
from loader.sql import Stale
from tests.fakes.stage import Bad, StageRun, rows, shard, table


def decide(
    run: StageRun, *pending: int, mode="overwrite-delete-stale", name="items"
) -> Stale | None:
    plans = [run.stage.plan(run.run, n) for n in run.stage.rounds(run.run)]
    found = [Round(p, p.table("src", "items")) for p in plans]
    of = next(t for t in run.tree if t.name == name)
    return stale(of, found, survey(run.stage, found, pending or (1,)), mode)


@pytest.fixture
def run(tmp_path: Path) -> StageRun:
    return StageRun(tmp_path, spec={"connection_string": "w"})


def test_an_authoritative_list_with_every_cell_ok_cleans_everything(run):
    run.round([shard({"a": rows(1)})])
    assert decide(run) == Stale(others=True, without_client=True)


def test_a_failed_cell_keeps_rows_without_a_client(run):
    run.round([shard({"a": rows(1), "b": Bad("denied")})])
    assert decide(run) == Stale(others=True, without_client=False)


def test_a_skipped_cell_keeps_rows_without_a_client(run):
    run.round([shard({"a": rows(1), "b": Bad("off", "skipped")})])
    assert decide(run) == Stale(others=True, without_client=False)


def test_without_authority_only_ok_cells_are_in_scope(run):
    run.round([shard({"a": rows(1)})], authoritative=False)
    assert decide(run) == Stale(others=False, without_client=False)


def test_an_empty_authoritative_list_does_not_clean_rows_without_a_client(run):
    run.round([])
    assert decide(run) == Stale(others=True, without_client=False)


def test_a_retry_that_repairs_the_last_cell_cleans_rows_without_a_client(run):
    run.round([shard({"a": rows(1), "b": Bad("denied")})])
    run.round([shard({"b": rows(2)})], number=2, authoritative=False)
    assert decide(run, 2) == Stale(others=False, without_client=True)


def test_a_round_that_is_made_up_for_brings_its_authority(run):
    run.round([shard({"a": rows(1), "b": Bad("denied")})])
    run.round([], number=2, authoritative=False)
    assert decide(run, 1, 2) == Stale(others=True, without_client=False)


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_other_write_modes_delete_nothing(run, mode):
    run.round([shard({"a": rows(1)})])
    assert decide(run, mode=mode) is None


def test_descendants_of_incremental_tables_are_kept_however_deep(tmp_path):
    tree = (
        table(incremental=True),
        table("children", parent="items"),
        table("grandchildren", parent="children"),
    )
    run = StageRun(tmp_path, *tree, spec={"connection_string": "w"})
    run.round([shard({"a": rows(1)})])
    assert [decide(run, name=t.name) for t in tree] == [None, None, None]


def test_a_full_refresh_deletes_nothing(tmp_path):
    run = StageRun(tmp_path, spec={"connection_string": "w"}, full_refresh=True)
    run.round([shard({"a": rows(1)})])
    assert decide(run) is None


def test_where_clients_are_the_sources_own_all_old_rows_go_or_none(tmp_path):
    run = StageRun(tmp_path, table(own_client_ids=True), spec={"connection_string": "w"})
    run.round([shard({"a": rows(1), "b": Bad("denied")})])
    assert decide(run) is None
    run.round([shard({"b": rows(2)})], number=2, authoritative=False)
    assert decide(run, 2) == Stale(others=True, without_client=True, every=True)


def test_where_clients_are_the_sources_own_nothing_goes_without_authority(tmp_path):
    run = StageRun(tmp_path, table(own_client_ids=True), spec={"connection_string": "w"})
    run.round([shard({"a": rows(1)})], authoritative=False)
    assert decide(run) is None
