"""Tables and columns that options name must exist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from contracts.errors import InputError
from contracts.specfile import nearest
from contracts.table import Table
from worker.sources.sql.options import Options


def check_names(options: Options, tables: Mapping[str, Table]) -> None:
    """Tables and columns that options name must exist: a typing error would silently read everything."""
    named: list[tuple[str, str, Sequence[str]]] = [
        *(("cursor_columns", t, [c]) for t, c in options.cursor_columns.items()),
        *(("slice_columns", t, [c]) for t, c in options.slice_columns.items()),
        *(("primary_keys", t, c) for t, c in options.primary_keys.items()),
        *(("column_types", t, list(c)) for t, c in options.column_types.items()),
    ]
    for option, table, columns in named:
        if table not in tables:
            near = nearest(table, tables)
            raise InputError(
                f"{option} names the table '{table}', which no database has",
                f"did you mean '{near}'?"
                if near
                else "tables outside the schema public carry its name: sales_orders",
            )
        for column in columns:
            if column not in tables[table]:
                near = nearest(column, [c.name for c in tables[table].columns])
                raise InputError(
                    f"{option}: the table '{table}' has no column '{column}'",
                    f"did you mean '{near}'?" if near else "",
                )
