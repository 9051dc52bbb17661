"""What the source took back of older rows, as landing tables of values and the statements that delete by them.

They run in the publish, before anything is merged: every row that is in the table then is older than the tombstone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import pyarrow as pa

from contracts.commit import Tombstone
from contracts.errors import Permanent
from contracts.table import CLIENT_ID, ID, PARENT_ID, SOURCE_NAME, SYNC_TIME, Table
from loader.convert import convert
from loader.dialect import Dialect
from loader.outcomes import Key
from loader.shape import PhysicalColumn, PhysicalTable
from loader.sieve import value_of
from loader.sql import Statement
from loader.target import Target
from loader.transformers.base import Shown
from loader.warehouses.base import Rows

Group = tuple[str, tuple[str, ...], tuple[tuple[str, str], ...]]  # table, columns, relations
Landing = Callable[[tuple[PhysicalColumn, ...]], PhysicalTable]
_BATCH = 1_000  # tombstones whose values are in memory as Arrow at once


@dataclass(frozen=True)
class Written:
    """A table of the load: grown over all parts, as it is shown, and as the warehouse has it."""

    table: Table
    shown: Shown
    goal: Target

    def column(self, name: str) -> str:
        """The physical name. Raises Permanent where a transformer removed or changed what rows are told by."""
        now = self.shown.renames.get(name, name)
        if now not in self.shown.table or now in self.shown.altered:
            raise Permanent(
                f"the source deletes rows of table '{self.table.name}' by its column '{name}', which a "
                "transformer removes or changes; nothing was loaded",
                "leave the column as it is",
            )
        names = [c.name for c in self.goal.table.columns]
        return self.goal.shape.names[names.index(now)]


@dataclass(frozen=True)
class Removal:
    """Values to land, and the statements that delete by them, each with the name of the table that readers find."""

    landing: PhysicalTable
    rows: Rows
    statements: tuple[tuple[str, Statement], ...]


def removals(
    d: Dialect,
    tables: Mapping[str, Written],
    deletes: Sequence[tuple[Key, tuple[Tombstone, ...]]],
    landing: Landing,
    source: str,
    sync_time: datetime,
) -> Iterator[Removal]:
    """One per set of columns that rows are told by. `landing` makes a landing table of these columns.

    Rows of the source go that have the values of a tombstone, if they are of its client; older rows that name no
    client, too. Where client ids are the source's own, every older row with the values goes.
    """
    groups: dict[Group, list[tuple[str, Tombstone]]] = defaultdict(list)
    for (table, client), tombstones in deletes:
        for t in tombstones if table in tables else ():
            known = tuple(r for r in t.relations if r[0] in tables)
            groups[table, tuple(sorted(t.where)), known].append((client, t))
    for (name, columns, relations), found in groups.items():
        of = tables[name]
        types = [of.table.column(c).type for c in columns]
        mapped = [d.map_type(t) for t in (pa.string(), *types)]
        shape = landing(tuple(PhysicalColumn(f"v{n}", m.sql) for n, m in enumerate(mapped)))
        schema = pa.schema([pa.field(f"v{n}", m.arrow) for n, m in enumerate(mapped)])
        statements = tuple(
            (tables[path[-1]].shown.table.name, _delete(d, [tables[t] for t in path], columns, shape, source, sync_time))
            for path in _paths(name, relations)
        )  # fmt: skip
        yield Removal(shape, _rows(schema, columns, types, found), statements)


def _paths(table: str, relations: Sequence[tuple[str, str]]) -> list[tuple[str, ...]]:
    """From the table to each of its descendants that go along, the deepest first, itself last."""
    found: list[tuple[str, ...]] = [(table,)]
    for path in found:
        found += [
            (*path, child)
            for child, parent in relations
            if parent == path[-1] and child not in path
        ]
    return found[::-1]


def _rows(
    schema: pa.Schema,
    columns: Sequence[str],
    types: Sequence[pa.DataType],
    found: Sequence[tuple[str, Tombstone]],
) -> Rows:
    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, len(found), _BATCH):
            some = found[start : start + _BATCH]
            arrays = [pa.array([client for client, _ in some], pa.string())]
            for name, type_ in zip(columns, types, strict=True):
                arrays.append(pa.concat_arrays([value_of(t.where[name], type_) for _, t in some]))
            converted = [convert(a, f.type) for a, f in zip(arrays, schema, strict=True)]
            yield pa.RecordBatch.from_arrays(converted, schema=schema)

    return Rows(schema, batches)


def _delete(
    d: Dialect,
    path: Sequence[Written],
    columns: Sequence[str],
    landing: PhysicalTable,
    source: str,
    sync_time: datetime,
) -> Statement:
    """Rows of the last table of the path, found by way of those above it."""
    q = d.quote
    top = path[0]
    client, older = f"t0.{q(top.column(CLIENT_ID))}", f"t0.{q(top.column(SYNC_TIME))} < $2"
    whose = (
        older
        if top.table.own_client_ids
        else f"({client} = d.v0 OR ({client} IS NULL AND {older}))"
    )
    same = "".join(f"d.v{n} = t0.{q(top.column(c))} AND " for n, c in enumerate(columns, 1))
    where = f"EXISTS (SELECT 1 FROM {d.ref(landing)} AS d WHERE {same}{whose})"
    for n, (above, below) in enumerate(pairwise(path), 1):
        mine = f"t{n - 1}.{q(above.column(SOURCE_NAME))} = $1 AND {where}"
        ids = f"SELECT t{n - 1}.{q(above.column(ID))} FROM {d.ref(above.goal.shape)} AS t{n - 1} WHERE {mine}"
        where = f"t{n}.{q(below.column(PARENT_ID))} IN ({ids})"
    last, alias = path[-1], f"t{len(path) - 1}"
    text = (
        f"DELETE FROM {d.ref(last.goal.shape)} AS {alias} "
        f"WHERE {alias}.{q(last.column(SOURCE_NAME))} = $1 AND {where}"
    )
    return Statement(text, (source, sync_time), counts="stale")
