"""Cells → shards: contiguous ranges of clients that take about as long as one shard should.

Clients of known cost are packed one by one: a slow one alone, a huge one in slices. All others count
with the mean and are spread evenly by arithmetic over ranges, so that the work and the memory of
packing a table grow with its ranges and its shards, never with its cells.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.plan import Range, Slice

HUGE = 3  # a cell of more than so many shards' time is cut, if its source can
MOST_CLIENTS = 5_000  # of one shard: its commit has a line for each of its cells
MOST_SLICES = 1_000

Cut = Callable[[int, int], Sequence[Mapping[str, Any]]]  # (client, about how many) → bounds


@dataclass(frozen=True)
class Piece:
    """A shard without its number."""

    clients: tuple[Range, ...]
    cost_s: float
    slice: Slice | None = None


@dataclass(frozen=True)
class Packed:
    """All shards of one table: the known ones as they are, the others as a rule."""

    known: tuple[Piece, ...]
    spread: tuple[Range, ...]
    spread_shards: int
    mean_s: float

    @property
    def shards(self) -> int:
        return len(self.known) + self.spread_shards

    @property
    def cost_s(self) -> float:
        return sum(p.cost_s for p in self.known) + count(self.spread) * self.mean_s

    @property
    def heaviest_s(self) -> float:
        even = math.ceil(count(self.spread) / self.spread_shards) if self.spread_shards else 0
        return max(self.known[0].cost_s if self.known else 0.0, even * self.mean_s)

    def __iter__(self) -> Iterator[Piece]:
        """Known pieces, longest first, then the spread, made while it is read."""
        yield from self.known
        total, shards = count(self.spread), self.spread_shards
        sizes = (total * (k + 1) // shards - total * k // shards for k in range(shards))
        for ranges in take(self.spread, sizes):
            yield Piece(ranges, count(ranges) * self.mean_s)


def pack(
    clients: Sequence[Range],
    *,
    mean_s: float,
    known_s: Mapping[int, float],
    target_s: float,
    cut: Cut | None = None,
    most: int = MOST_CLIENTS,
) -> Packed:
    """Pack a table's clients. `known_s`: client → seconds; only clients within `clients` count.

    `cut` is asked for slices of clients that take more than `HUGE` × `target_s`. `most`: clients of a shard.
    """
    inside = _inside(sorted(known_s), clients)
    rest = without(clients, inside)
    total = count(rest)
    shards = math.ceil(total / max(min(target_s / mean_s, most), 1)) if total else 0
    pieces = _known(inside, known_s, target_s, cut, most)
    ordered = sorted(pieces, key=lambda p: -p.cost_s)
    return Packed(tuple(ordered), rest, shards, mean_s)


def _known(
    clients: Sequence[int],
    known_s: Mapping[int, float],
    target_s: float,
    cut: Cut | None,
    most: int,
) -> Iterator[Piece]:
    """Slow clients alone, huge ones in slices, the others gathered up to the target."""
    gathered: list[int] = []
    cost = 0.0
    for client in clients:
        alone = known_s[client]
        if alone >= target_s:
            yield from _alone(client, alone, target_s, cut)
            continue
        if gathered and (cost + alone > target_s or len(gathered) == most):
            yield Piece(ranges_of(gathered), cost)
            gathered, cost = [], 0.0
        gathered.append(client)
        cost += alone
    if gathered:
        yield Piece(ranges_of(gathered), cost)


def _alone(client: int, cost_s: float, target_s: float, cut: Cut | None) -> Iterator[Piece]:
    clients = ((client, client + 1),)
    wanted = min(math.ceil(cost_s / target_s), MOST_SLICES)
    slices = cut(client, wanted) if cut and cost_s > HUGE * target_s else ()
    if len(slices) < 2:
        yield Piece(clients, cost_s)
        return
    for n, bounds in enumerate(slices):
        yield Piece(clients, cost_s / len(slices), Slice(n, len(slices), bounds))


def count(ranges: Iterable[Range]) -> int:
    return sum(stop - start for start, stop in ranges)


def ranges_of(clients: Iterable[int]) -> tuple[Range, ...]:
    """Ascending clients as ranges, neighbours joined."""
    return joined((c, c + 1) for c in clients)


def joined(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """Sorted, without empty ranges, neighbours and overlaps joined."""
    found: list[Range] = []
    for start, stop in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(stop, found[-1][1]))
        elif start < stop:
            found.append((start, stop))
    return tuple(found)


def common(left: Sequence[Range], right: Sequence[Range]) -> tuple[Range, ...]:
    """Clients that are in both; both are joined ranges."""
    found: list[Range] = []
    i = j = 0
    while i < len(left) and j < len(right):
        start, stop = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if start < stop:
            found.append((start, stop))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return tuple(found)


def without(ranges: Sequence[Range], clients: Sequence[int]) -> tuple[Range, ...]:
    """The ranges without these clients, which are ascending and inside them."""
    if not clients:
        return tuple(ranges)
    found: list[Range] = []
    at = 0
    for first, stop in ranges:
        start = first
        while at < len(clients) and clients[at] < stop:
            if start < clients[at]:
                found.append((start, clients[at]))
            start = clients[at] + 1
            at += 1
        if start < stop:
            found.append((start, stop))
    return tuple(found)


def take(ranges: Iterable[Range], sizes: Iterable[int]) -> Iterator[tuple[Range, ...]]:
    """Consecutive pieces of the ranges, of the given numbers of clients."""
    rest = iter(ranges)
    start = stop = 0
    for size in sizes:
        piece: list[Range] = []
        missing = size
        while missing:
            if start == stop:
                start, stop = next(rest)
            step = min(missing, stop - start)
            piece.append((start, start + step))
            start += step
            missing -= step
        yield tuple(piece)


def _inside(clients: Sequence[int], ranges: Sequence[Range]) -> list[int]:
    """Those of the ascending clients that are within the ranges."""
    found: list[int] = []
    at = 0
    for client in clients:
        while at < len(ranges) and ranges[at][1] <= client:
            at += 1
        if at < len(ranges) and ranges[at][0] <= client:
            found.append(client)
    return found
