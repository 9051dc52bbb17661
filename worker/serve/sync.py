"""Events of a source → messages of a sync.

Rows that were sent cannot be taken back, so what the commit of a shard decides at its end is told here as it
comes: a cell that did not end ok is an error message of its table, and its rows so far stay. A cell that
was denied is never just empty.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa

from contracts import table as cq
from contracts.errors import SchemaChanged, SharderError
from contracts.observe.log import event
from contracts.plugin import messages
from contracts.plugin.messages import (
    Inserted,
    Message,
    Migrate,
    Saved,
    SyncRequest,
    TableFailed,
)
from contracts.table import Table
from contracts.veil import VEIL
from worker.serve.gather import Gather
from worker.serve.state import State
from worker.sources.base import Cancelled, CellDone, Checkpoint, Deleted, Event, Rows, Source, Work
from worker.stamp import Stamp

Tree = tuple[Table, ...]
Cell = tuple[str, str]


class Sync:
    """One sync over the selected trees of an open source."""

    def __init__(
        self,
        source: Source,
        trees: Sequence[Tree],
        request: SyncRequest,
        cancelled: Callable[[], bool],
    ) -> None:
        self._source, self._trees = source, trees
        self._shard = request.shard or (1, 1)
        self._only_ids = request.deterministic_cq_id
        self._checkpoints = request.checkpoints
        self._state = State(request.backend) if request.backend else None
        self._cancelled = cancelled
        self._gather = Gather()
        self._tables = {t.name: self._as_sent(t) for tree in trees for t in tree}
        self._errors = 0

    def messages(self) -> Iterator[Message]:
        """Tables first, then rows. Raises Cancelled, and what the state backend raises at the start."""
        for table in self._tables.values():
            yield Migrate(table)
        cursors = self._state.read() if self._state else {}
        for tree in self._trees:
            yield from self._tree(tree, cursors)
        event("sync_done", tables=len(self._tables), errors=self._errors)

    def _as_sent(self, table: Table) -> Table:
        """With deterministic ids Go's plugins have `_cq_id` as the only key."""
        if not self._only_ids:
            return table
        columns = tuple(replace(c, primary_key=c.name == cq.ID) for c in table.columns)
        return replace(table, columns=columns)

    def _tree(self, tree: Tree, cursors: Mapping[str, str]) -> Iterator[Message]:
        top = tree[0]
        try:
            found = self._source.clients(top)
        except SharderError as error:
            yield from self._failed([(t.name, "") for t in tree], str(error))
            return
        ranges = ((0, len(found.ids)),) if found.ranges is None else found.ranges
        mine = [c for start, stop in ranges for c in found.ids[start:stop] if self._is_mine(top, c)]
        if not found.whole:
            event("clients_not_whole", logging.WARNING, table=top.name, why=found.why_not)
            if not any(stop > start for start, stop in ranges):
                yield from self._failed(
                    [(top.name, "")], f"its clients are not known: {found.why_not}"
                )
        if mine:
            cells = Cells(tree, mine)
            work = Work(tree, frozenset(t.name for t in tree), mine)
            yield from self._read(work, cells, cursors)

    def _is_mine(self, top: Table, client: str) -> bool:
        """By name, not by place: each shard lists the clients itself, and the list may change in between."""
        number, total = self._shard
        return zlib.crc32(f"{top.name}\0{client}".encode()) % total == number - 1

    def _read(self, work: Work, cells: Cells, cursors: Mapping[str, str]) -> Iterator[Message]:
        stamps = {t.name: Stamp(t, "", datetime.now(UTC)) for t in work.tree}
        why = "the source ended without saying how this cell ended"
        try:
            for given in self._source.read(work, cursors):
                if self._cancelled():
                    raise Cancelled
                if cells.is_open(given):
                    yield from self._take(given, stamps, cells)
        except Cancelled:
            raise
        except Exception as error:
            why = (
                str(error)
                if isinstance(error, SharderError)
                else f"{type(error).__name__}: {error}"
            )
            logging.getLogger("worker").debug("trace", exc_info=error)
        yield from self._sent()
        yield from self._failed(cells.left(), why)

    def _take(self, given: Event, stamps: Mapping[str, Stamp], cells: Cells) -> Iterator[Message]:
        match given:
            case Rows(table, client, batch):
                try:
                    for name, ready in self._gather.add(table, stamps[table](client, batch)):
                        yield Inserted(name, ready)
                except SchemaChanged as error:
                    cells.end(table, client)
                    yield from self._failed([(table, client)], str(error))
            case Deleted():
                yield from self._sent()  # what was sent before may be taken back
                for where in given.where:
                    yield taken_back(given, where)
            case Checkpoint():
                cells.save(given.table, given.client, given.cursor)
                if self._checkpoints:
                    yield from self._save(given, cells)
            case CellDone():
                if given.outcome == "ok":
                    cells.save(given.table, given.client, given.cursor)
                yield from self._save(given, cells)
                cells.end(given.table, given.client)
                yield from self._ended(given)

    def _save(self, given: Checkpoint | CellDone, cells: Cells) -> Iterator[Message]:
        """What a cell has saved goes to the state, behind the rows that it covers."""
        cursor = cells.saved(given.table, given.client)
        if not cursor or self._state is None:
            return
        yield from self._sent()
        if self._checkpoints:
            yield Saved(cursor)
            return
        try:
            self._state.write(cursor)
        except SharderError as error:
            yield from self._failed([(given.table, given.client)], str(error))

    def _ended(self, done: CellDone) -> Iterator[Message]:
        if done.outcome == "failed" or done.reason == "denied":
            why = f"{done.reason}: {done.message}" if done.reason else done.message
            yield from self._failed([(done.table, done.client)], why)
        elif done.outcome == "skipped":
            event("cell_skipped", table=done.table, client=done.client, reason=done.reason, why=done.message)  # fmt: skip

    def _sent(self) -> Iterator[Message]:
        for table, batch in self._gather.flush():
            yield Inserted(table, batch)

    def _failed(self, cells: Sequence[Cell], why: str) -> Iterator[Message]:
        """Said in the log as well: an old CLI asks for no error messages."""
        for table, client in cells:
            self._errors += 1
            text = VEIL(f"client {client}: {why}" if client else why)
            event("table_failed", logging.ERROR, table=table, client=client, error=text)
            yield TableFailed(table, text)


def taken_back(given: Deleted, where: Mapping[str, pa.Array]) -> Message:
    """One alternative: the groups of a message must all hold, so that each is a message of its own."""
    group = messages.Group("and", tuple(messages.Predicate(c, v) for c, v in where.items()))
    relations = tuple(messages.Relation(child, parent) for child, parent in given.relations)
    return messages.Deleted(given.table, (group,), relations)


class Cells:
    """The cells of one tree that have not ended, and the cursors that they gave."""

    def __init__(self, tree: Tree, clients: Sequence[str]) -> None:
        self._open = {(t.name, c) for t in tree for c in clients}
        self._saved: dict[Cell, dict[str, str]] = {}

    def is_open(self, given: Event) -> bool:
        return (given.table, given.client) in self._open

    def save(self, table: str, client: str, cursor: Mapping[str, str]) -> None:
        self._saved.setdefault((table, client), {}).update(cursor)

    def saved(self, table: str, client: str) -> Mapping[str, str]:
        """What was saved since this was asked last."""
        return self._saved.pop((table, client), {})

    def end(self, table: str, client: str) -> None:
        self._open.discard((table, client))
        self._saved.pop((table, client), None)

    def left(self) -> list[Cell]:
        return sorted(self._open)
