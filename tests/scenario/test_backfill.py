"""A backfill of days through the command line: every day once, whatever is killed in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest

from contracts.errors import Exit
from tests.fakes.fleet import Fleet, kill, until

SPEC = """
kind: source
spec:
  name: days
  path: cloudquery/file
  tables: ["*"]
  destinations: [w]
  spec:
    table: days
    sample_bytes: 1024
    path: ./in/${time:1 day ago|2006-01-02}.csv
---
kind: destination
spec:
  name: w
  path: cloudquery/duckdb
  write_mode: append
  send_sync_summary: true
  sync_group_id: "{{YEAR}}"
  spec: {connection_string: ./w.duckdb}
"""
DAYS = [f"2026-01-{n:02d}" for n in range(1, 7)]
WORDS = ("submit", "spec.yml", "--backfill", "2026-01-01..2026-01-07", "--every", "1d")


@pytest.fixture
def days(embedded: Fleet) -> Fleet:
    """Six files of three rows each."""
    (embedded.home / "spec.yml").write_text(SPEC)
    (embedded.home / "in").mkdir()
    for day in DAYS:
        write(embedded, day)
    return embedded


def write(fleet: Fleet, day: str) -> None:
    lines = ["id,day", *(f"{n},{day}" for n in range(3))]
    (fleet.home / "in" / f"{day}.csv").write_text("\n".join(lines) + "\n")


def query(fleet: Fleet, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(fleet.home / "w.duckdb"), read_only=True) as warehouse:
        return warehouse.sql(sql).fetchall()


def loaded(fleet: Fleet) -> list[tuple[str, int]]:
    return query(fleet, "select day::text, count(*) from days group by 1 order by 1")


def records(home: Path) -> list[str]:
    return sorted(p.stem for p in home.glob(".sharder/stage/backfills/*/*.json"))


def test_a_backfill_that_is_killed_and_repeated_loads_every_day_once(days: Fleet) -> None:
    process = days.start("sharder", *WORDS, "--run-id", "jan", "--summary-location", "out/s.jsonl")
    third = ".sharder/stage/runs/jan-20260103-20260104/commits/*.json"
    until(lambda: list(days.home.glob(third)))
    kill(process)
    assert len(records(days.home)) == 2
    done = days.sharder(*WORDS, "--run-id", "jan", "--summary-location", "out/s.jsonl")
    assert "6 intervals of 1d, 4 to do" in done.err
    assert "interval 3 of 6: 2026-01-03 … 2026-01-04" in done.err
    assert loaded(days) == [(day, 3) for day in DAYS]
    assert len(records(days.home)) == 6
    runs = query(days, "select sync_id, resources, _cq_sync_group_id from cloudquery_sync_summaries order by 1")  # fmt: skip
    assert [r for r, _, _ in runs] == [f"jan-2026010{n}-2026010{n + 1}" for n in range(1, 7)]
    assert {n for _, n, _ in runs} == {3}
    lines = [orjson.loads(line) for line in (days.home / "out/s.jsonl").read_bytes().splitlines()]
    assert [line["sync_id"] for line in lines] == [r for r, _, _ in runs]
    again = days.sharder(*WORDS, "--run-id", "jan")
    assert "0 to do" in again.err
    assert loaded(days) == [(day, 3) for day in DAYS]


def test_an_interval_that_fails_stops_the_backfill_and_the_same_command_tries_it_again(
    days: Fleet,
) -> None:
    # What the sample does not show is found when the shard is read.
    good = "".join(f"{n},{DAYS[1]}\n" for n in range(1000))
    (days.home / "in" / f"{DAYS[1]}.csv").write_text(f"id,day\n{good}1,2,3\n")
    done = days.sharder(*WORDS, expect=Exit.OUTSIDE)
    assert "interval 2 of 6 ended with exit code 4" in done.err
    assert loaded(days) == [(DAYS[0], 3)]
    write(days, DAYS[1])
    assert "5 to do" in days.sharder(*WORDS).err
    assert loaded(days) == [(day, 3) for day in DAYS]


def test_a_failed_interval_need_not_keep_the_others_from_running(days: Fleet) -> None:
    (days.home / "in" / f"{DAYS[1]}.csv").write_text("id,day\n1,2,3\n")
    done = days.run(*WORDS, "--keep-going")
    assert done.code == Exit.PARTIAL, done.said
    assert "5 of 6 intervals are done" in done.err
    assert loaded(days) == [(day, 3) for day in DAYS if day != DAYS[1]]


def test_options_of_a_backfill_need_a_backfill(days: Fleet) -> None:
    done = days.sharder("submit", "spec.yml", "--every", "1d", expect=Exit.INPUT)
    assert "belong to --backfill" in done.err
