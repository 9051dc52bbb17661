"""What the submitter promises: the summary counts everything once, retries work, a run at work is not removed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contracts import layout
from contracts.commit import Attempt
from contracts.errors import LeaseHeld, Unreachable
from contracts.plan import Plan, PlannedSource, PlannedTable, Shard
from contracts.queue import Message
from contracts.stage import Stage
from contracts.store import open_store
from contracts.store.local import LocalStore
from contracts.table import Table
from sharder import gc, holding, lease, planning
from sharder.drive import Drive, cancel
from sharder.flight import EMBEDDED
from sharder.place import Place
from sharder.pool import Pool
from sharder.summary import Tally
from sharder.wishes import Wishes

HANDLERS = {"worker": "tests.fakes.little_fleet:work", "loader": "tests.fakes.little_fleet:load"}
NOW = datetime.now(UTC)


class Notes:
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def progress(self, plan: Plan, tally: Tally) -> None: ...


class Flaky(LocalStore):
    """Does not answer the first few times that a key with this text in it is read."""

    def __init__(self, root: Path, text: str, failures: int = 1) -> None:
        super().__init__(root)
        self._text, self._failures = text, failures

    def get(self, key: str) -> bytes:
        if self._text in key and self._failures:
            self._failures -= 1
            raise Unreachable("the store does not answer")
        return super().get(key)


def planned(stage: Stage, *tables: str, shards: int = 3, run: str = "r") -> Plan:
    """A plan with so many shards of one client each per table, into one destination."""
    found = tuple(
        PlannedTable(
            source="s", name=name, tree=(Table(name, ()),), selected=(name,), first=n * shards,
            shards=shards, cells=shards, clients=((0, shards),), authoritative=True,
        )
        for n, name in enumerate(tables)
    )  # fmt: skip
    plan = Plan(
        run=run, round=1, created=NOW, sync_time=NOW, tables=found, destinations=(
            {"name": "d", "path": "p", "spec": 1},
        ), sources=(PlannedSource(name="s", path="p", spec=0, destinations=("d",), clients=shards),),
        shards=shards * len(tables), cells=shards * len(tables),
    )  # fmt: skip
    stage.write_clients(run, "s", (f"client {n}" for n in range(shards)))
    stage.write_plan(
        plan,
        (
            Shard(layout.shard_id(1, t.first + n), "s", t.name, ((n, n + 1),))
            for t in found
            for n in range(shards)
        ),
    )
    return plan


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "stage"


@pytest.fixture
def stage(root: Path) -> Stage:
    return Stage(open_store(str(root)))


@pytest.fixture
def pool(stage: Stage) -> Iterator[Pool]:
    pool = Pool(2, {**os.environ, "SHARDER_STAGE": stage.store.url}, handlers=HANDLERS)
    yield pool
    pool.close()


def watched(stage: Stage, pool: Pool, plan: Plan, notes: Notes | None = None):
    return Drive(
        stage, pool, plan, EMBEDDED, notes or Notes(), pause=lambda s: pool.wait(min(s, 0.01))
    ).run()


@pytest.mark.parametrize("what", ["history/", "commits/", "loads/", "clients/"])
def test_a_store_that_is_away_for_a_moment_changes_nothing_in_the_summary(root, stage, pool, what):
    plan = planned(stage, "a", "denied")
    pool.put([Message("shard", "r", shard=layout.shard_id(1, n)) for n in range(plan.shards)])
    while sum(1 for _ in stage.committed_shards("r")) < plan.shards:
        pool.wait(0.01)
    summary = watched(Stage(Flaky(root, what)), pool, plan)
    assert (summary.cells.ok, summary.cells.failed, summary.rows) == (3, 3, 30)
    assert summary.exit_code == 3
    assert len(summary.destinations) == 2


def test_a_history_that_cannot_be_read_does_not_keep_a_round_from_closing(stage, pool):
    plan = planned(stage, "a")
    stage.store.put(layout.history("s", "a"), b'{"version": 99}')
    notes = Notes()
    assert watched(stage, pool, plan, notes).exit_code == 0
    assert any("history" in text for text in notes.said)
    assert stage.store.get(layout.history("s", "a")) == b'{"version": 99}'


def test_a_cancelled_run_can_be_tried_again(stage, pool):
    plan = planned(stage, "a")
    cancel(stage, "r", "cancelled by a person")
    assert watched(stage, pool, plan).exit_code == 4
    here = Place(stage, pool, EMBEDDED, pool.wait, "embedded")
    again = planning.again(here, "r", Wishes(), Notes())
    assert again
    summary = watched(stage, pool, again)
    assert (summary.exit_code, summary.cells.ok, summary.cancelled) == (0, 3, "")


def test_a_closed_run_that_is_being_retried_is_not_removed(stage, pool):
    watched(stage, pool, planned(stage, "a"))
    leases = holding.Leases(stage.store, "r", [("s", "d")])
    leases.take()
    later = datetime.now(UTC) + timedelta(seconds=60)
    assert gc.collect(stage, later, keep_s=0) == []
    leases.release()
    assert gc.collect(stage, later, keep_s=0) == ["r"]


def test_a_shard_that_is_given_up_says_what_its_last_attempt_died_of(stage, pool):
    plan = planned(stage, "always", shards=1)
    job = layout.shard_id(1, 0)
    died = Attempt(run="r", job=job, attempt="first", started=NOW)
    stage.start_attempt(died)
    stage.give_up(died, Unreachable("the bucket does not answer"))
    (problem,) = watched(stage, pool, plan).problems
    assert problem.message.endswith("the last one said: the bucket does not answer")


def test_one_run_id_is_not_planned_by_two_submitters_at_once(stage):
    """Their plans would differ, and shards of one would be read by the other's; watching is for many."""
    other = lease.Lease(
        run="nightly", source="s", destination="d", host="another", pid=7,
        renewed=datetime.now(UTC),
    )  # fmt: skip
    stage.store.put(layout.lease("s", "d"), other.to_bytes())
    with pytest.raises(LeaseHeld, match="process 7 on another"):
        holding.Leases(stage.store, "nightly", [("s", "d")]).take(alone=True)
    watcher = holding.Leases(stage.store, "nightly", [("s", "d")])
    watcher.take()
    watcher.release()
