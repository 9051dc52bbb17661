"""Which runs are removed from the stage, and in which order their objects go.

Only closed runs go, and of a run the record that it is closed goes last: whoever is interrupted in the
middle leaves a run that is still closed, and that the next submit removes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate, islice

from contracts import layout
from contracts.stage import Stage
from sharder import lease
from sharder.deal import share

EMBEDDED_KEEPS = 3  # runs
UNPLANNED_S = 86400.0  # after a day nobody is planning any more


@dataclass(frozen=True)
class Candidate:
    """A run as far as its removal is concerned; `age_s` counts from its end, or from its last write."""

    run: str
    closed: bool
    planned: bool
    age_s: float


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
    for run in stage.runs():
        prefix = layout.run_prefix(run)
        closed = {_round(e.key): e.modified_s for e in stage.store.list(f"{prefix}closed/")}
        rounds = stage.rounds(run)
        if closed and max(closed) >= max(rounds, default=0):
            yield Candidate(run, True, True, now.timestamp() - max(closed.values()))
        else:
            first = next(iter(stage.store.list(prefix)), None)
            age_s = now.timestamp() - first.modified_s if first else 0.0
            yield Candidate(run, False, bool(rounds), age_s)


def remove(stage: Stage, run: str) -> None:
    """Remove every object of a run; that it is closed is forgotten last."""
    prefix = layout.run_prefix(run)
    closed = f"{prefix}closed/"
    keys = (e.key for e in stage.store.list(prefix))
    _delete(stage, (k for k in keys if not k.startswith(closed)))
    _delete(stage, (e.key for e in stage.store.list(closed)))


def collect(stage: Stage, now: datetime, *, keep_s: float, keep_runs: int = 0) -> list[str]:
    """Remove what is due; returns the ids of the removed runs."""
    due = doomed(list(candidates(stage, now)), keep_s=keep_s, keep_runs=keep_runs)
    busy = lease.holders(stage.store)  # somebody may be about to add a round to a closed run
    found = [run for run in due if run not in busy]
    for run in found:
        remove(stage, run)
    return found


def _delete(stage: Stage, keys: Iterable[str]) -> None:
    iterator = iter(keys)
    while batch := list(islice(iterator, 1000)):
        stage.store.delete(batch)


def _round(key: str) -> int:
    return int(key.rsplit("/", 1)[1].removesuffix(".json"))
