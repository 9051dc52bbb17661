"""Which runs are removed, and in which order."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import layout
from contracts.stage import Stage
from contracts.store import open_store
from sharder.gc import UNPLANNED_S, Candidate, collect, doomed, remove

DAY = 86400.0


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(open_store(str(tmp_path)))


def run(
    name: str, age_days: float = 0.0, *, closed: bool = True, planned: bool = True
) -> Candidate:
    return Candidate(name, closed, planned, age_days * DAY)


def test_closed_runs_go_after_their_time() -> None:
    runs = [run("old", 8), run("young", 6), run("open", 30, closed=False)]
    assert doomed(runs, keep_s=7 * DAY) == ["old"]


def test_embedded_the_last_three_stay_whatever_their_age() -> None:
    runs = [run(f"r{n}", n) for n in range(1, 6)]
    assert doomed(runs, keep_s=0, keep_runs=3) == ["r4", "r5"]


def test_runs_that_never_had_a_plan_go_after_a_day() -> None:
    runs = [
        run("dead", 2, closed=False, planned=False),
        run("new", 0.5, closed=False, planned=False),
    ]
    assert doomed(runs, keep_s=7 * DAY) == ["dead"]


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans()), max_size=20), st.integers(0, 5))
def test_an_open_run_with_a_plan_is_never_removed(
    found: list[tuple[float, bool]], keep: int
) -> None:
    runs = [run(f"r{n}", age, closed=closed) for n, (age, closed) in enumerate(found)]
    gone = doomed(runs, keep_s=3 * DAY, keep_runs=keep)
    assert all(c.closed for c in runs if c.run in gone)


def fill(stage: Stage, name: str, *, closed: bool, age_days: float) -> None:
    keys = [layout.spec(name, 0), layout.plan_index(name, 1), layout.commit(name, "01-0000000")]
    keys += [layout.closed(name, 1)] if closed else []
    for key in keys:
        stage.store.put(key, b"{}")
        path = stage.store.local_path(key)
        assert path
        at = datetime.now(UTC).timestamp() - age_days * DAY
        os.utime(path, (at, at))


def test_what_is_due_is_removed_whole_and_the_rest_is_left_alone(stage: Stage) -> None:
    fill(stage, "old", closed=True, age_days=9)
    fill(stage, "new", closed=True, age_days=1)
    fill(stage, "open", closed=False, age_days=9)
    assert collect(stage, datetime.now(UTC), keep_s=7 * DAY) == ["old"]
    assert stage.runs() == ["new", "open"]


def test_a_removal_that_was_interrupted_is_ended_by_the_next(stage: Stage) -> None:
    fill(stage, "old", closed=True, age_days=9)
    stage.store.delete([layout.spec("old", 0), layout.plan_index("old", 1)])
    assert collect(stage, datetime.now(UTC), keep_s=7 * DAY) == ["old"]
    assert stage.runs() == []


def test_that_a_run_is_closed_is_forgotten_last(stage: Stage) -> None:
    fill(stage, "old", closed=True, age_days=9)
    gone: list[str] = []
    delete = stage.store.delete

    class Recording:
        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

        def delete(self, keys: list[str]) -> None:
            gone.extend(keys)
            delete(keys)

    real = stage.store
    stage.store = Recording()  # type: ignore[assignment]
    remove(stage, "old")
    assert gone[-1] == layout.closed("old", 1)
    assert len(gone) == 4


def test_a_run_that_is_being_planned_is_left_alone() -> None:
    assert doomed([Candidate("new", False, False, UNPLANNED_S - 1)], keep_s=0) == []


def test_the_shards_of_one_invocation_count_as_one_run() -> None:
    runs = [run(f"r{day}-{n}-of-3", day) for day in range(5) for n in (1, 2, 3)]
    gone = doomed(runs, keep_s=0, keep_runs=3)
    assert gone == [f"r{day}-{n}-of-3" for day in (3, 4) for n in (1, 2, 3)]
