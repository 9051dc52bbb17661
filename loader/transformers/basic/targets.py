"""Which columns of a table a transformation means: whole ones, and paths into JSON ones.

A name that is a column's means the column, dots or not; else what stands before the first dot names a
JSON column. A name that the table does not have is left out, as in CloudQuery, but noted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import pyarrow as pa

from contracts.errors import InputError
from contracts.table import Column, Table
from loader.transformers import paths, values
from loader.transformers.base import OnBatch
from loader.transformers.basic.options import Transformation
from loader.transformers.values import OnArray


@dataclass(frozen=True)
class Targets:
    """`within`: JSON column → paths into it. `missing`: names that the table does not have."""

    whole: tuple[str, ...]
    within: Mapping[str, tuple[paths.Path, ...]]
    missing: tuple[str, ...]

    @property
    def names(self) -> frozenset[str]:
        return frozenset((*self.whole, *self.within))


def targets(t: Transformation, table: Table) -> Targets:
    """Raises InputError for a path into a column that is no JSON."""
    whole: list[str] = []
    within: dict[str, list[paths.Path]] = {}
    missing: list[str] = []
    for name in t.columns:
        if name in table:
            whole.append(name)
            continue
        first, *rest = paths.split(name)
        if not isinstance(first, str) or first not in table or not rest:
            missing.append(name)
        elif values.family(table.column(first).type) != "json":
            raise InputError(
                f"{t.kind}: '{name}' is a path into column '{first}' of table '{table.name}', which is "
                f"{table.column(first).type}, not JSON",
                "name the whole column, or narrow `tables`",
            )
        else:
            within.setdefault(first, []).append(tuple(rest))
    inner = {c: tuple(found) for c, found in within.items() if c not in whole}
    return Targets(tuple(dict.fromkeys(whole)), inner, tuple(missing))


def has(table: Table, name: str) -> bool:
    """Whether the name is one of the table's columns, or a path into one."""
    if name in table:
        return True
    first, *rest = paths.split(name)
    return bool(rest) and isinstance(first, str) and first in table


def warnings(t: Transformation, table: Table, found: Targets) -> tuple[str, ...]:
    """Only where the table is named in full: with `*` nobody expects a column in every table."""
    if table.name not in t.tables:
        return ()
    return tuple(f"{t.kind}: table '{table.name}' has no column '{name}'" for name in found.missing)


def with_columns(table: Table, columns: Iterable[Column]) -> Table:
    return replace(table, columns=tuple(columns))


def on_columns(changes: Mapping[int, OnArray]) -> OnBatch | None:
    """A batch with some of its columns changed, by position; their types stay."""
    if not changes:
        return None

    def change(batch: pa.RecordBatch) -> pa.RecordBatch:
        columns = [changes[i](c) if i in changes else c for i, c in enumerate(batch.columns)]
        return pa.RecordBatch.from_arrays(columns, schema=batch.schema)

    return change


def position(table: Table, column: str) -> int:
    return next(i for i, c in enumerate(table.columns) if c.name == column)


def refuse_taken(t: Transformation, table: Table, name: str) -> None:
    """Raises InputError if the table has a column of this name."""
    if name in table:
        raise InputError(
            f"{t.kind}: table '{table.name}' has a column '{name}' already",
            "choose another name, or remove that column first",
        )
