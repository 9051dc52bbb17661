"""One client of a simple source: chunks → events, its children below each row, and how each cell ends."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from contracts import table as cq
from contracts import types
from contracts.commit import Outcome
from contracts.errors import NotFound, Permanent, Reason, SchemaChanged, SharderError
from contracts.table import Table
from worker.ids import deterministic_ids, random_ids
from worker.sources.base import Cancelled, CellDone, Checkpoint, Event, Rows, Work
from worker.sources.exact import exactly
from worker.sources.python.author import Chunk, Cursor, Skip
from worker.sources.python.find import place_of
from worker.sources.python.rows import Shape

if TYPE_CHECKING:
    from worker.sources.python.author import SimpleSource

GATHERED = 10_000  # child rows of several parents that become one batch

_DENIED, _THROTTLED = frozenset({401, 403}), 429


@dataclass(frozen=True)
class Ending:
    outcome: Outcome
    reason: Reason
    message: str


class Reading:
    """A tree of tables for one client."""

    def __init__(
        self, source: SimpleSource[Any], work: Work, client: str, *, is_known: bool
    ) -> None:
        self._source, self._work, self._client = source, work, client
        self._is_known = is_known
        self._shapes = {t.name: Shape(t) for t in work.tree}
        self._ended: set[str] = set()

    def events(self, cursors: Mapping[str, str]) -> Iterator[Event]:
        """Rows, checkpoints, and the end of every selected table. Raises Cancelled."""
        top = self._work.top
        try:
            if not self._is_known:
                raise NotFound(f"the source has no client '{self._client}'")  # or no longer
            yield from self._top(cursors.get(self._state_key, ""))
        except Cancelled:
            raise
        except Exception as error:  # noqa: BLE001 — whatever the author's code raises ends these cells
            yield from self._end(top, ending(error))
        yield from self._end(top, None)

    @property
    def _state_key(self) -> str:
        return f"{self._work.top.name}:{self._client}"

    def _top(self, cursor: str) -> Iterator[Event]:
        top = self._work.top
        for chunk in self._source.rows(top.name, self._client, cursor):
            if self._source.context.cancelled():
                raise Cancelled
            if isinstance(chunk, Cursor):
                yield from self._checkpoint(chunk)
            else:
                yield from self._chunk(top, chunk)

    def _checkpoint(self, cursor: Cursor) -> Iterator[Event]:
        """Children first: their rows are kept before the cursor passes them."""
        top = self._work.top
        if not top.incremental:
            raise Permanent(
                f"{top.name} has a cursor but is not declared incremental",
                "declare it with cursor=COLUMN or incremental=True",
            )
        names = [t.name for t in self._work.tree if t.name in self._work.selected]
        for name in reversed(names[1:]):
            yield Checkpoint(name, self._client, {})
        yield Checkpoint(names[0], self._client, {self._state_key: str(cursor.value)})

    def _chunk(self, table: Table, chunk: Chunk, above: pa.Array | None = None) -> Iterator[Event]:
        """The rows of a chunk and of everything below them; `above`: the ids of their parents."""
        if isinstance(chunk, Cursor):
            raise Permanent(f"{table.name}: only a top-level table has a cursor")
        shape = self._shapes[table.name]
        if isinstance(chunk, pa.Table):
            for piece in chunk.to_batches():
                # A table in pieces would need its parents' ids in pieces; a child's chunk has one parent.
                ids = None if above is None else above[: piece.num_rows]
                yield from self._chunk(table, piece, ids)
            return
        is_arrow = isinstance(chunk, pa.RecordBatch)
        batch = shape.of(chunk) if is_arrow else shape.batch(chunk)
        if not batch.num_rows:
            return
        if above is not None:
            batch = batch.append_column(cq.PARENT_ID, above)
        children = [t for t in self._work.tree if t.parent == table.name]
        if children:
            batch = batch.append_column(cq.ID, ids_of(table, batch))
        if table.name in self._work.selected:
            yield Rows(table.name, self._client, batch)
        for child in children:
            if child.name not in self._ended:
                parents = batch.to_pylist() if is_arrow else chunk
                yield from self._below(child, parents, batch.column(cq.ID))

    def _below(
        self, child: Table, parents: Sequence[Mapping[str, Any]], ids: pa.Array
    ) -> Iterator[Event]:
        """The rows of a child table below some rows. If it fails, it ends, and what is above goes on."""
        try:
            yield from self._gathered(child, parents, ids)
        except Cancelled:
            raise
        except Exception as error:
            if self._work.top.incremental:
                # The cursor stands with the top-level table: it must not pass rows that are missing here.
                raise
            yield from self._end(child, ending(error))

    def _gathered(
        self, child: Table, parents: Sequence[Mapping[str, Any]], ids: pa.Array
    ) -> Iterator[Event]:
        rows: list[Mapping[str, Any]] = []
        owners: list[int] = []
        for i, parent in enumerate(parents):
            if self._source.context.cancelled():
                raise Cancelled
            for chunk in self._source.children(child.name, self._client, parent):
                if isinstance(chunk, pa.RecordBatch | pa.Table | Cursor):
                    here = 0 if isinstance(chunk, Cursor) else chunk.num_rows
                    yield from self._chunk(child, chunk, _taken(ids, [i] * here))
                    continue
                rows += chunk
                owners += [i] * len(chunk)
                if len(rows) >= GATHERED:
                    yield from self._chunk(child, rows, _taken(ids, owners))
                    rows, owners = [], []
        yield from self._chunk(child, rows, _taken(ids, owners))

    def _end(self, table: Table, how: Ending | None) -> Iterator[Event]:
        """End the cells of a table and of what is below it that are open; None: they are ok."""
        below = {table.name}
        for t in self._work.tree:
            if t.parent in below:
                below.add(t.name)
            if t.name not in below or t.name in self._ended:
                continue
            self._ended.add(t.name)
            if t.name not in self._work.selected:
                continue
            if how is None:
                yield CellDone(t.name, self._client)
            elif t is table:
                yield CellDone(t.name, self._client, how.outcome, how.reason, how.message)
            else:
                reason = "parent" if how.outcome == "failed" else how.reason
                message = f"{table.name} did not end ok: {how.message}"
                yield CellDone(t.name, self._client, how.outcome, reason, message)


def ids_of(table: Table, batch: pa.RecordBatch) -> pa.Array:
    """The `_cq_id`s that the worker would give these rows. Raises SchemaChanged without a key column."""
    key = table.primary_key
    if key in {(), (cq.ID,)}:
        return random_ids(batch.num_rows)
    if missing := [name for name in key if name not in batch.schema.names]:
        raise SchemaChanged(f"{table.name}: rows without the key column '{missing[0]}'")
    try:
        columns = [exactly(batch.column(name), table.column(name).type) for name in key]
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise SchemaChanged(f"{table.name}: a key column has another type: {error}") from error
    return deterministic_ids(pa.RecordBatch.from_arrays(columns, names=list(key)), key)


def _taken(ids: pa.Array, owners: Sequence[int]) -> pa.Array:
    taken = ids.storage.take(pa.array(owners, pa.int64()))
    return pa.ExtensionArray.from_storage(types.UUID, taken)


def ending(error: Exception) -> Ending:
    """What an exception of the author's code means for a cell; HTTP errors of any library by their status."""
    logging.getLogger("worker").debug("trace", exc_info=error)
    if isinstance(error, Skip):
        return Ending("skipped", error.reason, str(error))
    if isinstance(error, SharderError):
        return Ending("failed", error.reason, str(error))
    text = f"{type(error).__name__}: {error}"
    status = _status(error)
    if status in _DENIED:
        return Ending("failed", "denied", text)
    if status == _THROTTLED:
        return Ending("failed", "throttled", text)
    place = place_of(error)
    return Ending("failed", "failed", f"{text} ({place})" if place else text)


def _status(error: Exception) -> int:
    """The status of an HTTP answer that an exception carries: urllib's `code`, aiohttp's and urllib3's
    `status`, or the `response.status_code` of requests and httpx. 0: none.
    """
    for owner in (error, getattr(error, "response", None)):
        for name in ("code", "status", "status_code"):
            found = getattr(owner, name, None)
            if isinstance(found, int):
                return found
    return 0
