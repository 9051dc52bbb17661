"""The round that `retry` adds to a run: the cells that did not end ok, and the loads that failed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from contracts.errors import InputError
from contracts.plan import Plan, PlannedTable, Range, version_of
from sharder.costs import PRIOR_S
from sharder.group import most_clients
from sharder.pack import Packed, common, count, joined, pack
from sharder.planner import Planned

WHY_NOT = "a retry covers only the cells that did not end ok"

TableKey = tuple[str, str]  # (source, top-level table)


def plan_retry(
    rounds: Sequence[Plan],
    not_ok: Iterable[tuple[TableKey, Sequence[Range]]],
    *,
    now: datetime,
    load_again: Iterable[TableKey] = (),
    target_s: float = 60.0,
) -> Planned:
    """The next round of a run. `rounds`: all plans so far, oldest first; `not_ok`: client lines per
    table, in any order and number; `load_again`: tables whose cells are ok but whose load failed,
    which take part with no shard at all.

    Schemas, destinations and the sync time are those of the run; no list is authoritative.
    Raises InputError if there is nothing to do again.
    """
    previous = rounds[-1]
    lines: dict[TableKey, list[Range]] = {key: [] for key in load_again}
    for key, ranges in not_ok:
        lines.setdefault(key, []).extend(ranges)
    if not lines:
        raise InputError(
            f"every cell of run {previous.run} ended ok and was loaded", "nothing is left to retry"
        )
    found = [(group, _packed(group, target_s)) for group in _grouped(rounds, lines)]
    found.sort(key=lambda item: -item[1].heaviest_s)
    tables: list[PlannedTable] = []
    first = 0
    for group, packed in found:
        whole_s = sum(one.mean_s for one in group)
        tables += [_again(one, packed, one.mean_s / whole_s, first) for one in group]
        first += packed.shards
    plan = previous.model_copy(
        update={
            "version": version_of(tables),
            "round": previous.round + 1,
            "created": now,
            "tables": tuple(tables),
            "shards": first,
            "cells": sum(t.cells for t in tables),
            **_used(rounds[0], tables),
        }
    )
    return Planned(plan, {}, tuple(packed for _, packed in found))


@dataclass(frozen=True)
class _Again:
    """A table with the clients that are read again, and the seconds that each takes."""

    table: PlannedTable
    clients: tuple[Range, ...]
    mean_s: float


def _grouped(
    rounds: Sequence[Plan], lines: Mapping[TableKey, Sequence[Range]]
) -> Iterator[tuple[_Again, ...]]:
    """Tables that shared their shards share them again if the same clients of them are left."""
    found: dict[tuple[object, ...], list[_Again]] = {}
    for n, (key, ranges) in enumerate(lines.items()):
        plan, table = _newest(rounds, key)
        again = common(joined(ranges), table.clients)
        mean_s = table.cost_s / count(table.clients) if table.clients else 0.0
        place = (plan.round, table.first, again) if again else (n,)
        found.setdefault(place, []).append(_Again(table, again, mean_s or PRIOR_S))
    yield from map(tuple, found.values())


def _packed(group: Sequence[_Again], target_s: float) -> Packed:
    return pack(
        group[0].clients,
        mean_s=sum(one.mean_s for one in group),
        known_s={},
        target_s=target_s,
        most=most_clients(sum(len(one.table.selected) for one in group) if len(group) > 1 else 1),
    )


def _newest(rounds: Sequence[Plan], key: TableKey) -> tuple[Plan, PlannedTable]:
    """A table as its first round planned it: the widest clients, and the schemas of the run."""
    for plan in rounds:
        for table in plan.tables:
            if (table.source, table.name) == key:
                return plan, table
    return rounds[0], rounds[0].table(*key)


def _again(one: _Again, packed: Packed, share: float, first: int) -> PlannedTable:
    return one.table.model_copy(
        update={
            "first": first,
            "shards": packed.shards,
            "cells": count(one.clients) * len(one.table.selected),
            "clients": one.clients,
            "authoritative": False,
            "why_not_authoritative": WHY_NOT,
            "cost_s": round(packed.cost_s * share, 3),
        }
    )


def _used(first: Plan, tables: Sequence[PlannedTable]) -> dict[str, object]:
    """The sources that take part, and the destinations that they write to or keep state in."""
    names = {t.source for t in tables}
    sources = tuple(s for s in first.sources if s.name in names)
    written = {d for s in sources for d in s.destinations}
    destinations = tuple(
        d for d in first.destinations if d.name in written or names & {*d.holds_state_of}
    )
    return {"sources": sources, "destinations": destinations}
