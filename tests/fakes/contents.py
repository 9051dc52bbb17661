"""What is in a warehouse, as plain values that can be compared from engine to engine.

Ours (`sharder_…`) and CloudQuery's state tables are left out, and so is `_cq_sync_time`: it differs from
run to run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

Row = Mapping[str, Any]
Contents = Mapping[str, Sequence[Row]]

_OURS = ("sharder_", "cq_state")


def of_duckdb(path: Path, *leave_out: str) -> Contents:
    import duckdb

    with duckdb.connect(str(path), read_only=True) as warehouse:
        names = warehouse.execute(
            "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'main' ORDER BY 1"
        ).fetchall()
        found = {}
        for (name,) in names:
            rows = warehouse.execute(f'FROM "{name}"')
            columns = [(c[0], str(c[1]) == "JSON") for c in rows.description or ()]
            found[name] = _rows(columns, rows.fetchall(), leave_out)
    return _readers(found)


def of_postgresql(dsn: str, *leave_out: str) -> Contents:
    import psycopg

    with psycopg.connect(dsn) as warehouse:
        names = warehouse.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
        ).fetchall()
        found = {}
        for (name,) in names:
            rows = warehouse.execute(f'SELECT * FROM "{name}"'.encode())
            columns = [(c.name, False) for c in rows.description or ()]
            found[name] = _rows(columns, rows.fetchall(), leave_out)
    return _readers(found)


def differences(one: Contents, other: Contents) -> list[str]:
    """Where they differ, a line each; empty if they are equal."""
    found = [f"{t} is in one of them only" for t in sorted(one.keys() ^ other.keys())]
    for table in sorted(one.keys() & other.keys()):
        if len(one[table]) != len(other[table]):
            found.append(f"{table}: {len(one[table])} rows, and {len(other[table])}")
            continue
        for left, right in zip(one[table], other[table], strict=True):
            found += [
                f"{table}.{name}: {left.get(name)!r}, and {right.get(name)!r}"
                for name in sorted(left.keys() | right.keys())
                if left.get(name) != right.get(name)
            ]
    return found


def _rows(
    columns: Sequence[tuple[str, bool]], rows: Sequence[Sequence[Any]], leave_out: Sequence[str]
) -> list[Row]:
    """Sorted; columns by name. `columns`: whether the text of a column is JSON."""
    skipped = {"_cq_sync_time", *leave_out}
    found = [
        {
            name: plain(json.loads(value) if is_json and value is not None else value)
            for (name, is_json), value in zip(columns, row, strict=True)
            if name not in skipped
        }
        for row in rows
    ]
    return sorted(found, key=lambda row: repr(sorted(row.items())))


def _readers(found: Mapping[str, list[Row]]) -> Contents:
    return {name: rows for name, rows in found.items() if not name.startswith(_OURS)}


def plain(value: Any) -> Any:
    """A value as JSON could have it, exact."""
    match value:
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta() | UUID():
            return str(value)
        case Decimal():
            return format(value, "f")
        case bytes() | memoryview():
            return bytes(value).hex()
        case float():
            return repr(value)
        case list() | tuple():
            return [plain(v) for v in value]
        case dict():
            return {str(k): plain(v) for k, v in sorted(value.items(), key=str)}
        case _:
            return value
