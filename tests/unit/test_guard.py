"""The limits of an attempt: what is over them, what is said, and that the process ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts import guard as guarding
from contracts import memory
from contracts.errors import SharderError
from contracts.guard import GAVE_UP, Caps, Guard, TooBig, TooLong, end, stack
from loader.pulse import beating
from tests.fakes.runs import Steady
from worker.pulse import Pulse

FAST_S = 0.001


class Process:
    """A clock and a memory that the test moves."""

    def __init__(self) -> None:
        self.now_s, self.bytes = 0.0, 0

    def guard(self, **caps: float) -> Guard:
        return Guard(Caps(**caps), clock=lambda: self.now_s, resident=lambda: self.bytes)  # type: ignore[arg-type]


def test_without_limits_nothing_is_ever_over_them():
    process = Process()
    guard = process.guard()
    guard.begin()
    process.now_s, process.bytes = 1e9, 1 << 50
    assert guard.look() is None
    assert not guard.watches


def test_time_is_counted_from_the_beginning_of_the_work_and_not_from_the_wait_before_it():
    process = Process()
    guard = process.guard(seconds=60)
    process.now_s = 1000
    assert guard.look() is None
    guard.begin()
    process.now_s += 60
    assert guard.look() is None
    process.now_s += 1
    found = guard.look()
    assert isinstance(found, TooLong)
    assert found.reason == "timeout"


def test_memory_runs_short_before_it_is_too_much():
    process = Process()
    guard = process.guard(memory_bytes=100 << 20)
    process.bytes = 79 << 20
    assert guard.look() is None
    assert not guard.pressed()
    process.bytes = 81 << 20
    assert guard.look() is None
    assert guard.pressed()
    assert not guard.pressed()
    process.bytes = 101 << 20
    found = guard.look()
    assert isinstance(found, TooBig)
    assert found.reason == "memory"
    assert "101 MiB of memory and may have 100 MiB" in str(found)


def test_a_blocked_thread_is_found_with_its_innermost_frames():
    blocked = threading.Event()
    ready = threading.Event()

    def waits_for_ever() -> None:
        ready.set()
        blocked.wait()

    thread = threading.Thread(target=waits_for_ever)
    thread.start()
    ready.wait()
    assert thread.ident
    told = stack(thread.ident)
    blocked.set()
    thread.join()
    assert "waits_for_ever" in told
    assert told.startswith("threading.py:")
    assert stack(0) == "a place that is not known"


def test_the_process_ends_even_if_the_stage_does_not_answer(monkeypatch):
    monkeypatch.setattr(guarding, "FAREWELL_S", FAST_S)
    codes: list[int] = []
    never = threading.Event()
    end(lambda: bool(never.wait()), codes.append)
    assert codes == [GAVE_UP]
    never.set()


@pytest.fixture
def ended() -> tuple[threading.Event, list[object]]:
    return threading.Event(), []


def over(process: Process) -> Guard:
    process.bytes = 2
    return process.guard(memory_bytes=1)


def exits(ended: tuple[threading.Event, list[object]]) -> Callable[[int], object]:
    def exit_(code: int) -> None:
        ended[1].append(code)
        ended[0].set()

    return exit_


def test_a_worker_says_why_stops_its_beat_and_ends(ended):
    heart = Steady()
    said: list[SharderError] = []
    pulse = Pulse(
        heart, run="r", job="s", attempt="a", cancelled=lambda: False, beat_s=FAST_S,
        guard=over(Process()), give_up=said.append, exit_=exits(ended),
    )  # fmt: skip
    with pulse:
        assert ended[0].wait(30)
    assert ended[1] == [GAVE_UP]
    assert [e.reason for e in said] == ["memory"]
    assert heart.beats == 0


def test_a_loader_does_the_same_for_memory(ended):
    said: list[SharderError] = []
    with beating(
        Steady(), "r", "load", "a", guard=over(Process()), give_up=said.append, exit_=exits(ended)
    ):
        assert ended[0].wait(30)
    assert ended[1] == [GAVE_UP]
    assert [e.reason for e in said] == ["memory"]


def group(root: Path, line: str, **files: str) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(line)
    for path, text in files.items():
        file = root / path.replace("__", "/").replace("_dot_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def test_the_smallest_limit_of_the_group_and_those_around_it_holds(tmp_path):
    root = group(
        tmp_path,
        "0::/kubepods/pod1/c1\n",
        sys__fs__cgroup__kubepods__pod1__c1__memory_dot_max="max\n",
        sys__fs__cgroup__kubepods__pod1__memory_dot_max="1000\n",
        sys__fs__cgroup__kubepods__memory_dot_max="5000\n",
    )
    assert memory.limit_bytes(root) == 1000
    assert memory.cap_bytes(0, 2, root=root) == 450
    assert memory.cap_bytes(77, 2, root=root) == 77


def test_in_a_container_the_mount_itself_is_the_group(tmp_path):
    root = group(
        tmp_path,
        "0::/\n",
        sys__fs__cgroup__memory_dot_max="2000",
        sys__fs__cgroup__memory_dot_events="low 0\noom 3\noom_kill 2\n",
    )
    assert memory.limit_bytes(root) == 2000
    assert memory.oom_kills(root) == 2


def test_version_one_of_cgroups_and_its_way_to_say_no_limit(tmp_path):
    root = group(
        tmp_path,
        "5:cpu:/x\n9:memory:/x\n",
        sys__fs__cgroup__memory__x__memory_dot_limit_in_bytes="3000",
        sys__fs__cgroup__memory__memory_dot_limit_in_bytes="9223372036854771712",
    )
    assert memory.limit_bytes(root) == 3000


def test_without_a_limit_there_is_no_cap(tmp_path):
    assert memory.limit_bytes(tmp_path) == 0
    assert memory.cap_bytes(0, 4, root=tmp_path) == 0
    assert memory.oom_kills(tmp_path) == 0


def test_memory_of_a_process_is_what_the_kernel_says():
    assert memory.resident_bytes() > 10 << 20
    assert memory.resident_bytes(1 << 30) == 0


def test_a_process_is_replaced_well_below_its_cap():
    assert memory.recycle_bytes() == 700 << 20
    assert memory.recycle_bytes(100 << 20) == 60 << 20
