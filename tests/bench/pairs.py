"""Measure a system against a yardstick in one run: paired, alternating, with a self-control.

Absolute times on a shared machine mean little; the median of paired ratios means something. The
control is the yardstick against itself: outside 0.85 to 1.15 the run is void and says so.
"""

from __future__ import annotations

import gc
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

Job = Callable[[], object]

HEADER = (
    "| what | against | measured (range) | control | aim | verdict | detail |\n"
    "| --- | --- | --- | --- | --- | --- | --- |"
)


@dataclass(frozen=True)
class Ratio:
    """`ratio` is yardstick time over system time: 1 is as fast, 2 is twice as fast."""

    name: str
    ratio: float
    low: float
    high: float
    control: float
    aim: float
    yardstick: str
    detail: str = ""

    @property
    def verdict(self) -> str:
        if not 0.85 <= self.control <= 1.15:
            return "void"
        return "met" if self.ratio >= self.aim else "missed"

    def line(self) -> str:
        return (
            f"| {self.name} | {self.yardstick} | {self.ratio:.2f} × ({self.low:.2f}–{self.high:.2f}) "
            f"| {self.control:.2f} | ≥ {self.aim:.2f} | {self.verdict} | {self.detail} |"
        )


@dataclass(frozen=True)
class Figure:
    """One number that must not be above its aim; there is nothing to compare it with."""

    name: str
    value: float
    unit: str
    most: float
    against: str = "–"
    detail: str = ""

    @property
    def verdict(self) -> str:
        return "met" if self.value <= self.most else "missed"

    def line(self) -> str:
        return (
            f"| {self.name} | {self.against} | {self.value:.3g} {self.unit} | – "
            f"| ≤ {self.most:g} {self.unit} | {self.verdict} | {self.detail} |"
        )


Result = Ratio | Figure


def cpu() -> float:
    """CPU seconds of this process and of its finished children."""
    found = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in found)


def timed(job: Job, clock: Callable[[], float], before: Job | None = None) -> float:
    if before:
        before()
    gc.collect()
    start = clock()
    job()
    return max(clock() - start, 1e-9)


def compare(
    name: str,
    system: Job,
    yardstick: Job,
    *,
    against: str,
    aim: float,
    rounds: int = 7,
    clock: Callable[[], float] = time.perf_counter,
    detail: str = "",
    before: Job | None = None,
) -> Ratio:
    """Rounds of (yardstick, system, yardstick again), the order swapped each round.

    `before` runs ahead of every job and is not measured. Details get the median seconds of both.
    """
    timed(system, clock, before)
    timed(yardstick, clock, before)
    ratios, controls = [], []
    ours: list[float] = []
    theirs: list[float] = []
    for i in range(rounds):
        order = [("y", yardstick), ("s", system), ("c", yardstick)]
        if i % 2:
            order.reverse()
        took = {key: timed(job, clock, before) for key, job in order}
        ratios.append((took["y"] + took["c"]) / 2 / took["s"])
        controls.append(took["y"] / took["c"])
        ours.append(took["s"])
        theirs += [took["y"], took["c"]]
    kind = "CPU s" if clock is cpu else "s"
    seconds = f"{statistics.median(ours):.2f} and {statistics.median(theirs):.2f} {kind}"
    return Ratio(
        name,
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        statistics.median(controls),
        aim,
        against,
        "; ".join(filter(None, [detail, seconds, f"{rounds} rounds"])),
    )


def peak_mb(module: str, *arguments: str, env: dict[str, str] | None = None) -> float:
    """Peak resident memory of `python -m module arguments` in MB, children not counted.

    From /proc: the maximum that getrusage gives starts at the size of the process that started this one.
    """
    code = (
        "import re, runpy, sys; sys.argv = sys.argv[1:]; "
        "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True); "
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) / 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, module, *arguments],
        check=False, capture_output=True, text=True, env=env,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{module} {' '.join(arguments)} failed:\n{done.stderr}")
    return float(done.stdout.strip().splitlines()[-1])
