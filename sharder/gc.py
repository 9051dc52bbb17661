"""Which runs are removed from the stage, and in which order their objects go.

Only closed runs go, and runs that never had a plan, and none that somebody alive holds. Of a run the plans
go first and the record that it is closed goes last: whoever looks in the middle finds no half run to go on
with, and whoever is interrupted there leaves a run that is still closed, and that the next one removes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate, islice

from contracts import layout
from contracts.stage import Stage
from contracts.store import Entry
from loader.ahead import ahead
from sharder import lease, storeclock
from sharder.deal import share

Clock = Callable[[], datetime]

EMBEDDED_KEEPS = 3  # runs
UNPLANNED_S = 86400.0  # after a day nobody is planning any more
BATCH = 1000  # keys per request, and between two looks whether somebody took the run up
THREADS = 16


@dataclass(frozen=True)
class Candidate:
    """A run as far as its removal is concerned; `age_s` counts from its end, or from its last write."""

    run: str
    closed: bool
    planned: bool
    age_s: float


@dataclass(frozen=True)
class Gone:
    """What was removed, or would be."""

    objects: int = 0
    bytes: int = 0

    def __add__(self, other: Gone) -> Gone:
        return Gone(self.objects + other.objects, self.bytes + other.bytes)


def doomed(candidates: Sequence[Candidate], *, keep_s: float, keep_runs: int = 0) -> list[str]:
    """Runs to remove. With `keep_runs` the newest so many closed runs stay, and age does not count.

    The parallel shards of one invocation count as one run.
    """
    closed = sorted((c for c in candidates if c.closed), key=lambda c: c.age_s)
    newer = accumulate((share(c.run) for c in closed), initial=0.0)
    beyond = [c for c, before in zip(closed, newer, strict=False) if before > keep_runs - 1e-6]
    old = beyond if keep_runs else [c for c in closed if c.age_s > keep_s]
    dead = [c for c in candidates if not c.closed and not c.planned and c.age_s > UNPLANNED_S]
    return sorted(c.run for c in (*old, *dead))


def candidates(stage: Stage, now: datetime) -> Iterator[Candidate]:
    """Every run, by id."""

    def look(run: str) -> Candidate:
        return _candidate(stage, run, now)

    runs = stage.runs()
    remote = stage.store.local_path("runs/x") is None
    return ahead(look, runs, THREADS) if remote and runs else map(look, runs)


def _candidate(stage: Stage, run: str, now: datetime) -> Candidate:
    prefix = layout.run_prefix(run)
    closed = {_round(e.key): e.modified_s for e in stage.store.list(f"{prefix}closed/")}
    rounds = stage.rounds(run)
    if closed and max(closed) >= max(rounds, default=0):
        return Candidate(run, True, True, now.timestamp() - max(closed.values()))
    if rounds:
        return Candidate(run, False, True, 0.0)
    newest = max((e.modified_s for e in stage.store.list(prefix)), default=now.timestamp())
    return Candidate(run, False, False, now.timestamp() - newest)


def remove(stage: Stage, run: str, *, unless_held: Clock | None = None) -> Gone:
    """Remove every object of a run. With a clock it stops as soon as somebody holds the run who is alive by it."""
    gone = Gone()
    for step in _in_order(stage, run):
        for batch in batches(step):  # a bucket deletes the keys of one request in any order
            if unless_held and run in lease.holders(stage.store, unless_held()):
                return gone
            stage.store.delete([e.key for e in batch])
            gone += sizes(batch)
    return gone


def _in_order(stage: Stage, run: str) -> Iterator[Iterator[Entry]]:
    """Plans, everything else, that the rounds are closed."""
    prefix = layout.run_prefix(run)
    plans, closed = f"{prefix}plan/", f"{prefix}closed/"

    def index(entry: Entry) -> bool:
        return entry.key.startswith(plans) and entry.key.endswith("/index.json")

    yield (e for e in stage.store.list(plans) if index(e))
    yield (e for e in stage.store.list(prefix) if not index(e) and not e.key.startswith(closed))
    yield stage.store.list(closed)


def collect(stage: Stage, now: datetime, *, keep_s: float, keep_runs: int = 0) -> list[str]:
    """Remove what is due; returns the ids of the removed runs."""
    due = doomed(list(candidates(stage, now)), keep_s=keep_s, keep_runs=keep_runs)
    if not due:
        return []
    # Somebody may be about to add a round to a closed run.
    clock = storeclock.clock(stage.store)
    busy = lease.holders(stage.store, clock())
    found = [run for run in due if run not in busy]
    for run in found:
        remove(stage, run, unless_held=clock)
    return found


def batches(entries: Iterable[Entry], size: int = BATCH) -> Iterator[list[Entry]]:
    iterator = iter(entries)
    while batch := list(islice(iterator, size)):
        yield batch


def sizes(entries: Iterable[Entry]) -> Gone:
    found = list(entries)
    return Gone(len(found), sum(e.size for e in found))


def _round(key: str) -> int:
    return int(key.rsplit("/", 1)[1].removesuffix(".json"))
