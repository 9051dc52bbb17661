"""The messages of one write: tables first, then rows, then a flush; and how much of it went by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC

import pyarrow as pa

from contracts.errors import Permanent
from contracts.plugin.messages import DeleteStale, Flush, Insert, MigrateTable, WriteMessage
from contracts.table import Table
from loader.publication import Publication, TablePublication, check_copied
from loader.warehouses.base import Rows

BYTES = 1 << 20  # of Arrow memory in one message; 19 MB ran at a third of the throughput of 187 kB
ROWS = 10_000
FLUSH = 1  # the id of the only flush of a write


class Stream:
    """An iterable of the messages of `make`, once. `moved` is called for each of them; `begun`: one was taken."""

    def __init__(self, make: Callable[[Stream], Iterator[WriteMessage]]) -> None:
        self._make = make
        self.moved: Callable[[], None] = lambda: None
        self.begun = False
        self.flush = 0  # the id of the last one sent
        self.rows: dict[str, tuple[int, int]] = {}  # table → sent, left out

    def __iter__(self) -> Iterator[WriteMessage]:
        for message in self._make(self):
            self.moved()
            self.begun = True
            if isinstance(message, Flush):
                self.flush = message.id
            yield message


def of_load(
    stream: Stream, p: Publication, *, force: bool, flushes: bool
) -> Iterator[WriteMessage]:
    """Every table, parents first, then the rows of each; counted against the manifests.

    Raises Permanent if rows are missing: what went before stays in the destination, and nobody claims it.
    """
    yield from tables(p, force=force)
    for t in p.tables:
        if t.rows is None:
            raise Permanent(f"the rows of table '{t.table}' were not handed over")
        told, sent = declared(t), 0
        for batch in t.rows.batches():
            for piece in cut(batch):
                sent += piece.num_rows
                yield Insert(told, piece)
        dropped = t.rows.dropped()
        check_copied(t.table, sent + dropped, t.copied)
        stream.rows[t.table] = sent, dropped
    if flushes:
        yield Flush(FLUSH)


def of_stale(
    p: Publication, stale: Sequence[TablePublication], *, flushes: bool
) -> Iterator[WriteMessage]:
    """Children first: a row never outlives its parent."""
    yield from tables(p, force=False)
    at = p.sync_time.replace(tzinfo=UTC)
    for t in reversed(stale):
        yield DeleteStale(t.target.name, p.source, at)
    if flushes:
        yield Flush(FLUSH)


def of_rows(table: Table, rows: Rows, *, flushes: bool) -> Iterator[WriteMessage]:
    """A table of ours with its rows."""
    yield MigrateTable(table)
    for batch in rows.batches():
        yield Insert(table, batch)
    if flushes:
        yield Flush(FLUSH)


def of_tables(found: Iterable[Table], *, force: bool) -> Iterator[WriteMessage]:
    return (MigrateTable(table, force) for table in found)


def tables(p: Publication, *, force: bool) -> Iterator[WriteMessage]:
    """None with `--no-migrate`: then the plugin takes rows as the tables are."""
    return of_tables((declared(t) for t in p.tables) if p.migrates else (), force=force)


def declared(t: TablePublication) -> Table:
    assert t.declared
    return t.declared


def cut(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Slices of about `BYTES` and at most `ROWS`; a row that is larger goes alone."""
    each = max(1, batch.nbytes // max(1, batch.num_rows))
    step = max(1, min(ROWS, BYTES // each))
    return (batch.slice(at, step) for at in range(0, batch.num_rows, step))
