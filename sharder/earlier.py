"""What earlier runs of the same sources left: their rows come before those of the run that begins."""

from __future__ import annotations

from collections.abc import Callable

from contracts.plan import Plan
from contracts.stage import Stage
from sharder import drive, lease, status, storeclock, text


def finish(
    stage: Stage,
    run: str,
    sources: set[str],
    say: Callable[[str], None],
    close: Callable[[Plan], None],
    *,
    part: str,
    sync_id: str,
) -> None:
    """Close open rounds of the same sources that nobody is at work on: their rows come first.

    Not those of parallel shards: they have other tables, and whoever submits them again goes on with them.
    """
    at = storeclock.clock(stage.store)()
    for plan in list(status.open_rounds(stage)):
        shared = sources & {s.name for s in plan.sources}
        beside = lease.parallel(part, sync_id, plan.part, plan.sync_id)
        if plan.run == run or not shared or beside or status.holder(stage, plan, at):
            continue
        say(
            f"run {plan.run} of {', '.join(sorted(shared))} was left open; loading what it extracted"
        )
        drive.cancel(stage, plan.run, f"given up by the later run {run}")
        close(plan)
    for source in sorted(sources):
        _warn_of_failed_loads(stage, run, source, part, say)


def _warn_of_failed_loads(
    stage: Stage, run: str, source: str, part: str, say: Callable[[str], None]
) -> None:
    """Where the newest closed run of a source could not load everything, `retry` is what loads it."""
    for earlier in reversed(stage.runs()):
        closed = [s for n in stage.rounds(earlier) if (s := stage.summary(earlier, n))]
        if earlier == run or not closed or source not in {t.source for t in closed[-1].tables}:
            continue
        if stage.plan(earlier, closed[-1].round).part != part:
            continue  # of other tables
        failed = [d for d in closed[-1].destinations if d.source == source and d.error]
        if failed:
            tables = text.count(len(failed), "table")
            say(
                f"warning: {tables} of run {earlier} could not be loaded; `sharder retry {earlier}` loads what was "
                "extracted then. This run extracts anew: where rows are appended, a destination that did "
                "load them may get them twice"
            )
        return
