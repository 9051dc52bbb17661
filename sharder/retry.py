"""The round that `retry` adds to a run: the cells that did not end ok, and the loads that failed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from contracts.errors import InputError
from contracts.plan import Plan, PlannedTable, Range
from sharder.costs import PRIOR_S
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
    found = []
    for key, ranges in lines.items():
        table = _newest(rounds, key)
        again = common(joined(ranges), table.clients)
        mean_s = table.cost_s / count(table.clients) if table.clients else 0.0
        packed = pack(again, mean_s=mean_s or PRIOR_S, known_s={}, target_s=target_s)
        found.append((table, again, packed))
    found.sort(key=lambda item: -item[2].heaviest_s)
    tables: list[PlannedTable] = []
    first = 0
    for table, again, packed in found:
        tables.append(_again(table, again, packed, first))
        first += packed.shards
    plan = previous.model_copy(
        update={
            "round": previous.round + 1,
            "created": now,
            "tables": tuple(tables),
            "shards": first,
            "cells": sum(t.cells for t in tables),
            **_used(rounds[0], tables),
        }
    )
    return Planned(plan, {}, tuple(packed for _, _, packed in found))


def _newest(rounds: Sequence[Plan], key: TableKey) -> PlannedTable:
    """A table as its first round planned it: the widest clients, and the schemas of the run."""
    for plan in rounds:
        for table in plan.tables:
            if (table.source, table.name) == key:
                return table
    return rounds[0].table(*key)


def _again(
    table: PlannedTable, clients: tuple[Range, ...], packed: Packed, first: int
) -> PlannedTable:
    return table.model_copy(
        update={
            "first": first,
            "shards": packed.shards,
            "cells": count(clients) * len(table.selected),
            "clients": clients,
            "authoritative": False,
            "why_not_authoritative": WHY_NOT,
            "cost_s": round(packed.cost_s, 3),
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
