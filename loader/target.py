"""The table that a destination wants: the planned table under its write mode, key mode and sync group."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa

from contracts.spec import Destination
from contracts.table import ID, SOURCE_NAME, SYNC_GROUP_ID, SYNC_TIME, Column, Table
from loader.dialect import Dialect
from loader.shape import PhysicalColumn, PhysicalTable


@dataclass(frozen=True)
class Target:
    """`table` in the destination: its columns beside their physical names, and the sync group if it has one."""

    table: Table
    shape: PhysicalTable
    group: str

    @property
    def append(self) -> bool:
        return not self.shape.key


def target(d: Dialect, table: Table, destination: Destination, run: str, now: datetime) -> Target:
    """`now` is the sync time of the run, in UTC."""
    group = sync_group(destination.sync_group_id, run, now)
    columns = [c for c in table.columns if not (group and c.name == SYNC_GROUP_ID)]
    if group:
        at = max((i + 1 for i, c in enumerate(columns) if c.name in (SYNC_TIME, SOURCE_NAME)), default=0)  # fmt: skip
        columns.insert(at, Column(SYNC_GROUP_ID, pa.string(), nullable=False))
    names = d.names_of(tuple(c.name for c in columns))
    key = _key(table, destination, group=bool(group))
    shape = PhysicalTable(
        d.name_of(table.name),
        tuple(
            PhysicalColumn(name, d.map_type(c.type).sql, c.nullable and c.name not in key)
            for name, c in zip(names, columns, strict=True)
        ),
        tuple(name for name, c in zip(names, columns, strict=True) if c.name in key),
    )
    return Target(replace(table, columns=tuple(columns)), shape, group)


def declared(d: Dialect, goal: Target, parent: str | None) -> Table:
    """The target as a program of its own is told of it, which has no write mode: a key that it sees is merged by.

    `parent`: name of the parent as it is written, None if it is not.
    """
    columns = (
        replace(
            column,
            name=physical.name,
            type=d.map_type(column.type).arrow,
            nullable=physical.nullable,
            primary_key=physical.name in goal.shape.key,
            unique=column.unique and not goal.append,
        )
        for column, physical in zip(goal.table.columns, goal.shape.columns, strict=True)
    )
    return replace(goal.table, name=goal.shape.name, columns=tuple(columns), parent=parent)


def _key(table: Table, destination: Destination, *, group: bool) -> frozenset[str]:
    """Names of the key columns; `append` has none."""
    if destination.write_mode == "append":
        return frozenset()
    own = (ID,) if destination.pk_mode == "cq-id-only" else table.primary_key
    # Without the group in the key, groups would overwrite each other's rows.
    return frozenset({*own, *((SYNC_GROUP_ID,) if group else ())})


def sync_group(template: str, run: str, now: datetime) -> str:
    """CloudQuery's placeholders, filled from the start of the run."""
    values = {
        "YEAR": f"{now:%Y}", "MONTH": f"{now:%m}", "DAY": f"{now:%d}",
        "HOUR": f"{now:%H}", "MINUTE": f"{now:%M}", "SYNC_ID": run,
    }  # fmt: skip
    for name, value in values.items():
        template = template.replace("{{" + name + "}}", value)
    return template
