"""A watcher that could see nothing for a while: nobody is given up for the silence of that time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from contracts import layout
from contracts.commit import Attempt
from contracts.errors import Unreachable
from contracts.plan import Plan, PlannedDestination, PlannedSource, PlannedTable, Shard
from contracts.queue import Message
from contracts.stage import Stage
from contracts.store import open_store
from contracts.table import Table
from sharder.drive import Drive
from sharder.flight import FLEET
from sharder.summary import Tally

A = layout.shard_id(1, 0)


class Broker:
    """A queue that keeps what was put, shows one heartbeat, and may be away."""

    def __init__(self) -> None:
        self.away, self.beat = False, ""
        self.put_: list[str] = []

    def put(self, messages: Sequence[Message]) -> None:
        self.put_ += [m.job for m in messages]

    def waiting(self) -> int:
        if self.away:
            raise Unreachable("the broker does not answer")
        return 0

    def beats(self, run: str, jobs: Sequence[str]) -> Mapping[str, str]:
        self.waiting()
        return {A: self.beat} if self.beat else {}

    def workers(self) -> int:
        return 1

    def close(self) -> None: ...


class Quiet:
    def say(self, text: str) -> None: ...

    def progress(self, plan: Plan, tally: Tally) -> None: ...


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(open_store(str(tmp_path / "stage")))


@pytest.fixture
def plan(stage: Stage) -> Plan:
    at = datetime.now(UTC)
    plan = Plan(
        run="r", round=1, created=at, sync_time=at, shards=1, cells=1,
        sources=(PlannedSource(name="s", path="p", spec=0, destinations=("d",), clients=1),),
        destinations=(PlannedDestination(name="d", path="p", spec=1),),
        tables=(PlannedTable(
            source="s", name="t", tree=(Table("t", ()),), selected=("t",), first=0, shards=1, cells=1,
            clients=((0, 1),), authoritative=True,
        ),),
    )  # fmt: skip
    stage.write_clients("r", "s", ["ann"])
    stage.write_plan(plan, [Shard(A, "s", "t", ((0, 1),))])
    return plan


def test_an_attempt_that_could_not_beat_while_the_broker_was_away_is_not_given_up(
    stage: Stage, plan: Plan
) -> None:
    broker, clock = Broker(), [0.0]
    drive = Drive(stage, broker, plan, FLEET, Quiet(), clock=lambda: clock[0])

    def step(seconds: float) -> None:
        clock[0] += seconds
        drive.step()

    step(0)
    # Two attempts died; the third, the last that it may have, is at work.
    for n in range(FLEET.attempts):
        stage.start_attempt(Attempt(run="r", job=A, attempt=f"a{n}", started=datetime.now(UTC)))
    broker.beat = "a2:1"
    step(1)
    broker.away = True
    for _ in range(6):
        with pytest.raises(Unreachable):
            step(30)
    broker.away, broker.beat = False, ""  # it has forgotten everything
    for _ in range(3):
        step(1)
    broker.beat = "a2:2"
    step(2)
    assert not stage.committed("r", A)
    assert broker.put_ == [A]
    broker.beat = ""
    for _ in range(4):
        step(20)
    assert stage.commit("r", A).verdict  # its silence since then is its own
