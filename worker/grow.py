"""A table that is open to evolution, grown so that it takes a batch: the smallest form of it that does."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from contracts import types
from contracts.errors import SchemaChanged
from contracts.evolution import is_fixed, joined, united
from contracts.table import Column, Table
from worker.stamp import fit


def grown(table: Table, batch: pa.RecordBatch) -> Table:
    """The table, with the columns that only the batch has, wider types where a value does not fit, and without
    the constraints that a null breaks; the table itself if it takes the batch as it is.

    Raises SchemaChanged for what cannot grow: keys and `_cq_*` columns, and types that no type holds both of.
    """
    columns = {c.name: c for c in table.columns}
    for name, values in zip(batch.schema.names, batch.columns, strict=True):
        known = columns.get(name)
        if known is None:
            # A column of nothing but nulls says nothing of its type, and nothing is lost without it.
            if not pa.types.is_null(values.type):
                columns[name] = _added(table, Column(name, values.type))
        elif not is_fixed(table, name):
            columns[name] = _fitting(table, known, values)
    for name, column in columns.items():
        if not column.nullable and name not in batch.schema.names and not is_fixed(table, name):
            columns[name] = replace(column, nullable=True)
    # Batches bring columns in any order: new ones are sorted, so that two attempts grow alike.
    return united(table, [replace(table, columns=tuple(columns.values()))])


def _added(table: Table, column: Column) -> Column:
    if column.name.startswith("_cq_"):
        raise SchemaChanged(
            f"{table.name}: the source sent the column '{column.name}', and names that begin with `_cq_` are ours"
        )
    try:
        types.encode(column.type)
    except TypeError as error:
        raise SchemaChanged(
            f"{table.name}: the source sent the column '{column.name}': {error}"
        ) from error
    return column


def _fitting(table: Table, known: Column, values: pa.Array) -> Column:
    nullable = known.nullable or bool(values.null_count)
    try:
        fit(table, known, values)
    except SchemaChanged:
        wide = joined(known.type, values.type)
        if wide is None:
            raise
        return replace(known, type=wide, nullable=nullable)
    return replace(known, nullable=nullable)
