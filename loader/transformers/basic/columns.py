"""Columns that are removed, renamed or added."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pyarrow as pa

from contracts import types
from contracts.errors import InputError
from contracts.table import Column, Table
from loader.transformers import paths, values
from loader.transformers.base import Shown
from loader.transformers.basic.options import Transformation
from loader.transformers.basic.targets import (
    on_columns,
    position,
    refuse_taken,
    targets,
    warnings,
    with_columns,
)
from loader.transformers.values import OnArray


def remove(t: Transformation, table: Table, at: datetime) -> Shown:
    """Whole columns, and what paths name inside of JSON columns."""
    del at
    found = targets(t, table)
    kept = [i for i, c in enumerate(table.columns) if c.name not in found.whole]
    if not kept:
        raise InputError(
            f"remove_columns would leave table '{table.name}' without a column",
            "leave the table out instead: skip_tables",
        )
    result = with_columns(table, (table.columns[i] for i in kept))
    inner = on_columns(
        {position(table, name): _without(within) for name, within in found.within.items()}
    )

    def batch(b: pa.RecordBatch) -> pa.RecordBatch:
        return (inner(b) if inner else b).select(kept)

    touched = bool(found.whole or found.within)
    return Shown(
        result, batch if touched else None, altered=frozenset(found.within),
        blurred=frozenset(found.within), warnings=warnings(t, table, found),
    )  # fmt: skip


def _without(within: tuple[paths.Path, ...]) -> OnArray:
    def change(value: paths.Json) -> paths.Json:
        # Marked first and swept after, so that of two paths into a list neither moves the other.
        for path in within:
            value = paths.edit(value, path, lambda _: paths.GONE)
        return paths.swept(value)

    return lambda array: values.on_json(array, change, lambda raw: raw.decode())


def rename(t: Transformation, table: Table, at: datetime) -> Shown:
    """Keys follow their columns."""
    del at
    old, new = t.name, t.value or ""
    if old not in table:
        note = f"rename_column: table '{table.name}' has no column '{old}'"
        return Shown(table, warnings=(note,) if table.name in t.tables else ())
    if old == new:
        return Shown(table)
    refuse_taken(t, table, new)
    result = with_columns(
        table, (replace(c, name=new) if c.name == old else c for c in table.columns)
    )
    schema = result.schema
    return Shown(
        result,
        lambda b: pa.RecordBatch.from_arrays(b.columns, schema=schema),
        renames={old: new},
    )


def add_text(t: Transformation, table: Table, at: datetime) -> Shown:
    del at
    column = Column(t.name, pa.string(), nullable=False)
    return _added(t, table, column, pa.scalar(t.value, pa.string()))


def add_time(t: Transformation, table: Table, at: datetime) -> Shown:
    column = Column(t.name, types.TIMESTAMP)
    return _added(t, table, column, pa.scalar(at, types.TIMESTAMP))


def _added(t: Transformation, table: Table, column: Column, value: pa.Scalar) -> Shown:
    """The same value in every row, in a new last column."""
    refuse_taken(t, table, column.name)
    result = with_columns(table, (*table.columns, column))
    fill: Callable[[int], pa.Array] = lambda n: pa.repeat(value, n)  # noqa: E731  # typed in one line
    schema = result.schema
    return Shown(
        result,
        lambda b: pa.RecordBatch.from_arrays([*b.columns, fill(b.num_rows)], schema=schema),
        altered=frozenset({column.name}),
        blurred=frozenset({column.name}),
    )
