"""The stage joins keys to documents: plans in chunks, clients by ranges, commits that one attempt wins."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from contracts import layout
from contracts.commit import Attempt, Commit
from contracts.errors import InputError, LeaseHeld, NotFound, Permanent
from contracts.plan import Plan, Shard
from contracts.stage import Stage
from contracts.store import open_store

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUN = "r1"


@pytest.fixture
def stage(tmp_path):
    return Stage(open_store(str(tmp_path)))


def plan(shards):
    return Plan(
        run=RUN,
        round=1,
        created=NOW,
        sync_time=NOW,
        sources=(),
        destinations=(),
        tables=(),
        shards=shards,
        cells=0,
    )


def shards(n):
    return [Shard(layout.shard_id(1, i), "s", "t", ((i, i + 1),)) for i in range(n)]


def test_of_two_who_plan_a_round_at_once_one_does_and_the_other_is_told(stage):
    ours = plan(1)
    stage.write_plan(ours, shards(1), once=True)
    stage.write_plan(ours, shards(1), once=True)  # a lost reply: it is our own
    with pytest.raises(LeaseHeld, match="planned by somebody else") as told:
        stage.write_plan(ours.model_copy(update={"deadline_s": 1.0}), shards(1), once=True)
    assert told.value.hint == "watch it with: sharder resume r1"
    assert stage.plan(RUN, 1) == ours


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2500])
def test_every_shard_of_a_plan_is_found_by_its_id(stage, count):
    stage.write_plan(plan(count), iter(shards(count)))
    assert list(stage.shards(RUN, 1, 0, count)) == shards(count)
    assert stage.plan(RUN, 1) == plan(count)
    assert stage.rounds(RUN) == [1]


def test_a_shard_that_the_plan_does_not_have_is_refused(stage):
    stage.write_plan(plan(3), shards(3))
    with pytest.raises(Permanent, match="no shard 01-0000003"):
        stage.shard(RUN, "01-0000003")
    with pytest.raises(InputError, match="not a shard id"):
        stage.shard(RUN, "../../etc")


def test_a_plan_without_its_index_is_no_plan(stage):
    stage.store.put(layout.plan_chunk(RUN, 1, 0), b"")
    assert stage.rounds(RUN) == []
    with pytest.raises(NotFound):
        stage.plan(RUN, 1)


def test_clients_are_read_by_ranges(stage):
    ids = [f"client {i} ü\n" for i in range(25_000)]
    assert stage.write_clients(RUN, "s", iter(ids)) == 25_000
    wanted = [(0, 2), (5, 6), (20_000, 20_003)]
    assert list(stage.clients(RUN, "s", wanted)) == [c for a, b in wanted for c in ids[a:b]]


def commit(shard, attempt):
    return Commit(run=RUN, shard=shard, attempt=attempt, started=NOW, ended=NOW)


def test_the_first_commit_of_a_shard_wins(stage):
    assert stage.create_commit(commit("01-0000000", "a"))
    assert not stage.create_commit(commit("01-0000000", "b"))
    assert stage.commit(RUN, "01-0000000").attempt == "a"
    assert stage.committed(RUN, "01-0000000")
    assert not stage.committed(RUN, "01-0000001")


def test_an_attempt_whose_reply_was_lost_learns_that_it_won(stage):
    stage.create_commit(commit("01-0000000", "a"))
    assert stage.create_commit(replace_ended(commit("01-0000000", "a")))


def replace_ended(document):
    return document.model_copy(update={"ended": NOW.replace(year=2027)})


def test_committed_shards_are_listed_by_range(stage):
    for n in (0, 3, 4, 9):
        stage.create_commit(commit(layout.shard_id(1, n), "a"))
    assert list(stage.committed_shards(RUN)) == [layout.shard_id(1, n) for n in (0, 3, 4, 9)]
    found = stage.committed_shards(RUN, layout.shard_id(1, 3), layout.shard_id(1, 8))
    assert list(found) == [layout.shard_id(1, 3), layout.shard_id(1, 4)]


def test_runs_are_listed_once_each(stage):
    for run in ("r1", "r2", "r10"):
        for n in range(3):
            stage.store.put(layout.spec(run, n), b"")
    assert stage.runs() == ["r1", "r10", "r2"]


def test_attempts_of_a_job_are_counted(stage):
    for attempt in ("a", "b"):
        stage.start_attempt(Attempt(run=RUN, job="load pg aws t 1", attempt=attempt, started=NOW))
    assert stage.attempts(RUN, "load pg aws t 1") == 2
    assert stage.attempts(RUN, "load pg aws t 2") == 0


def test_documents_that_are_not_there_are_none(stage):
    assert stage.cursors(RUN, "d") is None
    assert stage.receipt(RUN, "d", "s", "t", 1) is None
    assert stage.history("s", "t") is None
    assert stage.summary(RUN, 1) is None
    assert not stage.cancelled(RUN)


def test_shards_are_values():
    assert replace(shards(1)[0], cost_s=1.0) != shards(1)[0]
