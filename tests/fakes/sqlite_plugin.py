"""The SQLite destination plugin of tests/fakes/plugins as a place, and its file as plain values."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fakes.plugins.programs import python


@dataclass(frozen=True)
class SqlitePlace:
    """An empty file. `outer`: fields of the destination's document beside `path` and `spec`."""

    file: Path
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return python("destination")

    @property
    def spec(self) -> Mapping[str, Any]:
        return {"file": str(self.file), **self.options}

    @property
    def outer(self) -> Mapping[str, Any]:
        return {"registry": "local"}

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.file)) as database, database:
            return database.execute(sql).fetchall()

    def tables(self) -> set[str]:
        return {
            name for (name,) in self.rows("SELECT name FROM sqlite_master WHERE type = 'table'")
        }

    def contents(self, *leave_out: str) -> dict[str, list[dict[str, Any]]]:
        """As `tests.fakes.contents` has those of other warehouses."""
        skipped = {"_cq_sync_time", *leave_out}
        found = {}
        for table in sorted(self.tables()):
            if table.startswith(("sharder_", "cq_state")):
                continue
            with closing(sqlite3.connect(self.file)) as database:
                database.row_factory = sqlite3.Row
                rows = [dict(r) for r in database.execute(f'SELECT * FROM "{table}"')]
            shown = [{k: _plain(v) for k, v in r.items() if k not in skipped} for r in rows]
            found[table] = sorted(shown, key=lambda r: repr(sorted(r.items())))
        return found


def _plain(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in "[{":
        return json.loads(value)
    return value
