"""What a retry has to do again, read from commits and receipts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest

from contracts import layout
from contracts.commit import Cell, Commit
from contracts.plan import Plan, PlannedDestination, PlannedSource, PlannedTable, Range, Shard
from contracts.receipt import Receipt
from contracts.stage import Stage
from contracts.store import open_store
from contracts.table import Table
from sharder import undone

AT = datetime(2026, 1, 1, tzinfo=UTC)
SELECTED = ("t", "child")


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    stage = Stage(open_store(str(tmp_path)))
    stage.write_clients("r", "s", (f"c{n}" for n in range(10)))
    return stage


def planned(stage: Stage, round_: int, *shards: Range) -> Plan:
    plan = Plan(
        run="r", round=round_, created=AT, sync_time=AT, shards=len(shards), cells=0,
        sources=(PlannedSource(name="s", path="p", spec=0, destinations=("d", "e"), clients=10),),
        destinations=tuple(PlannedDestination(name=n, path="p", spec=1) for n in "de"),
        tables=(
            PlannedTable(
                source="s", name="t", tree=(Table("t", ()), Table("child", (), parent="t")),
                selected=SELECTED, first=0, shards=len(shards), cells=0, clients=tuple(shards),
                authoritative=True,
            ),
        ),
    )  # fmt: skip
    stage.write_plan(
        plan,
        (Shard(layout.shard_id(round_, n), "s", "t", (r,)) for n, r in enumerate(shards)),
    )
    return plan


def commit(stage: Stage, round_: int, number: int, cells: Sequence[Cell] = (), verdict: Cell | None = None) -> None:  # fmt: skip
    stage.create_commit(
        Commit(
            run="r", shard=layout.shard_id(round_, number), attempt="a", started=AT, ended=AT,
            cells=tuple(cells), verdict=verdict,
        )
    )  # fmt: skip


def ends(clients: Range, failed: Sequence[tuple[int, str]] = ()) -> list[Cell]:
    return [
        Cell(table=t, client=f"c{n}", outcome="failed" if (n, t) in failed else "ok")
        for n in range(*clients)
        for t in SELECTED
    ]


def lines(stage: Stage, *rounds: Plan) -> list[Range]:
    return [r for _, found in undone.cells(stage, rounds) for r in found]


def test_nothing_is_undone_when_every_cell_ended_ok(stage: Stage) -> None:
    plan = planned(stage, 1, (0, 5))
    commit(stage, 1, 0, ends((0, 5)))
    assert lines(stage, plan) == []


def test_a_failed_descendant_brings_its_client_back(stage: Stage) -> None:
    plan = planned(stage, 1, (0, 5), (5, 10))
    commit(stage, 1, 0, ends((0, 5), [(1, "child"), (2, "t")]))
    commit(stage, 1, 1, ends((5, 10), [(7, "t")]))
    assert lines(stage, plan) == [(1, 3), (7, 8)]


def test_a_verdict_brings_all_clients_of_the_shard_back(stage: Stage) -> None:
    plan = planned(stage, 1, (0, 5))
    commit(stage, 1, 0, verdict=Cell(table="t", client="", outcome="failed", reason="lost"))
    assert lines(stage, plan) == [(0, 5)]


def test_cells_of_which_nothing_was_said_come_back(stage: Stage) -> None:
    plan = planned(stage, 1, (0, 3))
    commit(stage, 1, 0, ends((0, 2)))
    assert lines(stage, plan) == [(2, 3)]


def test_what_was_skipped_by_a_rule_is_not_tried_again(stage: Stage) -> None:
    plan = planned(stage, 1, (0, 1))
    commit(stage, 1, 0, [Cell(table=t, client="c0", outcome="skipped") for t in SELECTED])
    assert lines(stage, plan) == []


def test_what_a_later_round_did_is_done(stage: Stage) -> None:
    first = planned(stage, 1, (0, 5))
    commit(stage, 1, 0, ends((0, 5), [(1, "t"), (2, "t"), (3, "t")]))
    second = planned(stage, 2, (1, 4))
    commit(stage, 2, 0, ends((1, 4), [(2, "t")]))
    assert lines(stage, first, second) == [(2, 3)]


def receipt(stage: Stage, round_: int, destination: str, outcome: Literal["ok", "failed"]) -> None:
    stage.create_receipt(
        Receipt(
            run="r", destination=destination, source="s", table="t", round=round_, rounds=(round_,),
            load="l", outcome=outcome, started=AT, ended=AT,
        )
    )  # fmt: skip


def test_a_load_that_failed_is_done_again_unless_a_later_one_did_it(stage: Stage) -> None:
    first = planned(stage, 1, (0, 1))
    receipt(stage, 1, "d", "ok")
    receipt(stage, 1, "e", "failed")
    assert undone.loads(stage, [first]) == [("s", "t")]
    second = planned(stage, 2)
    receipt(stage, 2, "e", "ok")
    assert undone.loads(stage, [first, second]) == []
