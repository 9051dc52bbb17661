"""One attempt at one shard: outcomes of cells, cursors, races, cancelling, limits, secrets."""

from __future__ import annotations

import logging
from datetime import timedelta

import pyarrow as pa
import pytest

from contracts import layout
from contracts.commit import Commit
from contracts.errors import Denied, Permanent, Unreachable
from contracts.queue import Message
from contracts.stagefile import read_part
from tests.fakes.runs import RUN, SYNC_TIME, Steady, local_stage, write_run
from tests.fakes.scripted import CHILD, KEYLESS, LOG, PARENT, Handing, Scripted, rows
from worker.extract import extract
from worker.extraction import Stopped
from worker.opened import OpenedSources
from worker.sources.base import CellDone, Checkpoint, Rows


@pytest.fixture
def stage(tmp_path):
    return local_stage(tmp_path)


def attempt(stage, source: Scripted, tables=(PARENT,), clients=("a", "b"), **more) -> Commit | None:
    plan = {
        k: more.pop(k)
        for k in ("selected", "cursors", "full_refresh", "timeout_s", "format_")
        if k in more
    }
    (message,) = write_run(stage, tables, clients, path="cloudquery/scripted", spec={}, **plan)
    options = {
        "stage": stage, "heart": Steady(), "environment": {}, "now": lambda: SYNC_TIME,
        "sleep": lambda _s: None, "worker": "w1", "opened": Handing(source),
    }  # fmt: skip
    return extract(message, **(options | more))


def ends(commit: Commit) -> dict[tuple[str, str], tuple[str, str | None, int]]:
    return {(c.table, c.client): (c.outcome, c.reason, c.rows) for c in commit.cells}


def keys(stage, commit: Commit) -> dict[tuple[str, str], list[int]]:
    """What a loader would load."""
    plan = stage.plan(RUN, 1)
    found: dict[tuple[str, str], list[int]] = {}
    for part in commit.parts:
        table = plan.tables[0].table(part.table)
        for batch in read_part(stage.store, part, table, plan.format):
            for row in batch.to_pylist():
                found.setdefault((part.table, row["_cq_client_id"]), []).append(row.get("k"))
    return found


def two_clients(work, cursors):
    yield rows(PARENT, "a", [1, 2])
    yield CellDone("p", "a")
    yield rows(PARENT, "b", [3])
    yield CellDone("p", "b")


@pytest.mark.parametrize("format_", ["parquet", "csv"])
def test_rows_of_every_client_are_committed_once(stage, format_):
    commit = attempt(stage, Scripted(two_clients), format_=format_)
    assert ends(commit) == {("p", "a"): ("ok", None, 2), ("p", "b"): ("ok", None, 1)}
    assert keys(stage, commit) == {("p", "a"): [1, 2], ("p", "b"): [3]}
    assert stage.commit(RUN, commit.shard) == commit
    assert (commit.worker, commit.started, commit.rows) == ("w1", SYNC_TIME, 3)
    assert stage.attempts(RUN, commit.shard) == 1


def test_a_committed_shard_is_not_worked_on_again(stage):
    first = attempt(stage, Scripted(two_clients))
    assert attempt(stage, Scripted(two_clients)) is None
    assert stage.attempts(RUN, first.shard) == 1


def test_a_shard_that_another_attempt_works_on_is_left_alone(stage):
    assert attempt(stage, Scripted(two_clients), heart=Steady(is_fresh=True)) is None
    assert list(stage.store.list(layout.attempts(RUN, "01-0000000"))) == []


def test_a_plan_of_a_newer_version_is_left_untouched(stage, caplog):
    source = Scripted(two_clients)
    (message,) = write_run(stage, (PARENT,), ("a",), path="x", spec={})
    key = layout.plan_index(RUN, 1)
    stage.store.put(key, stage.store.get(key).replace(b'"version": 1', b'"version": 99'))
    before = [e.key for e in stage.store.list("")]
    with caplog.at_level(logging.INFO):
        assert (
            extract(message, stage=stage, heart=Steady(), environment={}, opened=Handing(source))
            is None
        )
    assert "event=plan_too_new" in caplog.text
    assert [e.key for e in stage.store.list("")] == before


def test_a_run_that_is_gone_is_no_error(stage, caplog):
    message = Message("shard", "gone", shard="01-0000000")
    assert extract(message, stage=stage, heart=Steady(), environment={}) is None


def test_the_loser_of_a_race_removes_its_own_parts_only(stage):
    def overtaken(work, cursors):
        yield from two_clients(work, cursors)
        attempt(stage, Scripted(two_clients))

    assert attempt(stage, Scripted(overtaken)) is None
    winner = stage.commit(RUN, "01-0000000")
    assert keys(stage, winner) == {("p", "a"): [1, 2], ("p", "b"): [3]}
    assert len(list(stage.store.list(f"runs/{RUN}/data/"))) == len(winner.parts) == 1


def test_an_exception_fails_what_is_left_and_keeps_what_is_done(stage):
    def dies(work, cursors):
        yield rows(PARENT, "a", [1])
        yield CellDone("p", "a")
        yield rows(PARENT, "b", [2])
        raise Denied("no access to b")

    source = Scripted(dies)
    commit = attempt(stage, source)
    assert ends(commit) == {("p", "a"): ("ok", None, 1), ("p", "b"): ("failed", "denied", 0)}
    assert keys(stage, commit) == {("p", "a"): [1]}
    assert commit.cells[1].message == "no access to b"
    assert source.closed


def test_a_bug_in_a_source_fails_its_cells_and_is_named(stage):
    def dies(work, cursors):
        yield from ()
        raise ZeroDivisionError("oops")

    commit = attempt(stage, Scripted(dies))
    assert commit.cells[0].message == "ZeroDivisionError: oops"
    assert commit.parts == ()


def test_a_cell_without_its_end_has_failed(stage):
    def silent(work, cursors):
        yield rows(PARENT, "a", [1])
        yield CellDone("p", "b")

    commit = attempt(stage, Scripted(silent))
    assert ends(commit) == {("p", "a"): ("failed", "failed", 0), ("p", "b"): ("ok", None, 0)}
    assert keys(stage, commit) == {}


def test_a_batch_that_disagrees_with_the_plan_fails_its_cell_only(stage):
    def wrong(work, cursors):
        yield rows(PARENT, "a", [1])
        yield Rows("p", "a", pa.record_batch({"k": pa.array(["text"])}))
        yield rows(PARENT, "a", [2])
        yield CellDone("p", "a")
        yield rows(PARENT, "b", [3])
        yield CellDone("p", "b")

    commit = attempt(stage, Scripted(wrong))
    assert ends(commit) == {("p", "a"): ("failed", "schema", 0), ("p", "b"): ("ok", None, 1)}
    assert "the column 'k' came as string" in commit.cells[0].message


def test_tables_that_are_not_selected_leave_no_rows(stage):
    def walks(work, cursors):
        assert work.selected == {"c"}
        yield rows(PARENT, "a", [1])
        yield rows(CHILD, "a", [2])
        yield CellDone("c", "a")

    commit = attempt(stage, Scripted(walks), (PARENT, CHILD), ("a",), selected=["c"])
    assert keys(stage, commit) == {("c", "a"): [2]}


def test_with_random_ids_a_failed_child_takes_its_parents_rows_with_it(stage):
    def half(work, cursors):
        yield Rows("p", "a", pa.record_batch({"v": ["x"]}))
        yield CellDone("p", "a")
        yield CellDone("c", "a", "failed", "throttled")
        yield Rows("p", "b", pa.record_batch({"v": ["y"]}))
        yield CellDone("p", "b")
        yield CellDone("c", "b")

    commit = attempt(stage, Scripted(half), (KEYLESS, CHILD))
    assert ends(commit)["p", "a"] == ("failed", "parent", 0)
    assert list(keys(stage, commit)) == [("p", "b")]


def test_a_failed_incremental_cell_keeps_rows_and_cursor_of_its_checkpoint(stage):
    def interrupted(work, cursors):
        yield rows(LOG, "a", [1, 2])
        yield Checkpoint("log", "a", {"log": "2"})
        yield rows(LOG, "a", [3])
        raise Unreachable("gone")

    commit = attempt(stage, Scripted(interrupted), (LOG,), ("a",))
    assert ends(commit) == {("log", "a"): ("failed", "failed", 2)}
    assert commit.cells[0].cursor == {"log": "2"}
    assert keys(stage, commit) == {("log", "a"): [1, 2]}


def test_a_source_gets_its_cursors_from_the_destination_that_holds_them(stage):
    source = Scripted(lambda work, cursors: [CellDone("log", "a")])
    attempt(stage, source, (LOG,), ("a",), cursors={"log": "7"})
    assert source.seen == [{"log": "7"}]


def test_a_full_refresh_ignores_the_cursors(stage):
    source = Scripted(lambda work, cursors: [CellDone("log", "a")])
    attempt(stage, source, (LOG,), ("a",), cursors={"log": "7"}, full_refresh=True)
    assert source.seen == [{}]


def test_a_cancelled_attempt_ends_without_a_commit_and_without_parts(stage):
    stage.store.put(layout.cancel(RUN), b"{}")
    handing = Handing(Scripted(lambda work, cursors: []))

    def endless(work, cursors):
        yield rows(PARENT, "a", range(1000))
        while not handing.opened.cancelled():
            yield rows(PARENT, "a", [1])

    handing.opened.source = Scripted(endless)
    assert attempt(stage, handing.opened.source, opened=handing, beat_s=0.001) is None
    assert not stage.committed(RUN, "01-0000000")
    assert list(stage.store.list(f"runs/{RUN}/data/")) == []


def test_a_shard_that_takes_too_long_fails_what_is_left(stage):
    now = SYNC_TIME

    def slow(work, cursors):
        nonlocal now
        yield rows(PARENT, "a", [1])
        yield CellDone("p", "a")
        now += timedelta(seconds=61)
        yield rows(PARENT, "b", [2])
        raise AssertionError("asked for more after the limit")

    commit = attempt(stage, Scripted(slow), timeout_s=60, now=lambda: now)
    assert ends(commit) == {("p", "a"): ("ok", None, 1), ("p", "b"): ("failed", "timeout", 0)}
    assert commit.cells[1].message == "not done within 60 s"


def test_an_event_for_a_cell_of_another_shard_fails_what_is_left(stage):
    commit = attempt(stage, Scripted(lambda work, cursors: [rows(PARENT, "z", [1])]))
    assert ends(commit)["p", "a"] == ("failed", "failed", 0)
    assert "client 'z'" in commit.cells[0].message


def test_a_full_disk_is_raised_and_nothing_is_committed(stage):
    class Full(type(stage.store)):
        def open_write(self, key):
            if "/data/" in key:
                raise Permanent("no space left")
            return super().open_write(key)

    stage.store.__class__ = Full
    with pytest.raises(Permanent, match="no space left"):
        attempt(stage, Scripted(two_clients))
    assert not stage.committed(RUN, "01-0000000")


def test_a_dry_run_leaves_the_stage_as_it_was(stage):
    source = Scripted(two_clients)
    write_run(stage, (PARENT,), ("a", "b"), path="cloudquery/scripted", spec={})
    before = {e.key for e in stage.store.list("")}
    commit = attempt(stage, source, dry_run=True)
    assert commit.rows == 3
    assert {e.key for e in stage.store.list("")} == before


def test_a_source_that_ended_well_is_kept_for_the_next_shard(stage):
    source = Scripted(two_clients)
    attempt(stage, source)
    assert not source.closed


def failed_open(stage, path: str, spec: dict, environment: dict[str, str]) -> Commit:
    (message,) = write_run(stage, (PARENT,), ("a",), path=path, spec=spec)
    commit = extract(
        message, stage=stage, heart=Steady(), environment=environment, opened=OpenedSources()
    )
    assert commit is not None
    assert commit.cells == ()
    return commit


def test_a_source_that_cannot_be_opened_fails_all_its_cells_by_a_verdict(stage):
    verdict = failed_open(stage, "sharder/hackernewz", {}, {}).verdict
    assert (verdict.outcome, verdict.table) == ("failed", "p")
    assert "did you mean 'hackernews'?" in verdict.message


def test_a_missing_variable_fails_the_cells_and_names_it(stage):
    verdict = failed_open(stage, "cloudquery/hackernews", {"base_url": "${HN_URL}"}, {}).verdict
    assert "HN_URL" in verdict.message


def test_a_value_from_the_environment_is_in_no_message(stage):
    secret = {"HN_TOKEN": "s3cr3t-value"}
    spec = {"base_url": "ftp://${HN_TOKEN}@host"}
    commit = failed_open(stage, "cloudquery/hackernews", spec, secret)
    assert "not an address" in commit.verdict.message
    assert b"s3cr3t" not in commit.to_bytes()


def test_what_a_source_says_is_masked(stage):
    def tells(work, cursors):
        yield CellDone("p", "a", "failed", "failed", "bad token s3cr3t")
        raise Permanent("cannot use s3cr3t")

    masking = Handing(Scripted(tells), masked=lambda text: text.replace("s3cr3t", "***"))
    commit = attempt(stage, Scripted(tells), opened=masking)
    assert [c.message for c in commit.cells] == ["bad token ***", "cannot use ***"]


def test_an_attempt_that_stops_is_no_failure():
    assert not issubclass(Stopped, Permanent)
