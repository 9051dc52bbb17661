"""What the stage says about a run, at every point of its life."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts import layout
from contracts.commit import Cell, Commit
from contracts.errors import InputError
from contracts.plan import Plan
from contracts.stage import Stage
from contracts.store import open_store
from sharder import holding, status
from sharder.drive import cancel
from sharder.summary import Tally
from tests.fakes.plans import AT, plan


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(open_store(str(tmp_path)))


@pytest.fixture
def planned(stage: Stage) -> Plan:
    found = plan(3)
    stage.write_plan(found, [])
    return found


def test_an_unknown_run_names_the_newest_ones(stage: Stage, planned: Plan) -> None:
    with pytest.raises(InputError, match="there is no run 'x'") as error:
        status.status(stage, "x")
    assert planned.run in error.value.hint


def test_a_run_without_a_plan(stage: Stage) -> None:
    stage.store.put(layout.spec("r", 0), b"")
    found = status.status(stage, "r")
    assert found.state == "unplanned"
    assert "submit it again" in status.lines(found)[-1]


def test_a_run_that_nobody_watches_says_how_to_go_on(stage: Stage, planned: Plan) -> None:
    commit = Commit(
        run="r", shard=layout.shard_id(1, 1), attempt="a", started=AT, ended=AT,
        cells=(Cell(table="t", client="c", outcome="ok"),),
    )  # fmt: skip
    stage.create_commit(commit)
    found = status.status(stage, "r")
    assert (found.state, found.commits, found.shards) == ("interrupted", 1, 3)
    assert status.lines(found)[-1] == "go on with: sharder resume r"
    assert [p.run for p in status.open_rounds(stage)] == ["r"]


def test_a_run_that_is_watched_says_by_whom(stage: Stage, planned: Plan) -> None:
    leases = holding.Leases(stage.store, "r", status.pairs(planned))
    leases.take()
    found = status.status(stage, "r")
    leases.release()
    assert found.state == "running"
    assert "process" in status.lines(found)[0]


def test_a_cancelled_run_says_why(stage: Stage, planned: Plan) -> None:
    cancel(stage, "r", "cancelled by a person")
    cancel(stage, "r", "and again")
    assert status.status(stage, "r").cancelled == "cancelled by a person"


def test_a_closed_run_shows_its_summary(stage: Stage, planned: Plan) -> None:
    stage.close(Tally(planned).summary(ended=AT, lost=0, cancelled=""))
    found = status.status(stage, "r")
    assert found.state == "closed"
    assert status.lines(found)[-1].startswith("run r: 1 table")
    assert status.open_round(stage, "r") == 0
    assert found.to_json()["summary"]["run"] == "r"
