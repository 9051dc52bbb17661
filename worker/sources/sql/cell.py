"""Reading one relation through one connection: which columns, which rows, up to which cursor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from contracts.errors import SchemaChanged
from contracts.table import Table
from worker.sources.sql import cursor
from worker.sources.sql.arrow import conform
from worker.sources.sql.databases import wanted
from worker.sources.sql.engine import ColumnPlan, Engine, Relation, Where, own
from worker.sources.sql.literals import encode
from worker.sources.sql.options import Options


@dataclass(frozen=True)
class Reader:
    """A relation and the connection that it is read through."""

    engine: Engine
    relation: Relation
    options: Options

    def batches(self, columns: Sequence[ColumnPlan], where: Where) -> Iterator[pa.RecordBatch]:
        """Conforming batches, none empty, of at most `batch_rows` rows."""
        step = self.options.batch_rows
        with closing(self.engine.read(self.relation, columns, where)) as delivered:
            for batch in delivered:
                whole = conform(
                    batch,
                    columns,
                    table=self.relation.table,
                    limits=self.engine.limits,
                    infinity=self.options.infinity,
                )
                for start in range(0, whole.num_rows, step):
                    yield whole.slice(start, step)

    def column(self, name: str) -> ColumnPlan:
        """Raises SchemaChanged if the relation has no such column any more."""
        found = self.relation.column(name)
        if found is None:
            raise SchemaChanged(
                f"{self.relation.table}.{name} is gone since the run was planned",
                "a new run plans with the new schema",
            )
        return found

    def edge(self, column: ColumnPlan, order: str, where: Sequence[str] = ()) -> str | None:
        """The smallest (ASC) or largest (DESC) value, as text; None if there is none.

        By order and limit: not every type has a max(), and an index on the column answers at once.
        """
        conditions = where or (f"{own(column.name)} IS NOT NULL",)
        one = Where(conditions, f"{own(column.name)} {order}", limit=1)
        for batch in self.batches([column], one):
            return encode(batch.column(0)[0])
        return None

    def newest(self, column: ColumnPlan, lower: str | None) -> str | None:
        """The newest value of a cursor column, not older than the cursor; None if there is none."""
        return self.edge(column, "DESC", cursor.not_before(column.name, lower, column.type))


def agreed(table: Table, relation: Relation, *, several: bool) -> list[ColumnPlan]:
    """The planned columns as this database has them. Raises SchemaChanged where they disagree.

    Of several databases one may lack a column that another has; then it is null.
    """
    found = []
    there = {c.name: c for c in relation.columns if wanted(c)}
    for planned in table.columns:
        column = there.get(planned.name)
        if column is None:
            if not planned.name.startswith("_cq_") and not (several and planned.nullable):
                raise SchemaChanged(
                    f"{table.name}.{planned.name} is gone since the run was planned",
                    "a new run plans with the new schema",
                )
        elif column.type != planned.type:
            raise SchemaChanged(
                f"{table.name}.{planned.name} is {column.type}, but the plan says {planned.type}",
                "a new run plans with the new schema; column_types makes databases agree",
            )
        else:
            found.append(replace(column, nullable=planned.nullable))
    return found


def cursor_column(table: Table) -> str:
    """The column of an incremental table; empty for others."""
    return next((c.name for c in table.columns if c.incremental_key), "")


def window(
    reader: Reader, table: Table, bounds: Mapping[str, Any] | None, lower: str | None
) -> cursor.Window | str | None:
    """Rows to read of a cell. None: all of them; text: nothing, and that is the cursor as before."""
    name = cursor_column(table)
    if not name:
        return None
    column, boundary = reader.column(name), _boundary(table, reader.options)
    if boundary != "again":
        _no_nulls(reader, column, boundary)
    # Slices share the value that was read when the cell was cut.
    upper = reader.newest(column, lower) if bounds is None else bounds.get("upper")
    if upper is not None:
        return cursor.Window(name, column.type, boundary, lower, upper)
    if boundary == "again":
        return lower and cursor.Window(name, column.type, boundary, lower, lower)
    return lower or ""


def _boundary(table: Table, options: Options) -> cursor.Boundary:
    if options.cursor_boundary != "auto":
        return options.cursor_boundary
    keyed = any(not name.startswith("_cq_") for name in table.primary_key)
    return "again" if keyed else "hold"


def _no_nulls(reader: Reader, column: ColumnPlan, boundary: str) -> None:
    where = Where((f"{own(column.name)} IS NULL",), limit=1)
    if any(True for _ in reader.batches([replace(column, nullable=True)], where)):
        raise SchemaChanged(
            f"{reader.relation.table}.{column.name}: the cursor column has nulls, which '{boundary}' could lose or repeat",
            "choose a column without nulls, or name a primary key and set cursor_boundary: again",
        )
