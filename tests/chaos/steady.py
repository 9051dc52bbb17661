"""Whether something stayed flat: a rule for the figures of a soak, so that neither luck nor one bad moment decides.

A series *grows* when two things agree: the median of its last third is above that of its first third by more
than its allowance, and so is its rise, the median slope between all pairs of looks (Theil and Sen) times the
span. One outlier moves neither; a slow leak moves both. What is allowed is a share of the first third, for
allocators that settle, plus a few units, for what is open at the moment of a look. Seconds say something only
beside those of work that never changes: other programs may come to the machine (`paced`).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

from tests.fakes.servers import ROOT

# What always takes the same, unless the machine has more to do: a program starts and imports.
FIXED = "import duckdb, psycopg, pyarrow.parquet, sharder.cli.runs, sharder.run, sharder.report"
MIB = 1 << 20
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Allowance:
    """How much more a series may be in its last third than in its first."""

    share: float = 0.0
    units: float = 0.0

    def of(self, level: float) -> float:
        return self.share * level + self.units


# By the last word of a series' name.
ALLOWED: Mapping[str, Allowance] = {
    "rss": Allowance(0.05, 4 * MIB),
    "threads": Allowance(0, 1),
    "fds": Allowance(0, 2),
    "keys": Allowance(0, 2),
    "memory": Allowance(0.05, MIB / 2),
    "objects": Allowance(0.02, 5),
    "connections": Allowance(0, 1),
    "landings": Allowance(0, 0),
    "seconds": Allowance(0.25, 0.5),
}

FEWEST = 9  # looks: three in each third


@dataclass(frozen=True)
class Verdict:
    """One series, judged. `rise`: by the median slope, over the whole span."""

    name: str
    first: float
    last: float
    rise: float
    allowed: float

    @property
    def grows(self) -> bool:
        return self.last - self.first > self.allowed and self.rise > self.allowed


def judge(name: str, points: Points) -> Verdict:
    """`points`: (seconds, value), ascending. Raises ValueError for too few of them to say anything."""
    if len(points) < FEWEST:
        raise ValueError(f"{name}: {len(points)} looks; at least {FEWEST} are needed")
    third = len(points) // 3
    first = median(value for _, value in points[:third])
    last = median(value for _, value in points[-third:])
    slopes = [(b - a) / (t - s) for (s, a), (t, b) in combinations(points, 2) if t > s]
    rise = (median(slopes) if slopes else 0.0) * (points[-1][0] - points[0][0])
    return Verdict(name, first, last, rise, ALLOWED[name.rsplit(" ", 1)[-1]].of(first))


def paced(points: Points, fixed: Points) -> Points:
    """What took these seconds, had the machine stayed as quick as it was at first.

    `fixed`: the seconds of the same work each time, at the same looks. Where that took longer than in its first
    third, the machine was busy with something else; where it took less, nothing is said.
    """
    usual = median(value for _, value in fixed[: max(1, len(fixed) // 3)])
    slower = [max(1.0, value / usual) for _, value in fixed]
    return [(at, value / slow) for (at, value), slow in zip(points, slower, strict=True)]


def slowness() -> float:
    """How many times longer than its own CPU time a program takes to start and import; 1 on a quiet machine."""
    began, before = time.monotonic(), os.times()
    subprocess.run([sys.executable, "-c", FIXED], cwd=ROOT, check=True)
    after = os.times()
    used = (
        after.children_user + after.children_system - before.children_user - before.children_system
    )
    return max(1.0, (time.monotonic() - began) / max(used, 0.01))


def seconds_of_fixed_work() -> float:
    """By the clock."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", FIXED], cwd=ROOT, check=True)
    return time.monotonic() - began


def table(verdicts: Sequence[Verdict]) -> str:
    """A line per series."""
    lines = [f"{'':36} {'first third':>12} {'last third':>12} {'rise':>10} {'allowed':>10}"]
    for v in verdicts:
        shown = [_shown(v.name, x) for x in (v.first, v.last, v.rise, v.allowed)]
        state = "GROWS" if v.grows else "flat"
        lines.append(
            f"{v.name:36} {shown[0]:>12} {shown[1]:>12} {shown[2]:>10} {shown[3]:>10}  {state}"
        )
    return "\n".join(lines)


def _shown(name: str, value: float) -> str:
    if name.endswith((" rss", " memory")):
        return f"{value / MIB:.1f} MiB"
    return f"{value:.1f}"
