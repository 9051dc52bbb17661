"""Plans of one source, `s`, with tables `t0`, `t1`, … of so many shards each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from contracts.plan import Plan, PlannedDestination, PlannedSource, PlannedTable
from contracts.table import Table

AT = datetime(2026, 1, 1, tzinfo=UTC)


def plan(
    *shards: int,
    destinations: Sequence[str] = ("d",),
    holder: str = "",
    incremental: bool = False,
    round_: int = 1,
) -> Plan:
    """`holder`: the destination that holds the state of the source."""
    tables: list[PlannedTable] = []
    first = 0
    for n, count in enumerate(shards):
        table = Table(f"t{n}", (), incremental=incremental)
        tables.append(
            PlannedTable(
                source="s", name=f"t{n}", tree=(table,), selected=(f"t{n}",), first=first,
                shards=count, cells=count, clients=((0, count),), authoritative=True,
            )
        )  # fmt: skip
        first += count
    return Plan(
        run="r", round=round_, created=AT, sync_time=AT, shards=first, cells=first,
        sources=(PlannedSource(name="s", path="p", spec=0, destinations=tuple(destinations), clients=9),),
        destinations=tuple(
            PlannedDestination(
                name=d, path="p", spec=1, holds_state_of=("s",) if d == holder else ()
            )
            for d in destinations
        ),
        tables=tuple(tables),
    )  # fmt: skip
