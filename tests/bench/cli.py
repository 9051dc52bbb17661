"""`sharder --help`: what every command pays before it does anything."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator

from tests.bench.pairs import Figure, Result
from tests.bench.scale import Scale


def help_cpu() -> float:
    """CPU seconds of the command in a process of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-c", "from sharder.cli import main; main()", "--help"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def bench(scale: Scale) -> Iterator[Result]:
    help_cpu()
    found = [help_cpu() for _ in range(scale.rounds)]
    yield Figure(
        "sharder --help", statistics.median(found), "s CPU", 0.3, detail=f"median of {len(found)}"
    )
