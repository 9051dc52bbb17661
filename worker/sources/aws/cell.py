"""Reading one client's cells: a table page by page, and its children from the rows of each page.

Pages are turned into batches and handed on; nothing is gathered but the page at hand, the one that is
being fetched, and what a page's own children answer. Every request runs in the pool, whose jobs never
wait for one another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from contracts import types
from contracts.table import ID, PARENT_ID, Table
from worker.ids import deterministic_ids
from worker.sources.aws.calls import Caller, Page, Place
from worker.sources.aws.convert import Converter
from worker.sources.aws.details import Details, Failed, Row
from worker.sources.aws.hooks import HOOKS
from worker.sources.aws.locked import LockedTable
from worker.sources.aws.outcomes import CallErrors, Ending, is_absent
from worker.sources.aws.paging import Token
from worker.sources.aws.values import getter
from worker.sources.base import Cancelled, CellDone, Event, Rows, Work

_CHUNK = 500  # rows of children that are completed together; a page of a list may be larger
_WINDOW = 24  # children's lists in flight: as many as the pool has threads

Emit = Callable[[Event], None]


@dataclass(frozen=True)
class Node:
    """A table of the tree, and what its children take from its rows."""

    locked: LockedTable
    selected: bool
    converter: Converter
    details: Details
    given: tuple[str, ...]  # columns that children need
    children: tuple[Node, ...]

    def descendants(self) -> Iterator[Node]:
        """The node itself, and all below it."""
        yield self
        for child in self.children:
            yield from child.descendants()


def tree(work: Work, locked: Mapping[str, LockedTable], caller: Caller, pool: Executor) -> Node:
    """The nodes of a shard's tables. Only columns of the frozen schema are made."""

    def node(table: Table) -> Node:
        mine = locked[table.name]
        below = [t for t in work.tree if t.parent == table.name]
        given = {s for t in below for s in _from_parent(locked[t.name])}
        selected = table.name in work.selected
        given |= set(mine.key) if below else set()
        wanted = {c.name for c in table.columns} | given if selected else given
        return Node(
            mine,
            selected,
            Converter(mine, sorted(wanted)),
            Details(mine, frozenset(wanted), caller, pool),
            tuple(sorted(given)),
            tuple(node(t) for t in below),
        )

    return node(work.top)


class Reader:
    """Reads all tables of a tree for one client after the other; one instance per thread is not needed."""

    def __init__(
        self, top: Node, caller: Caller, pool: Executor, cancelled: Callable[[], bool]
    ) -> None:
        self._top = top
        self._caller = caller
        self._pool = pool
        self._cancelled = cancelled

    def read(self, client: str, place: Place, emit: Emit) -> None:
        """Rows of every selected table, then one CellDone for each."""
        endings: dict[str, Ending] = {}
        self._table(self._top, [{}], client, place, emit, endings)
        for node in self._top.descendants():
            if node.selected:
                emit(_done(node.locked.name, client, endings.get(node.locked.name)))

    def _table(
        self,
        node: Node,
        parents: Sequence[Row],
        client: str,
        place: Place,
        emit: Emit,
        endings: dict[str, Ending],
    ) -> None:
        """A table below some rows of its parent; an error ends it and everything below it."""
        service = node.locked.service
        try:
            for rows in self._lists(node, parents, place):
                given = self._emitted(node, rows, client, place, emit)
                for child in node.children:
                    if given and child.locked.name not in endings:
                        self._table(child, given, client, place, emit, endings)
        except Failed as failed:
            ending = self._caller.ending(failed.error, failed.place, failed.call)
            _end(node, ending, endings)
        except CallErrors as error:
            call = f"{service}.{node.locked.list.op}"
            _end(node, self._caller.ending(error, place, call), endings)

    def _emitted(
        self, node: Node, rows: list[Row], client: str, place: Place, emit: Emit
    ) -> list[Row]:
        """Complete the rows and hand them on; what their children need of them."""
        rows = node.details.completed(rows, place)
        if not rows:
            return []
        batch = node.converter.batch(rows)
        ids = deterministic_ids(batch, node.locked.key) if node.children else None
        if node.selected:
            emit(Rows(node.locked.name, client, _with_ids(batch, ids, rows)))
        if ids is None:
            return []
        given = [f"^{c}" for c in node.given]
        values = [batch.column(c).to_pylist() for c in node.given]
        values.append(_bytes(ids).to_pylist())
        names = [*given, f"^{ID}"]
        return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]

    def _lists(self, node: Node, parents: Sequence[Row], place: Place) -> Iterator[list[Row]]:
        """Rows of the lists below all parents, in chunks; several lists are read at once."""
        context = {
            "@account": place.account.number,
            "@region": place.region,
            "@partition": place.partition,
        }
        if node.locked.hook:
            for items in HOOKS[node.locked.hook](self._caller, place):
                yield [_row(item, {}, context) for item in items]
            return
        waiting: list[tuple[Row, Token | None]] = [(p, None) for p in reversed(parents)]
        running: dict[Future[Page | None], Row] = {}
        chunk: list[Row] = []
        try:
            while waiting or running:
                if self._cancelled():
                    raise Cancelled
                while waiting and len(running) < _WINDOW:
                    parent, token = waiting.pop()
                    running[self._pool.submit(self._page, node, parent, place, token)] = parent
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    parent = running.pop(future)
                    page = future.result()
                    if page is None:
                        continue
                    if page.token is not None:
                        # Asked for at once: the next page comes while this one is worked on.
                        following = self._pool.submit(self._page, node, parent, place, page.token)
                        running[following] = parent
                    chunk += [_row(item, parent, context) for item in page.items]
                if len(chunk) >= _CHUNK:
                    yield chunk
                    chunk = []
            if chunk:
                yield chunk
        finally:
            for future in running:
                future.cancel()

    def _page(self, node: Node, parent: Row, place: Place, token: Token | None) -> Page | None:
        """One page of one list; None if the parent has none (any more)."""
        call = node.locked.list
        if node.locked.at.startswith("^") and (region := parent.get(node.locked.at)):
            place = Place(place.account, region)
        inputs = {name: getter(source)(parent) for name, source in call.args.items()}
        try:
            return self._caller.page(place, node.locked.service, call, inputs, token)
        except CallErrors as error:
            if is_absent(error, call.absent, usual=bool(node.locked.parent)):
                return None
            raise Failed(error, place, f"{node.locked.service}.{call.op}") from error


def _bytes(ids: pa.Array) -> pa.Array:
    """The bytes of an array of uuids."""
    return ids.storage if isinstance(ids, pa.ExtensionArray) else ids


def _from_parent(table: LockedTable) -> Iterator[str]:
    """The columns that a table takes from its parent's rows."""
    calls = [table.list, *filter(None, (table.each, table.merge)), *(a.call for a in table.added)]
    sources = [table.at, *(s for c in calls for s in c.args.values())]
    sources += [c.source for c in table.columns]
    return (s.removeprefix("^") for s in sources if s.startswith("^"))


def _row(item: Any, parent: Row, context: Mapping[str, str]) -> Row:
    if isinstance(item, dict):
        return {**item, **parent, **context}
    return {".": item, **parent, **context}


def _with_ids(batch: pa.RecordBatch, ids: pa.Array | None, rows: Sequence[Row]) -> pa.RecordBatch:
    """The batch with its own ids, where children refer to them, and those of its parents."""
    if ids is not None:
        batch = batch.append_column(pa.field(ID, types.UUID), ids)
    if (key := f"^{ID}") in rows[0]:
        parents = pa.array([r[key] for r in rows], type=pa.binary(16))
        links = pa.ExtensionArray.from_storage(types.UUID, parents)
        batch = batch.append_column(pa.field(PARENT_ID, types.UUID), links)
    return batch


def _end(node: Node, ending: Ending, endings: dict[str, Ending]) -> None:
    """A table and everything below it; a parent that failed is the reason why its children did."""
    endings.setdefault(node.locked.name, ending)
    text = f"{node.locked.name} did not end ok: {ending.message}"
    reason = "parent" if ending.outcome == "failed" else ending.reason
    for below in list(node.descendants())[1:]:
        endings.setdefault(below.locked.name, Ending(ending.outcome, reason, text))


def _done(table: str, client: str, ending: Ending | None) -> CellDone:
    if ending is None:
        return CellDone(table, client)
    return CellDone(table, client, ending.outcome, ending.reason, ending.message)
