"""What a source says to be gone, as the commit carries it: checked, and with its place among the rows."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from contracts import types
from contracts.commit import Tombstone, Value
from contracts.errors import Permanent, SchemaChanged
from contracts.stagefile.text import to_text
from contracts.table import Table
from worker.sources.base import Deleted
from worker.stamp import fit

MOST = 10_000  # of one attempt: they stand in its commit


def tombstones(
    given: Deleted, tables: Mapping[str, Table], before: Mapping[str, int]
) -> list[Tombstone]:
    """One per alternative. `tables`: the selected ones; `before`: rows of the client so far, by table.

    Raises SchemaChanged for a condition that no row of the table can be held against, Permanent for one that
    names no column: it would empty the table.
    """
    table = tables[given.table]
    relations = [(child, parent) for child, parent in given.relations if child in tables]
    places = {
        name: before.get(name, 0) for name in (table.name, *(child for child, _ in relations))
    }
    found = []
    for alternative in given.where:
        if not alternative:
            raise Permanent(
                f"{table.name}: the source deletes rows and does not say which; nothing is deleted"
            )
        where = {name: _value(table, name, value) for name, value in alternative.items()}
        found.append(Tombstone(where=where, relations=tuple(relations), before=places))
    return found


def _value(table: Table, name: str, value: pa.Array) -> Value:
    if name not in table:
        raise SchemaChanged(
            f"{table.name}: the source deletes rows by the column '{name}', which the table does not have"
        )
    column = table.column(name)
    if len(value) != 1 or value.null_count or pa.types.is_nested(column.type):
        raise SchemaChanged(
            f"{table.name}: the source deletes rows by the column '{name}' ({column.type}), but not by one "
            "value that rows can be compared with"
        )
    (text,) = to_text(fit(table, column, value)).to_pylist()
    return Value(type=types.encode(column.type), text=text)
