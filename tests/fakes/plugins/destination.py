"""A destination plugin on CloudQuery's Python SDK that writes to SQLite: `python -m tests.fakes.plugins.destination serve …`.

Spec:

    file: /path/w.sqlite
    reads: true             # false: it cannot be read from
    secret: text            # not used, not told
    faults: {…}             # what goes wrong, each of them once if `once` names a file that does not exist yet

Faults: `exit` (code), `signal` or `raise` (text) after so many inserts (`after`, 0), `log_error` (text) with the first
insert, `hang` (nothing is taken any more), `init` (text: it refuses its spec).

A row with a primary key takes the place of an older one; without a key rows are appended. Each message is
committed by itself, as in plugins without transactions. Safe migration adds columns; a forced one may drop the table.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sqlite3
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
from cloudquery.sdk import message, plugin, schema, serve

_KNOWN = {"file", "reads", "secret", "faults"}


class Sqlite(plugin.Plugin):
    def __init__(self) -> None:
        super().__init__("sqlite", "v1.2.3")
        self._log = logging.getLogger()
        self._options: dict[str, Any] = {}
        self._inserts = 0

    def set_logger(self, logger: Any) -> None:
        self._log = logger

    def init(self, spec: bytes, no_connection: bool = False) -> None:
        self._options = json.loads(spec)
        faults = self._options.get("faults", {})
        if unknown := self._options.keys() - _KNOWN:
            raise ValueError(f"unknown option {min(unknown)}")
        if text := faults.get("init"):
            raise ValueError(text)
        if not no_connection:
            self._open().close()

    def write(self, writer: Iterator[message.WriteMessage]) -> None:
        database = self._open()
        try:
            for m in writer:
                with database:
                    self._one(database, m)
        finally:
            database.close()

    def read(self, table: schema.Table) -> Iterator[message.ReadMessage]:
        if not self._options.get("reads", True):
            raise NotImplementedError
        database = self._open()
        names = [c.name for c in table.columns]
        try:
            found = database.execute(f"SELECT {_list(names)} FROM {_quoted(table.name)}").fetchall()
        finally:
            database.close()
        columns = zip(*found, strict=True) if found else [[] for _ in names]
        wanted = table.to_arrow_schema()
        arrays = [pa.array(list(c), f.type) for c, f in zip(columns, wanted, strict=True)]
        yield message.ReadMessage(pa.RecordBatch.from_arrays(arrays, schema=wanted))

    def close(self) -> None:
        self._log.info("closed")

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._options["file"])

    def _one(self, database: sqlite3.Connection, m: message.WriteMessage) -> None:
        if isinstance(m, message.WriteMigrateTableMessage):
            _migrate(database, m.table, forced=m.migrate_force)
        elif isinstance(m, message.WriteInsertMessage):
            self._fault()
            self._inserts += 1
            _insert(database, m.record)
        elif isinstance(m, message.WriteDeleteStale):
            at = m.sync_time.replace(tzinfo=UTC).isoformat()
            database.execute(
                f"DELETE FROM {_quoted(m.table_name)} WHERE _cq_source_name = ? AND _cq_sync_time < ?",
                (m.source_name, at),
            )
        else:
            raise NotImplementedError(type(m).__name__)

    def _fault(self) -> None:
        faults = self._options.get("faults", {})
        once = faults.get("once")
        if not faults or self._inserts < faults.get("after", 0):
            return
        if once:
            try:
                Path(once).touch(exist_ok=False)
            except FileExistsError:
                return
        if text := faults.get("log_error"):
            self._log.error(text, table="items")
        if code := faults.get("exit"):
            print("the disk is on fire", file=sys.stderr, flush=True)
            os._exit(code)
        if number := faults.get("signal"):
            os.kill(os.getpid(), number)
        if faults.get("hang"):
            threading.Event().wait()
        if text := faults.get("raise"):
            raise RuntimeError(text)


def _migrate(database: sqlite3.Connection, table: schema.Table, *, forced: bool) -> None:
    name = _quoted(table.name)
    old = {row[1]: (row[2], row[5]) for row in database.execute(f"PRAGMA table_info({name})")}
    new = {c.name: (_type(c), c.primary_key) for c in table.columns}
    changed = [
        c
        for c, (type_, key) in new.items()
        if c in old and (old[c][0] != type_ or bool(old[c][1]) != key)
    ]
    keys = [c for c, (_, key) in new.items() if key and old and c not in old]
    if changed or keys:
        if not forced:
            raise ValueError(
                f"table {table.name}: {sorted([*changed, *keys])} cannot be changed in safe mode"
            )
        database.execute(f"DROP TABLE {name}")
        old = {}
    if not old:
        columns = [
            f"{_quoted(c.name)} {_type(c)}{' NOT NULL' if c.not_null else ''}"
            for c in table.columns
        ]
        if key := table.primary_keys:
            columns.append(f"PRIMARY KEY ({_list(key)})")
        database.execute(f"CREATE TABLE {name} ({', '.join(columns)})")
        return
    for column in table.columns:
        if column.name not in old:
            database.execute(
                f"ALTER TABLE {name} ADD COLUMN {_quoted(column.name)} {_type(column)}"
            )


def _insert(database: sqlite3.Connection, record: pa.RecordBatch) -> None:
    """Whether it replaces is the table's business, not that of the message."""
    name = _quoted((record.schema.metadata or {})[b"cq:table_name"].decode())
    columns = [[_value(v) for v in column.to_pylist()] for column in record.columns]
    marks = ", ".join("?" for _ in columns)
    database.executemany(
        f"INSERT OR REPLACE INTO {name} ({_list(record.schema.names)}) VALUES ({marks})",
        zip(*columns, strict=True),
    )


def _type(column: schema.Column) -> str:
    """Whole numbers come back as such; all else is text whose type is named, so that a change is seen."""
    if pa.types.is_integer(column.type):
        return "INTEGER"
    if pa.types.is_floating(column.type):
        return "REAL"
    return "TEXT_" + re.sub(r"\W+", "_", str(column.type)).upper().replace("INT", "NUMBER")


def _value(value: Any) -> Any:
    match value:
        case None | int() | float() | str() | bytes():
            return value
        case datetime() | date() | time():
            return value.isoformat()
        case UUID() | timedelta() | Decimal():
            return str(value)
        case _:
            return json.dumps(value, default=str)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _list(names: list[str]) -> str:
    return ", ".join(map(_quoted, names))


def main() -> None:
    serve.PluginCommand(Sqlite()).run(sys.argv[1:])


if __name__ == "__main__":
    main()
