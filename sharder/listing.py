"""The runs of a stage, newest last: how each ended, how long it took, or who is at work on it.

Two requests per run say when it was planned and whether it is closed, many at once; only of the runs that
are shown a document is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from contracts import layout
from contracts.errors import SharderError
from contracts.stage import Stage
from loader.ahead import ahead
from sharder import lease, status, text
from sharder.status import State

T = TypeVar("T")
R = TypeVar("R")

THREADS = 16


@dataclass(frozen=True)
class Listed:
    """One run. `round` is its last; `seconds` counts from its start to its end, or until now."""

    run: str
    round: int
    state: State
    started: datetime | None = None
    seconds: float = 0.0
    sources: tuple[str, ...] = ()
    rows: int = 0
    cells_failed: int = 0
    exit_code: int | None = None
    held_by: str = ""
    problem: str = ""  # why it cannot be read

    def to_json(self) -> dict[str, Any]:
        started = self.started.isoformat() if self.started else None
        return dict(vars(self)) | {"started": started}


@dataclass(frozen=True)
class _Glance:
    """A run before any of its documents is read; `at_s` orders the runs by time."""

    run: str
    round: int
    closed: bool
    at_s: float


def table(stage: Stage, now: datetime, limit: int = 0) -> tuple[list[Listed], int]:
    """The newest runs, oldest first, and how many older ones were left out."""
    glances = sorted(
        _each(stage, lambda run: _glance(stage, run), stage.runs()), key=lambda g: (g.at_s, g.run)
    )
    newest = glances[-limit:] if limit else glances
    living = lease.living(stage.store)

    def listed(glance: _Glance) -> Listed:
        found = _listed(stage, glance, now)
        held = status.by(living.get(found.run))
        running = found.state == "interrupted" and held
        return replace(found, held_by=held, state="running" if running else found.state)

    return list(_each(stage, listed, newest)), len(glances) - len(newest)


def _glance(stage: Stage, run: str) -> _Glance:
    prefix = layout.run_prefix(run)
    indexes = {
        int(e.key[len(prefix) :].split("/")[1]): e.modified_s
        for e in stage.store.list(f"{prefix}plan/")
        if e.key.endswith("/index.json")
    }
    if not indexes:
        first = next(iter(stage.store.list(prefix)), None)
        return _Glance(run, 0, closed=False, at_s=first.modified_s if first else 0.0)
    newest = max(indexes)
    closed = {e.key for e in stage.store.list(f"{prefix}closed/")}
    return _Glance(run, newest, layout.closed(run, newest) in closed, min(indexes.values()))


def _listed(stage: Stage, glance: _Glance, now: datetime) -> Listed:
    run, round_ = glance.run, glance.round
    if not round_:
        return Listed(run, 0, "unplanned")
    try:
        summary = stage.summary(run, round_) if glance.closed else None
        if summary:
            return Listed(
                run, round_, "closed", summary.started,
                (summary.ended - summary.started).total_seconds(),
                tuple(dict.fromkeys(t.source for t in summary.tables)), summary.rows,
                summary.cells.failed, summary.exit_code,
            )  # fmt: skip
        plan = stage.plan(run, round_)
    except (
        SharderError
    ) as error:  # of a newer release, or damaged: the others are shown all the same
        return Listed(
            run, round_, "closed" if glance.closed else "interrupted", problem=error.message
        )
    seconds = (now - plan.created.astimezone(UTC)).total_seconds()
    names = tuple(s.name for s in plan.sources)
    return Listed(run, round_, "interrupted", plan.created, seconds, names)


def lines(found: Sequence[Listed]) -> list[str]:
    head = ("run", "state", "started", "took", "sources", "rows", "cells failed", "exit", "held by")
    return text.columns([head, *map(_row, found)], right=(3, 5, 6, 7))


def _row(one: Listed) -> tuple[str, ...]:
    closed = one.exit_code is not None
    return (
        one.run + (f" (round {one.round})" if one.round > 1 else ""),
        one.state,
        f"{one.started:%Y-%m-%d %H:%M}" if one.started else "",
        text.duration(one.seconds) if one.started else "",
        ", ".join(one.sources),
        f"{one.rows:,}" if closed else "",
        f"{one.cells_failed:,}" if closed else "",
        str(one.exit_code) if closed else "",
        one.held_by or one.problem,
    )


def _each(stage: Stage, call: Callable[[T], R], items: Iterable[T]) -> Iterable[R]:
    """In order; many at once where each costs a request."""
    found = list(items)
    remote = bool(found) and stage.store.local_path("x") is None
    return ahead(call, found, THREADS) if remote else map(call, found)
