"""The watcher's rim with a real stage and real processes; only the work itself is left out."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from contracts import layout
from contracts.errors import Unreachable
from contracts.plan import Plan, PlannedDestination, PlannedSource, PlannedTable, Shard
from contracts.queue import Message
from contracts.stage import Stage
from contracts.store import open_store
from contracts.table import Table
from sharder.drive import Drive, cancel
from sharder.flight import EMBEDDED
from sharder.pool import Pool
from sharder.prepare import prepare
from sharder.summary import Tally

HANDLERS = {"worker": "tests.fakes.little_fleet:work", "loader": "tests.fakes.little_fleet:load"}


class Notes:
    """A teller that keeps what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def progress(self, plan: Plan, tally: Tally) -> None:
        assert tally.sources().keys() == {s.name for s in plan.sources}


def planned(stage: Stage, *tables: str, shards: int = 2, run: str = "r", **more: object) -> Plan:
    """Write a plan with so many shards of one client each per table."""
    found = [
        PlannedTable(
            source="s", name=name, tree=(Table(name, ()),), selected=(name,), first=n * shards,
            shards=shards, cells=shards, clients=((0, shards),), authoritative=True,
        )
        for n, name in enumerate(tables)
    ]  # fmt: skip
    plan = Plan(
        run=run, round=1, created=datetime.now(UTC), sync_time=datetime.now(UTC),
        sources=(PlannedSource(name="s", path="p", spec=0, destinations=("d", "e"), clients=shards),),
        destinations=(
            PlannedDestination(name="d", path="p", spec=1),
            PlannedDestination(name="e", path="p", spec=1, holds_state_of=("s",)),
        ),
        tables=tuple(found), shards=shards * len(tables), cells=shards * len(tables), **more,
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
def stage(tmp_path: Path) -> Stage:
    return Stage(open_store(str(tmp_path / "stage")))


@pytest.fixture
def pool(stage: Stage) -> Iterator[Pool]:
    environment = {**os.environ, "SHARDER_STAGE": stage.store.url}
    pool = Pool(2, environment, handlers=HANDLERS)
    yield pool
    pool.close()


def drive(stage: Stage, pool: Pool, plan: Plan, notes: Notes | None = None) -> Drive:
    return Drive(stage, pool, plan, EMBEDDED, notes or Notes(), pause=pool.wait)


def test_a_round_is_extracted_loaded_and_closed(stage: Stage, pool: Pool) -> None:
    plan = planned(stage, "a", "b", shards=5)
    summary = drive(stage, pool, plan).run()
    assert summary.exit_code == 0
    assert (summary.cells.ok, summary.rows) == (10, 100)
    assert summary.rows_per_destination == {"d": 100, "e": 100}
    assert stage.summary("r", 1) == summary


def test_a_failed_cell_is_reported_and_the_rest_is_loaded(stage: Stage, pool: Pool) -> None:
    summary = drive(stage, pool, planned(stage, "a", "denied")).run()
    assert summary.exit_code == 3
    (problem,) = summary.problems
    assert (problem.table, problem.reason, problem.cells) == ("denied", "denied", 2)
    assert sorted(problem.clients) == ["client 0", "client 1"]


def test_nothing_loaded_is_another_exit_code(stage: Stage, pool: Pool) -> None:
    assert drive(stage, pool, planned(stage, "denied")).run().exit_code == 4


def test_a_worker_that_dies_costs_an_attempt_and_no_row(stage: Stage, pool: Pool) -> None:
    summary = drive(stage, pool, planned(stage, "a", "dies")).run()
    assert summary.exit_code == 0
    assert summary.rows == 40
    assert stage.attempts("r", layout.shard_id(1, 2)) == 2


def test_a_shard_whose_attempts_all_die_fails_and_the_round_still_closes(
    stage: Stage, pool: Pool
) -> None:
    summary = drive(stage, pool, planned(stage, "always", "a", shards=1)).run()
    assert summary.exit_code == 3
    (problem,) = summary.problems
    assert (problem.reason, problem.clients) == ("lost", ("client 0",))
    assert "3 attempts" in problem.message


def test_a_failed_load_is_reported_with_its_own_words(stage: Stage, pool: Pool) -> None:
    summary = drive(stage, pool, planned(stage, "unloadable", "a", shards=1)).run()
    assert summary.exit_code == 3
    assert {d.error for d in summary.destinations if d.table == "unloadable"} == {
        "the disk is full"
    }


def test_a_cancelled_run_loads_what_it_has(stage: Stage, pool: Pool) -> None:
    plan = planned(stage, "a", "b", shards=1)
    pool.put([Message("shard", "r", shard=layout.shard_id(1, 0))])
    while not stage.committed("r", layout.shard_id(1, 0)):
        pool.wait(0.01)
    cancel(stage, "r", "cancelled by a person")
    summary = drive(stage, pool, plan).run()
    assert summary.cancelled == "cancelled by a person"
    assert {p.reason for p in summary.problems} == {"cancelled"}
    assert (summary.cells.ok, summary.cells.failed) == (1, 1)


def test_another_watcher_of_a_closed_round_gives_the_same_answer(stage: Stage, pool: Pool) -> None:
    plan = planned(stage, "a")
    first = drive(stage, pool, plan).run()
    again = drive(stage, pool, plan).run()
    assert again == first


def test_two_watchers_at_once_do_no_harm(stage: Stage, pool: Pool) -> None:
    plan = planned(stage, "a", "b", shards=10)
    found: list[object] = []
    other = threading.Thread(target=lambda: found.append(drive(stage, pool, plan).run()))
    other.start()
    summary = drive(stage, pool, plan).run()
    other.join()
    assert found == [summary]
    assert summary.rows == 200


def test_a_round_teaches_how_long_its_cells_take(stage: Stage, pool: Pool) -> None:
    drive(stage, pool, planned(stage, "a", shards=4)).run()
    history = stage.history("s", "a")
    assert history
    assert (history.cells, history.mean_rows) == (4, 10)


class Moody:
    """A queue whose broker is away for a while."""

    def __init__(self, queue: Pool, failures: int) -> None:
        self._queue, self._failures = queue, failures

    def _answer(self) -> None:
        self._failures -= 1
        if self._failures >= 0:
            raise Unreachable("the broker does not answer")

    def put(self, messages: Sequence[Message]) -> None:
        self._answer()
        self._queue.put(messages)

    def waiting(self) -> int:
        self._answer()
        return self._queue.waiting()

    def beats(self, run: str, jobs: Sequence[str]) -> Mapping[str, str]:
        return self._queue.beats(run, jobs)

    def workers(self) -> int:
        return self._queue.workers()

    def close(self) -> None: ...


def test_a_broker_that_is_away_costs_time_and_is_told_once(stage: Stage, pool: Pool) -> None:
    notes = Notes()
    summary = Drive(
        stage, Moody(pool, 5), planned(stage, "a"), EMBEDDED, notes,
        pause=lambda s: pool.wait(min(s, 0.01)),
    ).run()  # fmt: skip
    assert summary.exit_code == 0
    assert sum("does not answer" in text for text in notes.said) == 1


def test_destinations_are_prepared_before_the_plan(stage: Stage, pool: Pool) -> None:
    found = prepare(stage, pool, "r", ["d", "e"], EMBEDDED, print, pause=pool.wait)
    assert {c.guarantee for c in found.values()} == {"transactional"}
