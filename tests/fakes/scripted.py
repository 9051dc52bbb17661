"""A source that yields what a test wrote down, and an `OpenedSources` that hands it out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from contracts.table import Column, Table
from worker.opened import Key, Opened, OpenedSources
from worker.sources.base import Clients, Event, Rows, Work

Script = Callable[[Work, Mapping[str, str]], Iterable[Event]]

PARENT = Table(
    "p", (Column("k", pa.int64(), nullable=False, primary_key=True), Column("v", pa.string()))
)
CHILD = Table("c", (Column("k", pa.int64(), nullable=False, primary_key=True),), parent="p")
LOG = Table("log", PARENT.columns, incremental=True)
KEYLESS = Table("p", (Column("v", pa.string()),))


def rows(table: Table | str, client: str, keys: Iterable[int], **columns: Any) -> Rows:
    """Rows with these keys."""
    name = table if isinstance(table, str) else table.name
    return Rows(name, client, pa.record_batch({"k": pa.array(list(keys), pa.int64()), **columns}))


class Scripted:
    def __init__(self, script: Script, tables: Sequence[Table] = (PARENT,)) -> None:
        self._script = script
        self._tables = tables
        self.closed = False
        self.seen: list[Mapping[str, str]] = []

    def tables(self) -> Sequence[Table]:
        return self._tables

    def clients(self, table: Table) -> Clients:
        return Clients("all", ("a", "b"))

    def read(self, work: Work, cursors: Mapping[str, str]) -> Iterator[Event]:
        self.seen.append(dict(cursors))
        yield from self._script(work, cursors)

    def close(self) -> None:
        self.closed = True


class Handing(OpenedSources):
    """Gives the same source to every attempt; nothing is opened."""

    def __init__(self, source: Scripted, masked: Callable[[str], str] = str) -> None:
        super().__init__(kept=1)
        self.opened = Opened(masked=masked)
        self.opened.source = source

    def take(self, key: Key, open_: Callable[[], Opened]) -> Opened:
        return self.opened
