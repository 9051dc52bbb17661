"""A DuckDB whose loader misbehaves in the middle of a load: the table's name says how, `greed` when. A test's own destination.

`grows` takes memory without an end, `prepares` does so before anything is extracted, `killed` is ended by the system.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from loader.shape import PhysicalTable
from loader.warehouses import duckdb

DIALECT = duckdb.DIALECT  # part of what a destination's module has
STEP_BYTES = 32 << 20


class Options(duckdb.Options):
    """`greed`: a file; while it is there the loader is greedy."""

    greed: str = ""


class Greedy(duckdb.DuckDB):
    greedy: Callable[[], bool]

    def prepare(self) -> None:
        super().prepare()
        if self.greedy() and Path("prepares").exists():
            _grow()

    def describe(self, table: str) -> PhysicalTable | None:
        """What every load of a table asks first."""
        if self.greedy() and table == "grows":
            _grow()
        if self.greedy() and table == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().describe(table)


def open(options: Options) -> Greedy:  # noqa: A001 the registry's name
    found = Greedy(duckdb.open(options)._connection)
    found.greedy = Path(options.greed).exists
    return found


def _grow() -> None:
    held, pause = [], threading.Event()
    while True:
        held.append(bytearray(b"x" * STEP_BYTES))
        pause.wait(0.01)
