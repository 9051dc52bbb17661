"""Parts that no commit names: what losing, killed and cancelled attempts left in closed runs.

Every shard of a closed round has its commit, and a commit never changes, so what it does not name is
garbage for ever, whoever is at work meanwhile. Nothing of a round that is not closed is looked at.

Commits are only read where there can be an orphan: of shards with more than one start marker, and of all
shards of a round in which the watcher itself committed failures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from contracts import layout
from contracts.errors import InputError, SharderError
from contracts.stage import Stage
from contracts.store import Entry
from contracts.summary import Summary
from loader.ahead import ahead

THREADS = 16
# Reasons with which a watcher commits a failure while an attempt may have written parts.
_BY_WATCHER = frozenset({"lost", "cancelled", "timeout"})


@dataclass(frozen=True)
class _Doubted:
    """One shard with its parts."""

    shard: str
    parts: tuple[Entry, ...]


def orphans(stage: Stage, run: str) -> Iterator[Entry]:
    """The parts of a run that can go, shard by shard; in memory are the parts of a few shards."""
    closed = {n: s for n in stage.rounds(run) if (s := stage.summary(run, n))}
    if not closed:
        return
    again = _tried_again(stage, run)
    whole = {n for n, summary in closed.items() if _watcher_committed(summary)}
    doubted = (
        one
        for one in _shards(stage, run)
        if (n := _round(one.shard)) in closed and (n in whole or one.shard in again)
    )

    def unnamed(one: _Doubted) -> list[Entry]:
        try:
            named = {part.key for part in stage.commit(run, one.shard).parts}
        except SharderError:  # a document of a newer release, or none: not ours to judge
            return []
        return [part for part in one.parts if part.key not in named]

    remote = stage.store.local_path("runs/x") is None
    for found in ahead(unnamed, doubted, THREADS) if remote else map(unnamed, doubted):
        yield from found


def _watcher_committed(summary: Summary) -> bool:
    return bool(summary.cancelled) or any(p.reason in _BY_WATCHER for p in summary.problems)


def _tried_again(stage: Stage, run: str) -> set[str]:
    """Shards with more than one start marker; as many as attempts were lost."""
    prefix = f"{layout.run_prefix(run)}attempts/"
    keys = (e.key[len(prefix) :].split("/")[0] for e in stage.store.list(prefix))
    return {layout.unescape(job) for job, markers in groupby(keys) if sum(1 for _ in markers) > 1}


def _shards(stage: Stage, run: str) -> Iterator[_Doubted]:
    """data/<source>/<table>/<shard>/<attempt>/<part>, a shard at a time."""
    prefix = f"{layout.run_prefix(run)}data/"

    def shard(entry: Entry) -> tuple[str, ...]:
        return tuple(entry.key[len(prefix) :].split("/")[:3])

    for place, parts in groupby(stage.store.list(prefix), shard):
        if len(place) == 3:
            yield _Doubted(place[2], tuple(parts))


def _round(shard: str) -> int:
    """0, which is no round, for what is not a shard of ours."""
    try:
        return layout.parse_shard_id(shard)[0]
    except InputError:
        return 0
