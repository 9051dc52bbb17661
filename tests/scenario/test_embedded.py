"""Whole runs on one machine through the command line: hackernews → DuckDB, with and without kills."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import duckdb
import orjson
import pytest

from contracts.errors import Exit
from tests.fakes.hackernews import FakeHackerNews, Forum

ITEMS = 12_000
SPEC = """
kind: source
spec:
  name: hackernews
  path: cloudquery/hackernews
  tables: ["*"]
  backend_options: {{table_name: cq_state_hackernews, connection: "@@plugins.duckdb.connection"}}
  destinations: [duckdb]
  spec: {{item_concurrency: 100, base_url: {url}}}
---
kind: destination
spec:
  name: duckdb
  path: cloudquery/duckdb
  write_mode: overwrite-delete-stale
  spec: {{connection_string: ./hn.duckdb}}
"""


@pytest.fixture
def forum() -> Iterator[FakeHackerNews]:
    with FakeHackerNews(Forum(ITEMS, int(time.time()))) as server:
        yield server


@pytest.fixture
def place(tmp_path: Path, forum: FakeHackerNews) -> Path:
    (tmp_path / "spec.yml").write_text(SPEC.format(url=forum.url))
    return tmp_path


def start(place: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", "from sharder.cli import main; main()", *words],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def sharder(place: Path, *words: str, expect: int = 0) -> str:
    return end(start(place, *words), expect)


def end(process: subprocess.Popen[str], expect: int = 0) -> str:
    out, err = process.communicate()
    assert process.returncode == expect, out + err
    return out


def until(condition: Callable[[], object]) -> None:
    """Poll real processes; the test's own timeout ends what never happens."""
    while not condition():
        select.select([], [], [], 0.002)


def kill_child(parent: subprocess.Popen[str], handler: str) -> None:
    # Children are started by the pool's thread or by the main one: both are tasks of the parent.
    tasks = [int(p.name) for p in Path(f"/proc/{parent.pid}/task").iterdir()]
    for task in tasks:
        listed = Path(f"/proc/{parent.pid}/task/{task}/children").read_text().split()
        for pid in map(int, listed):
            if handler.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
                return
    pytest.fail(f"no process serves {handler}")


def ids(place: Path) -> list[int]:
    with duckdb.connect(str(place / "hn.duckdb"), read_only=True) as warehouse:
        return [
            i for (i,) in warehouse.sql("select id from hackernews_items order by id").fetchall()
        ]


def whole(forum: FakeHackerNews) -> list[int]:
    return [n for n in range(1, forum.forum.count + 1) if forum.forum.exists(n)]


def runs(place: Path) -> Sequence[str]:
    return sorted(p.name for p in (place / ".sharder/stage/runs").iterdir())


def test_the_second_run_fetches_only_what_is_new(place: Path, forum: FakeHackerNews) -> None:
    answer = sharder(place, "submit", "spec.yml").splitlines()
    assert f"{len(whole(forum)):,} rows" in answer[-1]
    assert ids(place) == whole(forum)
    forum.forum.seen.clear()
    forum.forum.grow(500)
    sharder(place, "submit", "spec.yml")
    assert ids(place) == whole(forum)
    assert sum(forum.forum.seen.values()) < 700
    assert "transactional" in answer[0]


def test_a_worker_killed_in_the_middle_loses_and_doubles_nothing(
    place: Path, forum: FakeHackerNews
) -> None:
    process = start(place, "submit", "spec.yml", "--json")
    until(lambda: len(forum.forum.seen) > 1000)
    kill_child(process, "worker.handle")
    summary = orjson.loads(end(process))
    assert ids(place) == whole(forum)
    assert summary["exit_code"] == Exit.OK


def test_a_loader_killed_in_the_middle_loses_and_doubles_nothing(
    place: Path, forum: FakeHackerNews
) -> None:
    process = start(place, "submit", "spec.yml")
    until(lambda: list(place.glob(".sharder/stage/runs/*/attempts/load*/*.json")))
    kill_child(process, "loader.handle")
    end(process)
    assert ids(place) == whole(forum)


def test_a_killed_submitter_is_resumed(place: Path, forum: FakeHackerNews) -> None:
    process = start(place, "submit", "spec.yml")
    until(lambda: len(forum.forum.seen) > 1000)
    process.kill()
    process.communicate()
    (run,) = runs(place)
    assert "interrupted" in sharder(place, "status", run)
    answer = sharder(place, "resume", run)
    assert ids(place) == whole(forum)
    assert answer == sharder(place, "resume", run)  # closed: the same answer, and no more work


def test_an_interrupted_submitter_says_how_to_go_on(place: Path, forum: FakeHackerNews) -> None:
    process = start(place, "submit", "spec.yml", "--run-id", "nightly")
    until(lambda: len(forum.forum.seen) > 1000)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == Exit.INTERRUPTED
    assert "sharder resume nightly" in err
    assert "Traceback" not in err
    sharder(place, "submit", "spec.yml", "--run-id", "nightly")
    assert runs(place) == ["nightly"]
    assert ids(place) == whole(forum)


def test_the_next_submit_loads_what_an_abandoned_run_had_extracted(
    place: Path, forum: FakeHackerNews
) -> None:
    process = start(place, "submit", "spec.yml", "--run-id", "first")
    until(lambda: len(forum.forum.seen) > 1000)
    process.kill()
    process.communicate()
    sharder(place, "submit", "spec.yml", "--run-id", "second")
    assert ids(place) == whole(forum)
    assert "closed" in sharder(place, "status", "first")


def test_two_submits_of_one_source_do_not_overlap(place: Path, forum: FakeHackerNews) -> None:
    process = start(place, "submit", "spec.yml", "--run-id", "first")
    until(lambda: len(forum.forum.seen) > 1000)
    os.kill(process.pid, signal.SIGSTOP)
    try:
        sharder(place, "submit", "spec.yml", expect=Exit.LEASE)
    finally:
        os.kill(process.pid, signal.SIGCONT)
    end(process)
    assert ids(place) == whole(forum)


def test_embedded_keeps_the_last_three_runs(place: Path, forum: FakeHackerNews) -> None:
    for n in range(5):
        sharder(place, "submit", "spec.yml", "--run-id", f"run{n}")
    assert runs(place) == ["run2", "run3", "run4"]
