"""What goes on inside one round: cells by outcome, the slowest shards, what is in flight, attempts lost.

Read from commits and start markers alone, as a stream of both in the order of the plan, so that a run of
any size is told in bounded memory: sums per table, a few slowest shards, and what is in flight.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import groupby, islice
from typing import Any

from contracts import layout
from contracts.commit import Attempt, Commit
from contracts.errors import NotFound
from contracts.plan import Plan, Shard
from contracts.stage import Stage
from contracts.store import Entry
from contracts.summary import Problem
from loader.ahead import ahead
from sharder import text
from sharder.summary import EXAMPLES, Tally

SLOWEST = 5
PROBLEMS = 10
THREADS = 16


@dataclass(frozen=True)
class SourceCells:
    """Cells of one source by outcome; those that no commit names yet are open."""

    source: str
    cells: int
    ok: int
    failed: int
    skipped: int

    @property
    def open(self) -> int:
        return self.cells - self.ok - self.failed - self.skipped


@dataclass(frozen=True)
class Slow:
    """A shard that took long, or is taking long. `clients` are the first and the last of its clients.

    `table` is the first of its `tables` top-level tables.
    """

    shard: str
    source: str
    table: str
    clients: tuple[str, ...]
    clients_count: int
    seconds: float
    worker: str
    tables: int = 1


@dataclass(frozen=True)
class Detail:
    """`flying`: shards with a start marker and no commit, whether or not their worker lives."""

    sources: tuple[SourceCells, ...]
    slowest: tuple[Slow, ...]
    in_flight: tuple[Slow, ...]
    flying: int
    attempts_lost: int
    problems: tuple[Problem, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "cells": [asdict(s) | {"open": s.open} for s in self.sources],
            "slowest": [asdict(s) for s in self.slowest],
            "in_flight": [asdict(s) for s in self.in_flight],
            "shards_in_flight": self.flying,
            "attempts_lost": self.attempts_lost,
            "problems": [p.model_dump(mode="json") for p in self.problems],
        }


@dataclass
class _Markers:
    """The start markers of one shard."""

    shard: str
    attempts: list[str]
    newest_s: float
    key: str  # of the newest


@dataclass
class _Seen:
    lost: int = 0
    done: list[tuple[float, str, str]] = field(
        default_factory=list
    )  # a heap: seconds, shard, worker
    flying: list[_Markers] = field(default_factory=list)


def detail(stage: Stage, plan: Plan, now: datetime) -> Detail:
    """One pass over the commits and the start markers of the round."""
    tally, seen = Tally(plan), _Seen()
    for shard, commit, clients, markers in _together(stage, plan, seen):
        tally.add(shard, commit, clients)
        _lose(seen, commit, markers)
        took = ((commit.ended - commit.started).total_seconds(), shard.id, commit.worker)
        (heapq.heappush if len(seen.done) < SLOWEST else heapq.heappushpop)(seen.done, took)
    summary = tally.summary(ended=now, lost=0, cancelled="")
    oldest = heapq.nsmallest(SLOWEST, seen.flying, key=lambda m: m.newest_s)
    return Detail(
        sources=tuple(
            SourceCells(name, t.cells, t.ok, t.failed, t.skipped)
            for name, t in tally.sources().items()
        ),
        slowest=tuple(
            _slow(stage, plan, shard, seconds, worker)
            for seconds, shard, worker in sorted(seen.done, reverse=True)
        ),
        in_flight=tuple(filter(None, (_flying(stage, plan, m, now) for m in oldest))),
        flying=len(seen.flying),
        attempts_lost=seen.lost,
        problems=tuple(heapq.nlargest(PROBLEMS, summary.problems, key=lambda p: p.cells)),
    )


def _lose(seen: _Seen, commit: Commit, markers: _Markers | None) -> None:
    """Of the attempts that started, one may have won; a failure that the watcher committed had no winner."""
    if markers:
        seen.lost += len(markers.attempts) - (commit.attempt in markers.attempts)


def _together(
    stage: Stage, plan: Plan, seen: _Seen
) -> Iterator[tuple[Shard, Commit, Sequence[str], _Markers | None]]:
    """Commits with the markers of the same shard; markers without a commit are in flight."""
    if not plan.shards:
        return
    started = _markers(stage, plan)
    current = next(started, None)
    for shard, commit, clients in _commits(stage, plan):
        while current and current.shard < shard.id:
            _fly(seen, current)
            current = next(started, None)
        mine = current if current and current.shard == shard.id else None
        current = next(started, None) if mine else current
        yield shard, commit, clients, mine
    while current:
        _fly(seen, current)
        current = next(started, None)


def _fly(seen: _Seen, markers: _Markers) -> None:
    seen.flying.append(markers)
    seen.lost += len(markers.attempts) - 1


def _commits(stage: Stage, plan: Plan) -> Iterator[tuple[Shard, Commit, Sequence[str]]]:
    """In the order of the plan, with some clients where the commit names none."""

    def read(shard_id: str) -> tuple[Shard, Commit, Sequence[str]]:
        shard, commit = stage.shard(plan.run, shard_id), stage.commit(plan.run, shard_id)
        if not commit.verdict:
            return shard, commit, ()
        clients = stage.clients(plan.run, shard.source, shard.clients)
        return shard, commit, tuple(islice(clients, EXAMPLES))

    ends = (layout.shard_id(plan.round, 0), layout.shard_id(plan.round, plan.shards - 1))
    ids = stage.committed_shards(plan.run, *ends)
    return ahead(read, ids, THREADS) if stage.store.local_path("x") is None else map(read, ids)


def _markers(stage: Stage, plan: Plan) -> Iterator[_Markers]:
    """Of the shards of the round, in their order."""
    prefix = f"{layout.run_prefix(plan.run)}attempts/"
    own = f"{plan.round:02d}-"

    def job(entry: Entry) -> str:
        return entry.key[len(prefix) :].split("/")[0]

    for shard, entries in groupby(stage.store.list(prefix, f"{prefix}{own}"), job):
        if not shard.startswith(own):
            return
        found = list(entries)
        newest = max(found, key=lambda e: e.modified_s)
        attempts = [e.key.rsplit("/", 1)[1].removesuffix(".json") for e in found]
        yield _Markers(shard, attempts, newest.modified_s, newest.key)


def _flying(stage: Stage, plan: Plan, markers: _Markers, now: datetime) -> Slow | None:
    """None if it has ended meanwhile."""
    if stage.committed(plan.run, markers.shard):
        return None
    try:
        attempt = Attempt.from_bytes(stage.store.get(markers.key), markers.key)
    except NotFound:
        return None
    seconds = max((now - attempt.started.astimezone(UTC)).total_seconds(), 0.0)
    return _slow(stage, plan, markers.shard, seconds, attempt.worker)


def _slow(stage: Stage, plan: Plan, shard_id: str, seconds: float, worker: str) -> Slow:
    shard = stage.shard(plan.run, shard_id)
    first, last = shard.clients[0][0], shard.clients[-1][1] - 1
    ends = ((first, first + 1), (last, last + 1)) if last > first else ((first, first + 1),)
    clients = tuple(stage.clients(plan.run, shard.source, ends))
    took_s = round(seconds, 3)
    return Slow(
        shard_id, shard.source, shard.table, clients, shard.cells, took_s, worker, shard.tables
    )


def lines(found: Detail) -> list[str]:
    """Cells by state; then what is slow."""
    said = [f"  {s.source}: {_cells(s)}" for s in found.sources]
    if found.attempts_lost:
        said.append(
            f"  {text.count(found.attempts_lost, 'attempt')} lost and done again, or given up"
        )
    said += _table(f"  slowest of {text.count(found.flying, 'shard')} in flight:", found.in_flight)
    return [*said, *_table("  slowest shards done:", found.slowest)]


def _cells(s: SourceCells) -> str:
    parts = [f"{s.ok:,} ok"]
    parts += [f"{n:,} {state}" for n, state in ((s.failed, "failed"), (s.skipped, "skipped"), (s.open, "open")) if n]  # fmt: skip
    return f"{text.count(s.cells, 'cell')}: {', '.join(parts)}"


def _table(title: str, rows: Sequence[Slow]) -> list[str]:
    if not rows:
        return []
    table = [
        (f"    {s.shard}", _table_of(s), _clients(s), text.duration(s.seconds), s.worker)
        for s in rows
    ]
    return [title, *text.columns(table, right=(3,))]


def _table_of(s: Slow) -> str:
    others = s.tables - 1
    return f"{s.source} {s.table}" + (f" and {text.count(others, 'table')} more" if others else "")


def _clients(s: Slow) -> str:
    # A source without accounts has one client without a name.
    if s.clients_count == 1:
        return s.clients[0] or "1 client"
    return f"{s.clients[0]} … {s.clients[-1]} ({text.count(s.clients_count, 'client')})"
