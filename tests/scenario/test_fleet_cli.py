"""Whole runs through Redis and the real worker and loader programs: submit, detach, watch, kill."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from contracts.errors import Exit
from tests.fakes.hackernews import FakeHackerNews, Forum

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
  spec: {{connection_string: ./hn.duckdb}}
"""

pytestmark = pytest.mark.redis


class Fleet:
    """Programs of ours around one Redis and one stage, in one directory."""

    def __init__(self, home: Path, broker: str) -> None:
        self.home = home
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(Path.cwd()),
            "SHARDER_BROKER": broker,
            "SHARDER_STAGE": str(home / "stage"),
        }
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, program: str, *words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", f"from {program}.cli import main; main()", *words],
            cwd=self.home,
            env=self._environment,
            stdout=subprocess.PIPE if program == "sharder" else subprocess.DEVNULL,
            stderr=subprocess.PIPE if program == "sharder" else subprocess.DEVNULL,
            text=True,
        )
        self.processes.append(process)
        return process

    def sharder(self, *words: str, expect: int = 0) -> tuple[str, str]:
        process = self.start("sharder", *words)
        out, err = process.communicate()
        assert process.returncode == expect, out + err
        return out, err

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.communicate()


@pytest.fixture
def forum() -> Iterator[FakeHackerNews]:
    with FakeHackerNews(Forum(3000, int(time.time()))) as server:
        yield server


@pytest.fixture
def fleet(tmp_path: Path, redis_url: str, forum: FakeHackerNews) -> Iterator[Fleet]:
    (tmp_path / "spec.yml").write_text(SPEC.format(url=forum.url))
    found = Fleet(tmp_path, redis_url)
    yield found
    found.stop()


def until(condition: Callable[[], object]) -> None:
    while not condition():
        select.select([], [], [], 0.01)


def ids(fleet: Fleet) -> list[int]:
    """What is loaded, once the fleet is gone: its loader keeps the file to itself."""
    fleet.stop()
    with duckdb.connect(str(fleet.home / "hn.duckdb")) as warehouse:
        return [
            i for (i,) in warehouse.sql("select id from hackernews_items order by id").fetchall()
        ]


def whole(forum: FakeHackerNews) -> list[int]:
    return [n for n in range(1, forum.forum.count + 1) if forum.forum.exists(n)]


def test_a_run_on_a_fleet(fleet: Fleet, forum: FakeHackerNews) -> None:
    fleet.start("worker", "run")
    fleet.start("loader", "run")
    out, _ = fleet.sharder("submit", "spec.yml")
    assert out.splitlines()[-1].endswith("1 cell ok")
    assert ids(fleet) == whole(forum)


def test_a_detached_run_is_brought_to_its_end_by_the_watch(
    fleet: Fleet, forum: FakeHackerNews
) -> None:
    fleet.start("worker", "run")
    fleet.start("loader", "run")
    _, err = fleet.sharder("submit", "spec.yml", "--detach", expect=Exit.OUTSIDE)
    assert "no `sharder watch` is alive" in err
    fleet.start("sharder", "watch")
    until(lambda: list(fleet.home.glob("stage/leases/%/watch.json")))
    fleet.sharder("submit", "spec.yml", "--detach", "--run-id", "nightly")
    until(lambda: list(fleet.home.glob("stage/runs/nightly/closed/1.json")))
    out, _ = fleet.sharder("status", "nightly")
    assert "closed" in out
    assert ids(fleet) == whole(forum)


def test_a_submitter_that_is_killed_is_resumed_from_the_stage_alone(
    fleet: Fleet, forum: FakeHackerNews
) -> None:
    fleet.start("loader", "run")
    submit = fleet.start("sharder", "submit", "spec.yml", "--run-id", "nightly")
    until(lambda: list(fleet.home.glob("stage/runs/nightly/plan/1/index.json")))
    submit.kill()
    fleet.start("worker", "run")
    out, _ = fleet.sharder("resume", "nightly")
    assert out.splitlines()[-1].endswith("1 cell ok")
    assert ids(fleet) == whole(forum)


def test_without_a_worker_submit_waits_and_says_so(fleet: Fleet, forum: FakeHackerNews) -> None:
    fleet.start("loader", "run")
    submit = fleet.start("sharder", "submit", "spec.yml")
    assert submit.stderr
    for line in submit.stderr:
        if "no worker is alive" in line:
            break
    fleet.start("worker", "run")
    out, _ = submit.communicate()
    assert submit.returncode == 0, out
    assert ids(fleet) == whole(forum)


def test_a_cancelled_run_ends_with_what_it_has(fleet: Fleet) -> None:
    fleet.start("loader", "run")
    submit = fleet.start("sharder", "submit", "spec.yml", "--run-id", "nightly")
    until(lambda: list(fleet.home.glob("stage/runs/nightly/plan/1/index.json")))
    said, _ = fleet.sharder("cancel", "nightly")
    assert "ends now" in said
    out, _ = submit.communicate()
    assert submit.returncode == Exit.OUTSIDE
    assert "1 cell failed: cancelled" in out
    assert "nothing was loaded" in out


def test_a_retry_does_what_failed_and_nothing_else(fleet: Fleet, forum: FakeHackerNews) -> None:
    fleet.start("loader", "run")
    submit = fleet.start("sharder", "submit", "spec.yml", "--run-id", "nightly", "--deadline", "1s")
    out, _ = submit.communicate()
    assert submit.returncode == Exit.OUTSIDE
    assert "timeout" in out
    fleet.start("worker", "run")
    out, _ = fleet.sharder("retry", "nightly")
    assert "round 2" in out
    _, err = fleet.sharder("retry", "nightly")
    assert "nothing to try again" in err
    assert ids(fleet) == whole(forum)
