"""What a round taught about how long cells take: commits → history/<source>/<table>.json.

A shard's seconds are shared out among its clients by their rows; a client alone in its shards is
measured exactly. Only cells that ended ok teach: a denied one is quick, a throttled one slow, and
neither says what reading takes. Memory is bounded by the number of slow clients that are kept.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from contracts.apart import ROWS_PER_CALL
from contracts.commit import Commit
from contracts.history import History

HEAVY = 1_000  # slow clients kept per table
SLOW = 4  # times the mean: what a client takes to be worth a line of its own
NEW = 0.5  # weight of this round against all earlier ones


@dataclass
class Lesson:
    """One table's share of a round. Commits are taken in one by one and forgotten."""

    source: str
    table: str
    _seconds: float = 0.0
    _rows: int = 0
    _cells: int = 0
    _slow: dict[str, tuple[float, int]] = field(default_factory=dict)

    def add(self, commit: Commit) -> None:
        """Take in the commit of one of the table's shards; rows of descendants count for the client."""
        rows: dict[str, int] = {}
        failed: set[str] = set()
        for cell in commit.cells:
            rows[cell.client] = rows.get(cell.client, 0) + cell.rows
            if cell.outcome != "ok":
                failed.add(cell.client)
        if commit.verdict or not rows:
            return
        seconds = max((commit.ended - commit.started).total_seconds(), 0.0)
        weights = {client: n + ROWS_PER_CALL for client, n in rows.items()}
        per_weight = seconds / sum(weights.values())
        for client in rows.keys() - failed:
            self._learn(client, weights[client] * per_weight, rows[client])
        if len(self._slow) > 4 * HEAVY:
            self._slow = _slowest(self._slow)

    def _learn(self, client: str, seconds: float, rows: int) -> None:
        """Slices of a cell add up: their clients come again, one slice at a time."""
        known = self._slow.get(client)
        self._slow[client] = (seconds + (known or (0.0, 0))[0], rows + (known or (0.0, 0))[1])
        self._seconds += seconds
        self._rows += rows
        self._cells += 0 if known else 1

    def history(self, previous: History | None, now: datetime) -> History | None:
        """The new history; the previous one (or None) if this round taught nothing."""
        if not self._cells:
            return previous
        mean_s, mean_rows = self._seconds / self._cells, self._rows / self._cells
        cells, heavy = self._cells, dict(self._slow)
        if previous and previous.cells:
            # A retry or a narrowed run has seen few cells and moves the mean as little.
            weight = NEW * min(1.0, self._cells / previous.cells)
            mean_s = previous.mean_s + weight * (mean_s - previous.mean_s)
            mean_rows = previous.mean_rows + weight * (mean_rows - previous.mean_rows)
            cells = max(self._cells, previous.cells) if weight < NEW / 2 else self._cells
            heavy = _blended(previous.heavy, self._slow, weight)
        heavy = {c: (round(s, 3), n) for c, (s, n) in heavy.items() if s >= SLOW * mean_s}
        return History(
            source=self.source,
            table=self.table,
            updated=now,
            cells=cells,
            mean_s=round(mean_s, 6),
            mean_rows=round(mean_rows, 3),
            heavy=_slowest(heavy),
        )


def learn(
    previous: History | None, source: str, table: str, commits: Iterable[Commit], now: datetime
) -> History | None:
    """The history of a table after a round, from the commits of its shards."""
    lesson = Lesson(source, table)
    for commit in commits:
        lesson.add(commit)
    return lesson.history(previous, now)


def _blended(
    old: Mapping[str, tuple[float, int]], new: Mapping[str, tuple[float, int]], weight: float
) -> dict[str, tuple[float, int]]:
    """Clients of this round at the mean of what they took before and now.

    One that is not among the slow of this round is forgotten by and by: it is gone, or quick now.
    """
    found = {client: (s * (1 - weight), rows) for client, (s, rows) in old.items()}
    for client, (seconds, rows) in new.items():
        was_s, was_rows = old.get(client, (seconds, rows))
        found[client] = (
            was_s + NEW * (seconds - was_s),
            round(was_rows + NEW * (rows - was_rows)),
        )
    return found


def _slowest(clients: Mapping[str, tuple[float, int]]) -> dict[str, tuple[float, int]]:
    """The slowest, slowest first; names decide between equals, so that the document is stable."""
    return dict(heapq.nsmallest(HEAVY, clients.items(), key=lambda item: (-item[1][0], item[0])))
