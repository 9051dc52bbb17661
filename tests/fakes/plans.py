"""Plans of one source, `s`, with tables `t0`, `t1`, … of so many shards each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import zip_longest

from contracts.plan import Plan, PlannedDestination, PlannedSource, PlannedTable, version_of
from contracts.table import Table

AT = datetime(2026, 1, 1, tzinfo=UTC)


def plan(
    *shards: int,
    destinations: Sequence[str] = ("d",),
    holder: str = "",
    incremental: bool = False,
    round_: int = 1,
    together: Sequence[int] = (),
) -> Plan:
    """`holder`: the destination that holds the state of the source. `together`: so many tables, one after
    the other, share the shards of each number; the default is one.
    """
    tables: list[PlannedTable] = []
    first = 0
    for count, many in zip_longest(shards, together, fillvalue=1):
        for _ in range(many):
            name = f"t{len(tables)}"
            table = Table(name, (), incremental=incremental)
            tables.append(
                PlannedTable(
                    source="s", name=name, tree=(table,), selected=(name,), first=first,
                    shards=count, cells=count, clients=((0, count),), authoritative=True,
                )
            )  # fmt: skip
        first += count
    return Plan(
        version=version_of(tables),
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
