"""Whole embedded runs with something in their way: a locked warehouse, an impatient user, a wrong password."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from contracts.errors import Exit
from tests.fakes.fleet import Fleet, ended, until
from tests.fakes.specs import duckdb as into
from tests.fakes.specs import postgresql, spec, tree

ROOTS = 6  # rows of `root0`: two clients


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(tmp_path) as place:
        yield place


def count(file: Path) -> int:
    with duckdb.connect(str(file), read_only=True) as warehouse:
        return warehouse.sql("SELECT count(*) FROM root0").fetchall()[0][0]


def holding(file: Path) -> subprocess.Popen[bytes]:
    """Another process that has the database file open, until it is told to end."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"import duckdb; c = duckdb.connect({str(file)!r}); print(flush=True); input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    return process


def two(**options: object) -> str:
    document = dict(tree(**options))
    document["spec"] = {**document["spec"], "destinations": ["a", "b"]}
    both = (into(f"./{n}.duckdb", n, write_mode="append") for n in "ab")
    return spec(document, *both)


@pytest.mark.timeout(180)
def test_a_destination_that_failed_is_loaded_by_retry_and_the_other_is_not_doubled(place):
    home, gate = place.home, place.home / "gate"
    gate.mkdir()
    (home / "spec.yml").write_text(two(gate=str(gate)))
    running = place.start("sharder", "submit", "spec.yml", "--run-id", "r", "--workers", "1")
    until(lambda: list(gate.iterdir()))
    # The loader has opened both files in `prepare`; a new one has to open them again.
    for pid in children(running.pid, b"loader.handle"):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not children(running.pid, b"loader.handle"))
    holder = holding(home / "b.duckdb")
    (gate / "open").touch()
    done = ended(running)
    assert done.code == Exit.PARTIAL, done.said
    assert "open in another process" in done.out
    holder.communicate(b"\n")
    assert count(home / "a.duckdb") == ROOTS
    place.sharder("retry", "r", expect=Exit.OK)
    assert (count(home / "a.duckdb"), count(home / "b.duckdb")) == (ROOTS, ROOTS)
    assert "nothing to try again" in place.sharder("retry", "r").said


def children(parent: int, handler: bytes) -> list[int]:
    found = []
    for task in Path(f"/proc/{parent}/task").iterdir():
        for pid in map(int, (task / "children").read_text().split()):
            line = Path(f"/proc/{pid}/cmdline")
            if line.exists() and handler in line.read_bytes():
                found.append(pid)
    return found


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_run_leaves_no_process_and_is_resumed_whole(place, how):
    home, gate = place.home, place.home / "gate"
    gate.mkdir()
    (home / "spec.yml").write_text(two(gate=str(gate)))
    running = place.start("sharder", "submit", "spec.yml", "--run-id", "r")
    until(lambda: list(gate.iterdir()))
    left = children(running.pid, b"handle:handle") + children(running.pid, b".handle")
    running.send_signal(how)
    done = ended(running)
    assert done.code == Exit.INTERRUPTED
    assert "sharder resume r" in done.err
    assert left
    assert not any(Path(f"/proc/{pid}").exists() for pid in left)
    (gate / "open").touch()
    place.sharder("resume", "r")
    assert (count(home / "a.duckdb"), count(home / "b.duckdb")) == (ROOTS, ROOTS)


@pytest.mark.parametrize("json", [(), ("--json",)])
@pytest.mark.parametrize("password", ["pl4nted", "pl4nted/rest1", "pl4nted@rest1"])
def test_a_password_that_is_refused_is_nowhere_to_be_found(place, json, password):
    """Written out in the spec of an embedded run, and refused by the warehouse."""
    dsn = f"postgresql://ann:{password}@127.0.0.1:1/db"
    (place.home / "spec.yml").write_text(spec(tree(), postgresql(dsn)))
    done = place.run("submit", "spec.yml", *json, SHARDER_LOG_LEVEL="debug")
    assert done.code == Exit.OUTSIDE
    kept = [p.read_text() for p in place.home.rglob("*") if p.is_file() and p.name != "spec.yml"]
    assert not re.search("pl4nted|rest1", done.said + "".join(kept))


def test_a_cancelled_run_is_retried_whole(place):
    home, gate = place.home, place.home / "gate"
    gate.mkdir()
    (home / "spec.yml").write_text(two(gate=str(gate)))
    running = place.start("sharder", "submit", "spec.yml", "--run-id", "r")
    until(lambda: list(gate.iterdir()))
    place.sharder("cancel", "r")
    assert ended(running).code == Exit.OUTSIDE
    (gate / "open").touch()
    place.sharder("retry", "r")
    assert (count(home / "a.duckdb"), count(home / "b.duckdb")) == (ROOTS, ROOTS)
