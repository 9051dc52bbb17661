"""What a program has logged so far, counted: some plugins leave rows out and say so nowhere else."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from contracts.plugin.said import Said

MOST_TABLES = 10_000  # that are told apart; a program may name anything
MOST_MESSAGE = 2000  # characters that are kept of an error
LAST = 15  # lines of standard error that are kept


@dataclass(frozen=True)
class Logged:
    """The errors of one table: the first line, how many, and the client that the first line names."""

    message: str
    count: int
    client: str = ""


class Tally:
    """Thread-safe: fed by the drain, read by whoever uses the program."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failed: dict[str, Logged] = {}
        self._last_lines: deque[str] = deque(maxlen=LAST)
        self.errors = self.warnings = self.lines = 0
        self.last_s = clock()

    def add(self, said: Said) -> None:
        with self._lock:
            self.last_s = self._clock()
            self.lines += 1
            self.warnings += said.level == "warning"
            if said.level == "error":
                self.errors += 1
                self._fail(said)

    def _fail(self, said: Said) -> None:
        table = said.table
        if table not in self._failed and len(self._failed) >= MOST_TABLES:
            table = ""
        seen = self._failed.get(table)
        self._failed[table] = (
            Logged(seen.message, seen.count + 1, seen.client)
            if seen
            else Logged(said.message[:MOST_MESSAGE], 1, said.client)
        )

    def keep(self, line: str) -> None:
        """A line of standard error: the last ones are told if the program dies."""
        with self._lock:
            self._last_lines.append(line[:MOST_MESSAGE])

    def failed(self) -> Mapping[str, Logged]:
        """Errors by table; "": of lines that name none."""
        with self._lock:
            return dict(self._failed)

    def last_lines(self) -> str:
        """What it said last on standard error; empty: nothing."""
        with self._lock:
            return "\n".join(self._last_lines)
