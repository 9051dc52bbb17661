"""What a run leaves behind about itself: the rows in the warehouse, the lines in the file, the metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest

from contracts.errors import Exit
from tests.fakes.fleet import Fleet, kill, until

SOURCE = """
kind: source
spec:
  name: {name}
  path: cloudquery/file
  tables: ["*"]
  destinations: [w, quiet]
  spec: {{table: {name}_rows, path: ./in/*.csv}}
---
"""
SPEC = (
    SOURCE.format(name="one")
    + SOURCE.format(name="two")
    + """
kind: destination
spec:
  name: w
  path: cloudquery/duckdb
  send_sync_summary: true
  spec: {connection_string: ./w.duckdb}
---
kind: destination
spec:
  name: quiet
  path: cloudquery/duckdb
  spec: {connection_string: ./quiet.duckdb}
"""
)


@pytest.fixture
def place(embedded: Fleet) -> Fleet:
    (embedded.home / "spec.yml").write_text(SPEC)
    (embedded.home / "in").mkdir()
    (embedded.home / "in" / "a.csv").write_text("id\n1\n2\n")
    return embedded


def query(fleet: Fleet, sql: str, file: str = "w.duckdb") -> list[tuple[Any, ...]]:
    with duckdb.connect(str(fleet.home / file), read_only=True) as warehouse:
        return warehouse.sql(sql).fetchall()


def syncs(fleet: Fleet) -> list[tuple[Any, ...]]:
    return query(
        fleet, "select source_name, resources, complete from cloudquery_sync_summaries order by 1"
    )


def lines(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def test_rows_lines_and_metrics_agree(place: Fleet) -> None:
    done = place.sharder(
        "sync", "spec.yml", "--summary-location", "o/s.jsonl", "--tables-metrics-location", "o/m.txt"
    )  # fmt: skip
    assert "warning" not in done.err
    assert syncs(place) == [("one", 2, True), ("two", 2, True)]
    assert not query(
        place,
        "select 1 from information_schema.tables where table_name = 'cloudquery_sync_summaries'",
        "quiet.duckdb",
    )
    found = lines(place.home / "o/s.jsonl")
    assert [(s["source_name"], s["destination_name"], s["resources"]) for s in found] == [
        ("one", "w", 2), ("one", "quiet", 2), ("two", "w", 2), ("two", "quiet", 2),
    ]  # fmt: skip
    assert "| one.one_rows |" in (place.home / "o/m.txt").read_text()


def test_a_submitter_killed_after_the_close_is_made_up_for_by_resume(place: Fleet) -> None:
    process = place.start("sharder", "submit", "spec.yml", "--run-id", "r")
    stage = place.home / ".sharder/stage/runs/r"
    until(lambda: (stage / "closed/1.json").exists())
    kill(process)
    place.sharder("resume", "r", "--summary-location", "s.jsonl")
    assert syncs(place) == [("one", 2, True), ("two", 2, True)]
    assert len(lines(place.home / "s.jsonl")) == 4
    # The document may be lost as well: what is written is written.
    (stage / "concluded/w/1.json").unlink()
    place.sharder("submit", "spec.yml", "--run-id", "r", "--summary-location", "s.jsonl")
    assert (stage / "concluded/w/1.json").exists()
    assert syncs(place) == [("one", 2, True), ("two", 2, True)]
    assert len(lines(place.home / "s.jsonl")) == 4


def test_a_summary_that_cannot_be_written_is_a_warning_and_no_lost_run(place: Fleet) -> None:
    with duckdb.connect(str(place.home / "w.duckdb")) as warehouse:
        warehouse.execute("create table cloudquery_sync_summaries (sync_id integer)")
    done = place.sharder("submit", "spec.yml", "--run-id", "r")
    assert "warning: w: the summary was not written into 'cloudquery_sync_summaries'" in done.out
    assert query(place, "select count(*) from one_rows") == [(2,)]
    assert "the summary was not written" in place.sharder("status", "r").out


def test_a_run_that_never_had_a_plan_has_its_lines(place: Fleet) -> None:
    away = (
        "path: cloudquery/postgresql\n  spec: {connection_string: 'postgresql://u@127.0.0.1:9/x'}\n"
    )
    spec, _, _ = SPEC.rpartition("path: cloudquery/duckdb")
    (place.home / "spec.yml").write_text(spec + away)
    done = place.sharder(
        "submit", "spec.yml", "--summary-location", "s.jsonl", expect=Exit.OUTSIDE
    )  # fmt: skip
    found = lines(place.home / "s.jsonl")
    assert [(s["round"], s["exit_code"], s["complete"]) for s in found] == [(0, 4, False)] * 4
    assert found[0]["error"].splitlines()[0] in done.err


def test_files_that_cannot_be_written_end_the_command_before_the_run(place: Fleet) -> None:
    for option in ("--summary-location", "--tables-metrics-location"):
        done = place.sharder("submit", "spec.yml", option, "in/a.csv/x", expect=Exit.INPUT)
        assert option in done.err
    assert not (place.home / ".sharder/stage/runs").exists()
