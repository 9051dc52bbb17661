"""What people and programs are told: the text of a summary, plain lines, JSON lines, a live display."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from inline_snapshot import snapshot
from rich.console import Console

from contracts.commit import Cell, Commit
from contracts.plan import Plan, PlannedDestination, PlannedSource, PlannedTable, Shard
from contracts.summary import CellCounts, DestinationSummary, Problem, Summary, TableSummary
from contracts.table import Table
from sharder import text
from sharder.report import Json, Lines, Live, left_s, style
from sharder.summary import Tally, Totals

AT = datetime(2026, 1, 1, tzinfo=UTC)


def summary(**more: object) -> Summary:
    facts: dict[str, object] = {
        "run": "r", "round": 1, "sync_time": AT, "started": AT, "ended": AT + timedelta(seconds=83),
        "exit_code": 0, "cells": CellCounts(ok=340), "rows": 12345, "bytes": 4_500_000,
        "tables": tuple(
            TableSummary(source="aws", table=t, cells=CellCounts(ok=170), rows=1, bytes=1, seconds=1)
            for t in ("aws_a", "aws_b")
        ),
        "destinations": (
            DestinationSummary(destination="lake", source="aws", table="aws_a", published=12000, stale=7, guarantee="transactional"),
            DestinationSummary(destination="lake", source="aws", table="aws_b", published=345, stale=0, guarantee="transactional"),
        ),
        "problems": (),
    }  # fmt: skip
    return Summary.model_validate(facts | more)


def test_a_good_run_is_two_lines() -> None:
    assert text.summary(summary()) == snapshot(
        [
            "  aws → lake: 12,345 rows published, 7 stale rows removed (transactional)",
            "run r: 2 tables, 12,345 rows, 4.5 MB in 1 min 23 s; 340 cells ok",
        ]
    )


def test_the_last_lines_say_what_failed_and_which_command_tries_it_again() -> None:
    failed = summary(
        exit_code=3,
        cells=CellCounts(ok=320, failed=18, skipped=2),
        attempts_lost=1,
        problems=(
            Problem(
                source="aws", table="aws_a", outcome="failed", reason="denied", cells=18,
                clients=("1", "2", "3", "4"), message="AccessDenied: not authorized\nmore",
            ),
            Problem(
                source="aws", table="aws_b", outcome="skipped", reason="region_off", cells=2,
                clients=("5", "6"), message="",
            ),
        ),
        destinations=(
            DestinationSummary(
                destination="lake", source="aws", table="aws_a", published=0, stale=0,
                guarantee="", error="the disk is full\n  free some",
            ),
        ),
    )  # fmt: skip
    assert text.summary(failed) == snapshot(
        [
            "  aws → lake: 0 rows published",
            "  aws aws_a → lake: not loaded: the disk is full",
            "    free some",
            "  aws aws_a: 18 cells failed: denied (1, 2, 3 and 15 more)",
            "    AccessDenied: not authorized",
            "    more",
            "  aws aws_b: 2 cells skipped: region_off (5, 6)",
            "run r: 2 tables, 12,345 rows, 4.5 MB in 1 min 23 s; 320 cells ok, 18 failed, 2 skipped, 1 attempt lost and done again",
            "the rest is loaded; try again what failed with: sharder retry r",
        ]
    )


def test_nothing_loaded_is_said_so() -> None:
    assert text.summary(summary(exit_code=4))[-1].startswith("nothing was loaded; try again")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.84, "0.8 s"), (9.96, "10 s"), (59.4, "59 s"), (60, "1 min 0 s"), (7500, "2 h 5 min")],
)
def test_durations(seconds: float, said: str) -> None:
    assert text.duration(seconds) == said


@pytest.mark.parametrize(
    ("n", "said"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (3 * 10**12, "3.0 TB")]
)
def test_sizes(n: int, said: str) -> None:
    assert text.size(n) == said


def test_counts_know_one_from_many() -> None:
    assert text.count(1, "row") == "1 row"
    assert text.count(1234, "row") == "1,234 rows"


class Clock:
    """Moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def plan() -> Plan:
    return Plan(
        run="r", round=1, created=AT, sync_time=AT, shards=4, cells=4,
        sources=(PlannedSource(name="aws", path="p", spec=0, destinations=("d",), clients=4),),
        destinations=(PlannedDestination(name="d", path="p", spec=1),),
        tables=(
            PlannedTable(
                source="aws", name="t", tree=(Table("t", ()),), selected=("t",), first=0, shards=4,
                cells=4, clients=((0, 4),), authoritative=True, cost_s=40.0,
            ),
        ),
    )  # fmt: skip


def half(tally: Tally) -> Tally:
    for n in range(2):
        shard = Shard(f"01-000000{n}", "aws", "t", ((n, n + 1),), cost_s=10.0)
        cell = Cell(table="t", client="c", outcome="ok" if n else "failed", rows=500 * n)
        tally.add(
            shard, Commit(run="r", shard=shard.id, attempt="a", started=AT, ended=AT, cells=(cell,))
        )
    return tally


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_plain_lines_come_every_few_seconds_and_only_if_something_moved(clock: Clock) -> None:
    out, err = io.StringIO(), io.StringIO()
    lines, tally = Lines(out, err, clock), Tally(plan())
    lines.progress(plan(), tally)
    assert err.getvalue() == ""
    half(tally)
    clock.now += 20
    lines.progress(plan(), tally)
    clock.now += 20
    lines.progress(plan(), tally)
    assert err.getvalue() == snapshot(
        "aws: 2 of 4 cells (1 failed), 500 rows, 25 rows/s, about 20 s left\n"
    )
    assert out.getvalue() == ""


def test_the_answer_goes_to_stdout(clock: Clock) -> None:
    out, err = io.StringIO(), io.StringIO()
    Lines(out, err, clock).summary(summary())
    assert out.getvalue().endswith("340 cells ok\n")
    assert err.getvalue() == ""


def test_json_lines_hold_the_same_facts(clock: Clock) -> None:
    out, err = io.StringIO(), io.StringIO()
    report, tally = Json(out, err, clock), half(Tally(plan()))
    report.say("a sentence")
    clock.now += 20
    report.progress(plan(), tally)
    report.summary(summary())
    note, progress = map(orjson.loads, err.getvalue().splitlines())
    assert note == {"event": "note", "text": "a sentence"}
    assert progress == snapshot(
        {
            "event": "progress",
            "run": "r",
            "round": 1,
            "source": "aws",
            "cells": 4,
            "ok": 1,
            "failed": 1,
            "skipped": 0,
            "rows": 500,
            "bytes": 0,
            "rows_per_s": 25.0,
            "left_s": 20.0,
        }
    )
    (answer,) = map(orjson.loads, out.getvalue().splitlines())
    assert answer["event"] == "summary"
    assert answer["rows"] == 12345


def test_a_terminal_shows_a_row_per_source_while_it_runs(clock: Clock) -> None:
    out, err = io.StringIO(), io.StringIO()
    live = Live(
        Console(file=out, width=100), Console(file=err, width=100, force_terminal=True), clock
    )
    clock.now += 20
    live.progress(plan(), half(Tally(plan())))
    live.say("[not markup]")
    live.summary(summary())
    shown = err.getvalue()
    assert "rows/s" in shown
    assert "aws" in shown
    assert "20 s" in shown
    assert "[not markup]" in shown
    assert out.getvalue().endswith("340 cells ok\n")


def test_the_time_left_needs_something_to_go_by() -> None:
    assert left_s(Totals(expected_s=100.0), 10.0) is None
    assert left_s(Totals(expected_s=0.0), 10.0) is None
    assert left_s(Totals(expected_s=100.0, done_s=50.0), 10.0) == 10.0


@pytest.mark.parametrize(
    ("json", "terminal", "dumb", "expected"),
    [
        (True, True, False, "json"),
        (False, True, False, "live"),
        (False, True, True, "lines"),
        (False, False, False, "lines"),
    ],
)
def test_what_is_shown_suits_where_it_is_shown(
    json: bool, terminal: bool, dumb: bool, expected: str
) -> None:
    assert style(json=json, terminal=terminal, dumb=dumb) == expected
