"""The embedded queue, with real processes and handlers that only leave marks."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contracts.errors import Permanent
from contracts.queue import Message
from sharder.pool import Pool

FAKE = {"worker": "tests.fakes.handlers:handle", "loader": "tests.fakes.handlers:handle"}
DIES, HANGS, BEATS = "01-0000666", "01-0000777", "01-0000888"


def shard(name: int | str) -> Message:
    return Message("shard", "r", shard=name if isinstance(name, str) else f"01-{name:07d}")


def until(condition: Callable[[], object]) -> None:
    """Poll real processes; the test's own timeout ends what never happens."""
    while not condition():
        select.select([], [], [], 0.005)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def pool(tmp_path: Path, said: list[str]) -> Iterator[Pool]:
    environment = {**os.environ, "MARKS": str(tmp_path), "SHARDER_STAGE": "the stage"}
    pool = Pool(2, environment, said.append, FAKE)
    yield pool
    pool.close()


def handled(marks: Path, job: str) -> int:
    return len(list(marks.glob(f"{job}.*")))


def test_every_message_is_handled_once_by_few_processes(pool: Pool, tmp_path: Path) -> None:
    pool.put([shard(n) for n in range(20)])
    until(lambda: len(list(tmp_path.iterdir())) == 20)
    assert len({p.name.split(".")[1] for p in tmp_path.iterdir()}) <= 2
    assert {p.read_text() for p in tmp_path.iterdir()} == {"the stage"}


def test_no_process_is_started_before_there_is_something_to_do(pool: Pool) -> None:
    assert not pool.pids("worker")
    assert not pool.pids("loader")
    assert pool.workers() == 2


def test_there_is_exactly_one_loader(pool: Pool, tmp_path: Path) -> None:
    tables = [
        Message("load", "r", destination="d", source="s", table=f"t{n}", round=1) for n in range(6)
    ]
    pool.put(tables)
    until(lambda: len(list(tmp_path.iterdir())) == 6)
    assert len({p.name.split(".")[1] for p in tmp_path.iterdir()}) == 1
    assert not pool.pids("worker")


def test_a_job_has_a_heartbeat_while_its_process_lives(pool: Pool, tmp_path: Path) -> None:
    pool.put([shard(BEATS)])
    until(lambda: pool.beats("r", [BEATS]))
    first = pool.beats("r", [BEATS])
    until(lambda: pool.beats("r", [BEATS]) != first)
    assert pool.beats("other", [BEATS]) == {}
    (tmp_path / "stop").touch()
    until(lambda: not pool.beats("r", [BEATS]))


def test_a_job_that_is_queued_or_worked_on_is_not_taken_twice(pool: Pool, tmp_path: Path) -> None:
    pool.put([shard(BEATS), shard(BEATS)])
    until(lambda: handled(tmp_path, BEATS))
    pool.put([shard(BEATS)])
    pool.put([shard(1)])
    until(lambda: handled(tmp_path, "01-0000001"))
    (tmp_path / "stop").touch()
    until(lambda: not pool.beats("r", [BEATS]) and not pool.waiting())
    assert handled(tmp_path, BEATS) == 1


def test_a_dead_process_is_replaced_and_its_job_has_no_heartbeat(
    pool: Pool, tmp_path: Path
) -> None:
    pool.put([shard(DIES)])
    until(lambda: handled(tmp_path, DIES) and not pool.beats("r", [DIES]))
    pool.put([shard(1), shard(2)])
    until(lambda: handled(tmp_path, "01-0000001") and handled(tmp_path, "01-0000002"))


def test_a_killed_process_lets_go_of_its_job(pool: Pool, tmp_path: Path) -> None:
    pool.put([shard(HANGS)])
    until(lambda: handled(tmp_path, HANGS))
    os.kill(pool.pids("worker")[0], signal.SIGKILL)
    until(lambda: not pool.beats("r", [HANGS]))
    assert pool.waiting() == 0


def test_waiting_for_a_change_returns_when_a_job_ends(pool: Pool) -> None:
    pool.put([shard(1)])
    pool.wait(30)
    assert pool.waiting() == 0


def test_what_processes_say_is_passed_on_with_what_they_work_on(
    pool: Pool, said: list[str]
) -> None:
    pool.put([shard(7)])
    until(lambda: 'handled 01-0000007 run=r job="01-0000007"' in said)


def test_processes_that_cannot_even_start_are_an_error_and_no_endless_loop(
    tmp_path: Path, said: list[str]
) -> None:
    pool = Pool(1, dict(os.environ), said.append, {"worker": "tests.fakes.nothing_here:handle"})

    def insist() -> None:
        while True:
            pool.put([shard(1)])
            pool.wait(1)

    try:
        with pytest.raises(Permanent, match="ends as soon as it is started"):
            insist()
    finally:
        pool.close()
    assert any("nothing_here" in line for line in said)


def test_closing_ends_every_process_in_the_middle_of_its_work(pool: Pool, tmp_path: Path) -> None:
    pool.put([shard(HANGS)])
    until(lambda: handled(tmp_path, HANGS))
    pids = pool.pids("worker")
    pool.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


PARENT = """
import os, sys
from contracts.errors import Permanent
from contracts.queue import Message
from sharder.pool import Pool
pool = Pool(1, dict(os.environ), print, {"worker": "tests.fakes.handlers:handle"})
pool.put([Message("shard", "r", shard="01-0000777")])
while not pool.beats("r", ["01-0000777"]):
    pool.wait(0.01)
print(pool.pids("worker")[0], flush=True)
pool.wait(600)
"""


def test_processes_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    environment = {**os.environ, "MARKS": str(tmp_path), "PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], env=environment, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        parent.kill()
    until(lambda: not _alive(pid))


def _alive(pid: int) -> bool:
    """A zombie is dead; who reaps it is a matter of the machine."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
