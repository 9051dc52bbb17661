"""What the sums of a round say, and the exit code that follows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.commit import Cell, Commit, Outcome, Part
from contracts.errors import Exit
from contracts.plan import Plan, PlannedDestination, PlannedSource, PlannedTable, Shard, Slice
from contracts.receipt import LoadedTable, Receipt
from contracts.summary import CellCounts, Summary
from contracts.table import Table
from sharder.summary import EXAMPLES, Tally, exit_code
from sharder.worst import Worst

AT = datetime(2026, 1, 1, tzinfo=UTC)


def plan(selected: Sequence[str] = ("t",)) -> Plan:
    return Plan(
        run="r", round=1, created=AT, sync_time=AT, shards=9, cells=9,
        sources=(PlannedSource(name="s", path="p", spec=0, destinations=("d",), clients=9),),
        destinations=(PlannedDestination(name="d", path="p", spec=1),),
        tables=(
            PlannedTable(
                source="s", name="t", tree=(Table("t", ()),), selected=tuple(selected), first=0,
                shards=9, cells=9, clients=((0, 9),), authoritative=True, cost_s=9.0,
            ),
        ),
    )  # fmt: skip


def shard(clients: int = 1, slice_: Slice | None = None) -> Shard:
    return Shard("01-0000000", "s", "t", ((0, clients),), cost_s=1.0, slice=slice_)


def commit(*cells: Cell, verdict: Cell | None = None, seconds: float = 2.0) -> Commit:
    part = Part(key="k", table="t", rows=0, bytes=100, checksum="crc32:00000000", cells={})
    return Commit(
        run="r", shard="01-0000000", attempt="a", started=AT, ended=AT + timedelta(seconds=seconds),
        parts=(part,), cells=cells, verdict=verdict,
    )  # fmt: skip


def cell(client: str = "c", outcome: Outcome = "ok", **more: object) -> Cell:
    return Cell(table="t", client=client, outcome=outcome, **more)


def receipt(outcome: str = "ok", published: int = 1, cells_ok: int = 1, **more: object) -> Receipt:
    return Receipt(
        run="r", destination="d", source="s", table="t", round=1, rounds=(1,), load="l",
        outcome=outcome, started=AT, ended=AT, cells_ok=cells_ok,
        tables=(LoadedTable(table="t", published=published, stale=2),), **more,
    )  # fmt: skip


def close(tally: Tally) -> Summary:
    return tally.summary(ended=AT + timedelta(seconds=60), lost=0, cancelled="")


def test_rows_bytes_seconds_and_cells_are_added_up() -> None:
    tally = Tally(plan())
    tally.add(shard(), commit(cell(rows=3)))
    tally.add(shard(), commit(cell(rows=4)))
    tally.load(receipt(published=7))
    summary = close(tally)
    (table,) = summary.tables
    assert (table.rows, table.bytes, table.seconds, table.cells.ok) == (7, 200, 4.0, 2)
    assert summary.rows_per_destination == {"d": 7}
    assert summary.destinations[0].stale == 2
    assert summary.exit_code == Exit.OK


def test_cells_that_did_not_end_ok_are_grouped_by_reason_with_a_few_clients() -> None:
    tally = Tally(plan())
    for n in range(100):
        tally.add(shard(), commit(cell(f"c{n}", "failed", reason="denied", message=f"no {n}")))
    tally.add(shard(), commit(cell("x", "skipped", reason="region_off")))
    denied, off = close(tally).problems
    assert (denied.reason, denied.cells, len(denied.clients)) == ("denied", 100, EXAMPLES)
    assert denied.message == "no 0"
    assert (off.outcome, off.clients) == ("skipped", ("x",))


def test_a_verdict_holds_for_every_planned_cell_of_the_shard() -> None:
    tally = Tally(plan(selected=("t", "child")))
    tally.add(shard(50), commit(verdict=cell("", "failed", reason="lost")), ["c0", "c1"])
    summary = close(tally)
    assert summary.cells == CellCounts(failed=100)
    assert {(p.table, p.cells, p.clients) for p in summary.problems} == {
        ("t", 50, ("c0", "c1")),
        ("child", 50, ("c0", "c1")),
    }


def test_a_cell_of_which_the_commit_says_nothing_has_failed() -> None:
    tally = Tally(plan())
    tally.add(shard(3), commit(cell("a"), cell("b")))
    assert close(tally).cells == CellCounts(ok=2, failed=1)


@given(st.lists(st.sampled_from(["ok", "failed", "skipped"]), min_size=1, max_size=6))
def test_a_sliced_cell_is_one_cell_and_no_better_than_its_worst_slice(ends: list[Outcome]) -> None:
    tally = Tally(plan())
    for n, outcome in enumerate(ends):
        tally.add(shard(slice_=Slice(n, len(ends), {})), commit(cell("huge", outcome, rows=5)))
    totals = tally.sources()["s"]
    worst = max(ends, key=["ok", "skipped", "failed"].index)
    assert totals.ended == 1
    assert getattr(totals, worst) == 1
    assert totals.rows == 5 * len(ends)


def test_memory_does_not_grow_with_cells() -> None:
    tally = Tally(plan())
    for n in range(5000):
        tally.add(shard(), commit(cell(f"c{n}", "failed", reason="denied")))
    assert sum(len(g.clients) for g in tally._groups.values()) == EXAMPLES


@pytest.mark.parametrize(
    ("failed", "receipts", "expected"),
    [
        (0, [receipt()], Exit.OK),
        (0, [], Exit.OK),
        (0, [receipt(published=0, cells_ok=5)], Exit.OK),
        (1, [receipt()], Exit.PARTIAL),
        (1, [receipt(published=0, cells_ok=0)], Exit.OUTSIDE),
        (1, [receipt(published=5, cells_ok=0)], Exit.PARTIAL),  # rows up to a checkpoint
        (0, [receipt(), receipt("failed", error="x")], Exit.PARTIAL),
        (0, [receipt("failed", error="x")], Exit.OUTSIDE),
    ],
)
def test_the_exit_code_follows_from_cells_and_receipts(
    failed: int, receipts: list[Receipt], expected: Exit
) -> None:
    assert exit_code(CellCounts(ok=1, failed=failed), receipts) == expected


def test_skipped_cells_are_no_failure() -> None:
    assert exit_code(CellCounts(ok=1, skipped=3), [receipt()]) == Exit.OK


def test_a_failed_receipt_without_words_is_still_a_failure() -> None:
    tally = Tally(plan())
    tally.load(receipt("failed"))
    assert close(tally).destinations[0].error == "failed"


def test_each_table_of_a_tree_is_counted_apart() -> None:
    tally = Tally(plan(selected=("t", "child")))
    child = Cell(table="child", client="c", outcome="failed", reason="lost")
    tally.add(shard(), commit(cell(rows=3), child))
    (table,) = close(tally).tables
    top, below = table.members
    assert (top.table, top.rows, top.cells, top.lost) == ("t", 3, CellCounts(ok=1), 0)
    assert (below.table, below.rows, below.cells, below.lost) == (
        "child", 0, CellCounts(failed=1), 1,
    )  # fmt: skip


def test_a_load_says_what_it_did_to_each_table() -> None:
    tally = Tally(plan())
    tally.load(receipt(published=7, warnings=("careful",), cells_failed=2))
    (load,) = close(tally).destinations
    assert (load.members[0].published, load.members[0].stale, load.warnings) == (7, 2, 1)
    assert load.cells == CellCounts(ok=1, failed=2)


def test_the_clients_that_fared_worst_come_first() -> None:
    tally = Tally(plan())
    for client, outcomes in {"b": "ff", "a": "fs", "c": "s", "d": ""}.items():
        for letter in outcomes:
            outcome: Outcome = "failed" if letter == "f" else "skipped"
            tally.add(shard(), commit(cell(client, outcome, reason="denied")))
        tally.add(shard(), commit(cell(client)))
    summary = close(tally)
    assert [(c.client, c.failed, c.skipped) for c in summary.clients] == [
        ("b", 2, 0), ("a", 1, 1), ("c", 0, 1),
    ]  # fmt: skip
    assert summary.clients_not_ok == 3


def test_of_very_many_bad_clients_some_are_counted_and_a_hundred_shown() -> None:
    worst = Worst(counted=200)
    for n in range(1000):
        worst.add("s", f"c{n:04}", "failed", "denied")
    worst.add("s", "c0150", "failed", "denied")
    assert len(worst) == 200
    assert len(worst.shown()) == 100
    assert worst.shown()[0].client == "c0150"


def test_the_reason_of_a_client_is_that_of_its_first_failure() -> None:
    worst = Worst()
    worst.add("s", "c", "skipped", "region_off")
    worst.add("s", "c", "failed", "denied")
    worst.add("s", "c", "failed", "throttled")
    worst.add("s", "", "failed", "denied")  # a source without clients
    (client,) = worst.shown()
    assert (client.reason, client.failed, client.skipped) == ("denied", 2, 1)
