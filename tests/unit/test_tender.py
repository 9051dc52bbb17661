"""`sharder watch`: what it takes on, what it leaves alone, and that one run's trouble is not another's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts import layout
from contracts.commit import Cell, Commit
from contracts.errors import Unreachable
from contracts.plan import Plan, Shard
from contracts.stage import Stage
from contracts.store import open_store
from contracts.sync import Conclusion
from sharder import holding, status
from sharder.drive import Drive
from sharder.place import Place
from sharder.report import Lines
from sharder.summary import Tally
from sharder.tender import SETTLED_S, _Scout, tend
from sharder.wishes import Wishes
from tests.fakes.fleet import until
from tests.fakes.plans import AT, plan


class Told(Lines):
    """A report that keeps what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, said: str) -> None:
        self.said.append(said)

    def progress(self, plan: Plan, tally: Tally) -> None: ...

    def summary(self, summary) -> None:
        self.said.append(f"closed {summary.run}")

    def close(self) -> None: ...


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(open_store(str(tmp_path / "stage")))


def add(stage: Stage, run: str, *, closed: bool = False, summary: bool = False) -> Plan:
    """A run of a source of its own; all its work is done and only the watcher's is left."""
    found = plan(1)
    source = found.sources[0].model_copy(update={"name": run})
    table = found.tables[0].model_copy(update={"source": run})
    wants = tuple(d.model_copy(update={"send_sync_summary": summary}) for d in found.destinations)
    found = found.model_copy(update={"run": run, "sources": (source,), "tables": (table,), "destinations": wants})  # fmt: skip
    stage.write_clients(run, run, ["c"])
    stage.write_plan(found, [Shard(layout.shard_id(1, 0), run, "t0", ((0, 1),))])
    stage.create_commit(
        Commit(run=run, shard=layout.shard_id(1, 0), attempt="a", started=AT, ended=AT,
               cells=(Cell(table="t0", client="c", outcome="ok"),))
    )  # fmt: skip
    from contracts.receipt import Receipt

    stage.create_receipt(
        Receipt(run=run, destination="d", source=run, table="t0", round=1, rounds=(1,), load="l",
                outcome="ok", started=AT, ended=AT, cells_ok=1)
    )  # fmt: skip
    if closed:
        stage.close(Tally(found).summary(ended=AT, lost=0, cancelled=""))
    return found


def scout(stage: Stage, told: Told, clock: Callable[[], float] = lambda: 0.0) -> _Scout:
    here = Place(stage, None, None, lambda _s: None, "fleet")  # type: ignore[arg-type]
    return _Scout(here, told, clock)  # type: ignore[arg-type]


def concluded(run: str) -> Conclusion:
    return Conclusion(run=run, destination="d", round=1, outcome="ok", started=AT, ended=AT)


def test_open_rounds_and_closed_ones_without_their_summary_are_wanted(stage: Stage) -> None:
    add(stage, "open")
    add(stage, "done", closed=True)
    add(stage, "unconcluded", closed=True, summary=True)
    add(stage, "concluded", closed=True, summary=True)
    stage.create_conclusion(concluded("concluded"))
    stage.store.put(layout.spec("unplanned", 0), b"")
    found = [(w.plan.run, bool(w.summary)) for w in scout(stage, Told()).look()]
    assert found == [("open", False), ("unconcluded", True)]


def test_a_run_that_cannot_be_read_is_told_once_and_the_others_are_watched(stage: Stage) -> None:
    add(stage, "a")
    add(stage, "z")
    stage.store.put(layout.plan_index("m", 1), b'{"version": 99}')
    told, now = Told(), [0.0]
    one = scout(stage, told, lambda: now[0])
    for _ in range(3):
        assert [w.plan.run for w in one.look()] == ["a", "z"]
        now[0] += SETTLED_S
    assert len(told.said) == 1
    assert "run m cannot be watched here" in told.said[0]


def test_a_run_that_is_being_planned_is_watched_as_soon_as_it_has_a_plan(stage: Stage) -> None:
    stage.store.put(layout.spec("r", 0), b"")
    one = scout(stage, Told())
    assert list(one.look()) == []
    add(stage, "r")
    assert [w.plan.run for w in one.look()] == ["r"]


def test_a_closed_run_is_looked_at_again_after_a_while_for_a_round_of_a_retry(stage: Stage) -> None:
    found, now = add(stage, "r", closed=True), [0.0]
    one = scout(stage, Told(), lambda: now[0])
    assert list(one.look()) == []
    stage.write_plan(found.model_copy(update={"round": 2}), [])
    assert list(one.look()) == []
    now[0] += SETTLED_S
    assert [w.plan.round for w in one.look()] == [2]


@pytest.mark.redis
class TestOnAFleet:
    def tend(self, stage: Stage, broker: str, told: Told, **more: object) -> None:
        wishes = Wishes(stage=stage.store.url, broker=broker)
        tend(wishes, {}, told, once=True, **more)  # type: ignore[arg-type]

    def test_every_run_is_closed_and_the_leases_are_given_back(
        self, stage: Stage, redis_url: str, tmp_path: Path
    ) -> None:
        for n in range(5):
            add(stage, f"r{n}")
        told = Told()
        self.tend(stage, redis_url, told, alive=tmp_path / "alive")
        assert all(stage.summary(f"r{n}", 1) for n in range(5))
        assert sorted(s for s in told.said if s.startswith("closed")) == [
            f"closed r{n}" for n in range(5)
        ]
        assert list(stage.store.list(layout.LEASES)) == []
        assert (tmp_path / "alive").exists()

    def test_one_whose_store_does_not_answer_keeps_no_other_waiting(
        self, stage: Stage, redis_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add(stage, "fast")
        add(stage, "slow")
        released, real = threading.Event(), Drive.step

        def step(drive: Drive):
            if drive._plan.run == "slow":
                released.wait()
            return real(drive)

        monkeypatch.setattr(Drive, "step", step)
        told = Told()
        thread = threading.Thread(target=self.tend, args=(stage, redis_url, told), kwargs={})
        thread.start()
        until(lambda: stage.summary("fast", 1))
        assert stage.summary("slow", 1) is None
        released.set()
        thread.join()
        assert stage.summary("slow", 1)

    def test_two_at_once_close_every_run_once(self, stage: Stage, redis_url: str) -> None:
        for n in range(4):
            add(stage, f"r{n}")
        reports = [Told(), Told()]
        threads = [
            threading.Thread(target=self.tend, args=(Stage(open_store(stage.store.url)), redis_url, told),
                             kwargs={"everything": True})
            for told in reports
        ]  # fmt: skip
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(stage.summary(f"r{n}", 1) for n in range(4))

    def test_a_run_that_its_submitter_watches_is_left_alone(
        self, stage: Stage, redis_url: str
    ) -> None:
        found = add(stage, "held")
        held = holding.Leases(stage.store, "held", status.pairs(found))
        held.take()
        self.tend(stage, redis_url, Told())
        assert stage.summary("held", 1) is None
        self.tend(stage, redis_url, Told(), everything=True)
        assert stage.summary("held", 1)
        held.release()

    def test_a_stage_that_does_not_answer_for_a_moment_is_waited_for(
        self, stage: Stage, redis_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add(stage, "r")
        real, failing = Drive.step, [True]

        def step(drive: Drive):
            if failing.pop() if failing else False:
                raise Unreachable("the stage is away")
            return real(drive)

        monkeypatch.setattr(Drive, "step", step)
        told = Told()
        self.tend(stage, redis_url, told)
        assert "run r: the stage is away; waiting for it" in told.said
        assert stage.summary("r", 1)
