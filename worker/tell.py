"""The end of an attempt, told: as a line of the log, as numbers, and in the run's trace."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from contracts.commit import Commit
from contracts.observe import metrics
from contracts.observe.log import event
from contracts.observe.trace import Span
from worker.job import Job

CELLS = 100  # cells that are not ok, in a span: a collector refuses spans that are too large

How = Literal["done", "was_dry", "lost_race"]


def tell(job: Job, commit: Commit, how: How, span: Span) -> None:
    """What a commit says, and whether it became the shard's."""
    cells: Counter[str] = Counter(c.outcome for c in commit.cells)
    seconds = (commit.ended - commit.started).total_seconds()
    sums = {"rows": commit.rows, "bytes": commit.bytes, "parts": len(commit.parts)}
    event(f"shard_{how}", **job.names, **sums, seconds=seconds, **cells)
    span.put(outcome=how, **sums, **cells)
    ends = (*commit.cells, *([commit.verdict] if commit.verdict else ()))
    bad = [c for c in ends if c.outcome != "ok"]
    for cell in bad[:CELLS]:
        names = {"table": cell.table, "client": cell.client, "reason": cell.reason or ""}
        span.event(f"cell {cell.outcome}", **names)
    if any(c.outcome == "failed" for c in bad):
        span.failed(f"{sum(c.outcome == 'failed' for c in bad)} cells failed")
    if how != "was_dry":
        metrics.count("sharder_shards_total", source=job.source.name, outcome=how)
    if how == "done":
        _count(job.source.name, commit, cells, seconds)


def _count(source: str, commit: Commit, cells: Counter[str], seconds: float) -> None:
    metrics.observe("sharder_shard_seconds", seconds, source=source)
    metrics.count("sharder_rows_total", commit.rows, source=source)
    metrics.count("sharder_bytes_total", commit.bytes, source=source)
    for outcome, n in cells.items():
        metrics.count("sharder_cells_total", n, source=source, outcome=outcome)
