"""The file of table metrics: rewritten as a whole now and then, and never worth a lost run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contracts.commit import Cell, Commit, Outcome
from contracts.errors import InputError
from contracts.plan import Plan, PlannedDestination, PlannedSource, PlannedTable, Shard
from contracts.specfile import load
from contracts.table import Table
from sharder.metrics import EVERY_S, Metrics, around
from sharder.summary import Tally
from tests.fakes.said import Said

AT = datetime(2026, 1, 1, tzinfo=UTC)


def plan(*sources: str) -> Plan:
    """Tables `a`, `b`, `c` of two cells each, `a` with a child."""
    tables = [
        PlannedTable(
            source=source, name=name, tree=(Table(name, ()),),
            selected=(name, "a_child") if name == "a" else (name,), first=n * 2, shards=2,
            cells=4 if name == "a" else 2, clients=((0, 2),), authoritative=True,
        )
        for source in sources or ("s",)
        for n, name in enumerate("abc")
    ]  # fmt: skip
    return Plan(
        run="r", round=1, created=AT, sync_time=AT, shards=6, cells=6, tables=tuple(tables),
        sources=tuple(PlannedSource(name=s, path="p", spec=0, destinations=("d",), clients=2) for s in sources or ("s",)),
        destinations=(PlannedDestination(name="d", path="p", spec=1),),
    )  # fmt: skip


def end(tally: Tally, table: str, outcome: Outcome = "ok", seconds: float = 1, **more: object) -> None:  # fmt: skip
    names = ("a", "a_child") if table == "a" else (table,)
    cells = tuple(Cell(table=t, client="x", outcome=outcome, **more) for t in names)
    commit = Commit(run="r", shard="01-0000000", attempt="x", started=AT, ended=AT + timedelta(seconds=seconds), cells=cells)  # fmt: skip
    tally.add(Shard("01-0000000", "s", table, ((0, 1),)), commit)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_running_tables_come_first_then_waiting_ones_then_those_that_ended(tmp_path):
    path, planned = tmp_path / "deep" / "m.txt", plan()
    tally, metrics = Tally(planned), Metrics(Said(), path)
    for _ in range(2):
        end(tally, "b", rows=1_000)
    end(tally, "c", "failed", seconds=75, reason="denied")
    end(tally, "c", "failed", seconds=75, reason="lost")
    end(tally, "a", rows=7)
    metrics.progress(planned, tally)
    assert path.read_text() == (
        "+---------+------------+-----------+--------+--------+\n"
        "| TABLE   |   DURATION | RESOURCES | ERRORS | PANICS |\n"
        "+---------+------------+-----------+--------+--------+\n"
        "| a       |      1.0 s |         7 |      0 |      0 |\n"
        "| a_child |            |         7 |      0 |      0 |\n"
        "| c       | 2 min 30 s |         0 |      1 |      1 |\n"
        "| b       |      2.0 s |      2000 |      0 |      0 |\n"
        "+---------+------------+-----------+--------+--------+\n"
    )


def test_tables_of_several_sources_are_told_apart(tmp_path):
    planned = plan("s", "other")
    metrics = Metrics(Said(), tmp_path / "m.txt")
    metrics.progress(planned, Tally(planned))
    text = (tmp_path / "m.txt").read_text()
    assert "| other.a " in text
    assert "| s.a_child " in text


def test_the_file_is_there_at_once_and_rewritten_every_twenty_seconds(tmp_path):
    path, planned, clock, said = tmp_path / "m.txt", plan(), Clock(), Said()
    metrics, tally = Metrics(said, path, clock), Tally(planned)
    assert "TABLE" in path.read_text()
    metrics.progress(planned, tally)
    first = path.read_text()
    end(tally, "b", rows=5)
    clock.now = EVERY_S - 1
    metrics.progress(planned, tally)
    assert path.read_text() == first
    clock.now = EVERY_S
    metrics.progress(planned, tally)
    assert path.read_text() != first
    assert said.progressed == 3


def test_the_end_is_written_whatever_the_clock_says(tmp_path):
    path, planned, said = tmp_path / "m.txt", plan(), Said()
    metrics, tally = Metrics(said, path, Clock()), Tally(planned)
    metrics.progress(planned, tally)
    end(tally, "b", rows=5)
    metrics.summary(tally.summary(ended=AT, lost=0, cancelled=""))
    assert "|         5 |" in path.read_text()
    assert len(said.summaries) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["m.txt"]


def test_a_file_that_cannot_be_written_is_told_before_the_run(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--tables-metrics-location"):
        Metrics(Said(), tmp_path / "file" / "m.txt")


def test_later_it_is_one_warning(tmp_path):
    folder, planned, said, clock = tmp_path / "f", plan(), Said(), Clock()
    metrics, tally = Metrics(said, folder / "m.txt", clock), Tally(planned)
    (folder / "m.txt").unlink()
    folder.rmdir()
    for n in range(3):
        clock.now = n * EVERY_S
        metrics.progress(planned, tally)
    assert said.said == [f"warning: {folder}/m.txt was not written: No such file or directory"]


SPEC = """\
kind: source
spec: {name: s, path: cloudquery/s, tables: ["*"], destinations: [d], otel_endpoint: "otel:4318"}
---
kind: destination
spec: {name: d, path: cloudquery/duckdb}
"""


def test_it_cannot_go_with_an_endpoint_for_metrics(tmp_path: Path):
    (tmp_path / "spec.yml").write_text(SPEC)
    loaded = load([tmp_path / "spec.yml"], {}, AT)
    report = Said()
    assert around(report, "", loaded) is report
    with pytest.raises(InputError, match="leave out one of the two") as caught:
        around(report, str(tmp_path / "m.txt"), loaded)
    assert "spec.yml:2" in str(caught.value)
