"""Tables → shards: each table packed alone, or together with others that its source lets share a shard.

A source that starts a program for each shard says which tables may share one (`Grouper`). Of those with the
same clients, as many share as take about one shard's time for one client; then the clients are packed as
those of a single table are.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from contracts.errors import Permanent
from contracts.history import History
from contracts.plan import Range
from sharder.clients import ClientFile
from sharder.costs import cutter, known_seconds, mean_seconds
from sharder.pack import MOST_CLIENTS, Packed, pack
from sharder.select import Tree
from worker.sources.base import Grouper, Source

# Measured: plugins take 0.5 to 5.6 s from their start to their first answer. History has it in its seconds.
START_S = 3.0

Histories = Callable[[str, str], History | None]  # (source, top-level table)


@dataclass(frozen=True)
class Draft:
    """A table before it has shard numbers."""

    source: str
    tree: Tree
    clients: tuple[Range, ...]
    why_not: str
    full_refresh: bool = False

    @property
    def name(self) -> str:
        return self.tree.top.name


@dataclass(frozen=True)
class Cost:
    """Seconds of a table. `mean_s`: per client that is not among the `known_s` (line → seconds)."""

    mean_s: float
    known_s: Mapping[int, float]
    measured: bool = False


@dataclass(frozen=True)
class Bundle:
    """Tables that share shards, or one; `costs_s`: what each of them is expected to take of `packed`."""

    drafts: tuple[Draft, ...]
    packed: Packed
    costs_s: tuple[float, ...]


def bundles(
    drafts: Sequence[Draft],
    source: Source,
    file: ClientFile,
    histories: Histories,
    target_s: float,
) -> Iterator[Bundle]:
    """All drafts of one source, packed, each in one bundle. Raises Permanent for groups that are none."""
    known = {d.name: histories(d.source, d.name) for d in drafts}
    # One pass over the ids finds the lines of the slow clients of all tables.
    slow = {client for history in known.values() if history for client in history.heavy}
    lines = file.lines_of(slow.__contains__) if slow else {}

    def cost(draft: Draft) -> Cost:
        history = known[draft.name]
        return Cost(
            mean_seconds(history, draft.tree),
            known_seconds(source, draft.tree, draft.clients, file, history, lines),
            bool(history and history.cells),
        )

    for together in _sets(source, drafts):
        costs = [cost(d) for d in together]
        means = [c.mean_s for c in costs]
        for chosen in share_out(means, target_s) if len(together) > 1 else [[0]]:
            if len(chosen) == 1:
                draft, own = together[chosen[0]], costs[chosen[0]]
                packed = pack(
                    draft.clients,
                    mean_s=own.mean_s,
                    known_s=own.known_s,
                    target_s=target_s,
                    cut=cutter(source, draft.tree, file),
                )
                yield Bundle((draft,), packed, (packed.cost_s,))
            else:
                yield joined([together[n] for n in chosen], [costs[n] for n in chosen], target_s)


def joined(drafts: Sequence[Draft], costs: Sequence[Cost], target_s: float) -> Bundle:
    """Tables with the same clients as one: their seconds add up, and their shards hold cells of all."""
    start_s = 0.0 if any(c.measured for c in costs) else START_S
    mean_s = start_s + sum(c.mean_s for c in costs)
    slow = {line for c in costs for line in c.known_s}
    known_s = {line: start_s + sum(c.known_s.get(line, c.mean_s) for c in costs) for line in slow}
    tables = sum(len(d.tree.selected) for d in drafts)
    packed = pack(
        drafts[0].clients,
        mean_s=mean_s,
        known_s=known_s,
        target_s=target_s,
        most=most_clients(tables),
    )
    per_s = packed.cost_s / sum(c.mean_s for c in costs)
    return Bundle(tuple(drafts), packed, tuple(c.mean_s * per_s for c in costs))


def most_clients(tables: int) -> int:
    """Clients of a shard of so many tables: its commit has a line for each of its cells."""
    return max(MOST_CLIENTS // tables, 1)


def share_out(costs_s: Sequence[float], target_s: float) -> list[list[int]]:
    """Tables, by index, in groups that take about the target for one client, and as few as that allows.

    What takes so long by itself stays alone; the rest goes, longest first, to the group that has least.
    """
    alone = [[n] for n, cost in enumerate(costs_s) if cost >= target_s]
    rest = [n for n, cost in enumerate(costs_s) if cost < target_s]
    room_s = max(target_s - START_S, target_s / 2)
    count = min(math.ceil(sum(costs_s[n] for n in rest) / room_s), len(rest))
    groups: list[list[int]] = [[] for _ in range(count)]
    loads = [(0.0, n) for n in range(count)]
    for n in sorted(rest, key=lambda n: -costs_s[n]):
        load, at = heapq.heappop(loads)
        groups[at].append(n)
        heapq.heappush(loads, (load + costs_s[n], at))
    return [*alone, *(sorted(group) for group in groups)]


def _sets(source: Source, drafts: Sequence[Draft]) -> Iterator[list[Draft]]:
    """Tables that may share shards; each of the others alone.

    A shard has one range of clients and reads with or without cursors: only tables that agree share one.
    A table without clients has no shards to share.
    """
    if not hasattr(source, "groups"):
        yield from ([draft] for draft in drafts)
        return
    named = cast("Grouper", source).groups([draft.tree.tables for draft in drafts])
    set_of = _checked(named, {draft.name for draft in drafts})
    found: dict[tuple[object, ...], list[Draft]] = {}
    for n, draft in enumerate(drafts):
        at = set_of.get(draft.name) if draft.clients else None
        key = (-1 - n if at is None else at, draft.clients, draft.full_refresh)
        found.setdefault(key, []).append(draft)
    yield from found.values()


def _checked(named: Sequence[Sequence[str]], known: set[str]) -> dict[str, int]:
    """Table → number of its set."""
    set_of: dict[str, int] = {}
    for n, names in enumerate(named):
        for name in names:
            if name not in known or name in set_of:
                what = "is in two groups" if name in known else "is no top-level table of the plan"
                raise Permanent(
                    f"the source groups its tables, but '{name}' {what}",
                    "this is a bug of the source",
                )
            set_of[name] = n
    return set_of
