"""Stamped batches → parts on the stage, in bounded memory however many tables and clients there are.

What is known to be good and what is not yet must be told apart afterwards, by client and part:
- rows are *unsure* until their cell ends ok, or passes a checkpoint; a part lists the clients whose
  rows in it stayed unsure as `dropped`;
- so one part never holds sure and unsure rows of one client. To avoid a part per checkpoint, rows
  of incremental tables wait in memory for the next checkpoint, and only if memory runs short they go
  into a part of their own.
- rows are left out by their `_cq_client_id`. Where that is the source's own, each client has parts of its own,
  which are loaded or left out whole.
- a part has one schema. When a table grows (`contracts.evolution`) its open part is closed, and the next one is
  in the new form; the form of each part stands in the commit.

No threads: encoding in the thread that reads was as fast as beside it (docs/design/commit.md).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa

from contracts.commit import Part
from contracts.stagefile.encoders import STAGE, Encoder, MakeEncoder
from contracts.stagefile.sink import Sink
from contracts.store import Store, Upload
from contracts.table import Table

BUDGET_BYTES = 96 << 20  # of one process: waiting rows, and what open uploads hold
ROW_GROUP_BYTES = 16 << 20  # of Arrow memory
UPLOAD_BYTES = 16 << 20  # what one open upload may hold at most: two pieces of 8 MiB
_BATCH_OVERHEAD = 200  # bytes per column of a batch, which matter for batches of a few rows


class Piece(NamedTuple):
    """A batch and its memory, and the form of the table that it has."""

    batch: pa.RecordBatch
    bytes: int
    table: Table


@dataclass(eq=False)
class _Open:
    """A part that still takes rows. Its object exists on the store's side from the first row group on."""

    key: str
    table: Table
    cells: Counter[str] = field(default_factory=Counter)
    unsure: set[str] = field(default_factory=set)
    upload: Upload | None = None
    sink: Sink | None = None
    encoder: Encoder | None = None

    @property
    def held(self) -> int:
        return min(self.sink.size, UPLOAD_BYTES) if self.sink else 0


@dataclass(eq=False)
class _Closed:
    key: str
    table: Table
    bytes: int
    checksum: str
    cells: Mapping[str, int]
    unsure: set[str]

    def part(self, form: int) -> Part:
        return Part(
            key=self.key,
            table=self.table.name,
            rows=sum(self.cells.values()),
            bytes=self.bytes,
            checksum=self.checksum,
            cells=self.cells,
            dropped=tuple(sorted(self.unsure)),
            form=form,
        )


class Writer:
    """The parts of one attempt. `key` makes the key of part n of a table.

    `planned`: the tables as the plan has them; of others the first form that is written counts as that.
    """

    def __init__(
        self,
        store: Store,
        *,
        format_: str,
        part_bytes: int,
        key: Callable[[str, int], str],
        planned: Iterable[Table] = (),
        budget_bytes: int = BUDGET_BYTES,
        row_group_bytes: int = ROW_GROUP_BYTES,
    ) -> None:
        self.forms: tuple[Table, ...] = ()  # of closed parts, other than those of the plan
        self._planned = {t.name: t for t in planned}
        self._store = store
        self._encoder = STAGE[format_]
        self._part_bytes = part_bytes
        # A part of n bytes needs no more than about n bytes of rows, which the encoder shrinks.
        self._group_bytes = min(row_group_bytes, max(part_bytes, 64 << 10))
        self._key = key
        self._budget = budget_bytes
        self._tables: dict[
            tuple[str, str], _TableWriter
        ] = {}  # by name, and client if it has own parts
        self._numbers: Counter[str] = Counter()  # of the parts of a table
        self._used = 0

    def write(self, table: Table, client: str, batch: pa.RecordBatch) -> None:
        """Take rows of one cell, in this form of the table; they are unsure until `confirm`."""
        self._planned.setdefault(table.name, table)
        writer = self._of(table.name, client)
        if writer is None:
            own = client if table.own_client_ids else ""
            writer = self._tables[table.name, own] = _TableWriter(
                table,
                self._store,
                self._encoder,
                self._part_bytes,
                self._group_bytes,
                self._next_key,
            )
        for piece in pieces(table, batch, self._group_bytes):
            with self._counted(writer):
                writer.take(client, piece)
            while self._used > self._budget:
                largest = max(self._tables.values(), key=lambda w: w.used)
                with self._counted(largest):
                    largest.relieve()

    def relieve(self) -> int:
        """The process is short of memory: keep a quarter of the budget; returns the bytes that were freed."""
        before = self._used
        while self._used > self._budget // 4:
            largest = max(self._tables.values(), key=lambda w: w.used)
            with self._counted(largest):
                largest.relieve()
        pa.default_memory_pool().release_unused()
        return before - self._used

    @contextmanager
    def _counted(self, writer: _TableWriter) -> Iterator[None]:
        """What the block does to the memory of one table is known to the budget afterwards."""
        before = writer.used
        yield
        self._used += writer.used - before

    def confirm(self, table: str, client: str) -> None:
        """All rows of the cell so far are good, whatever comes after."""
        if writer := self._of(table, client):
            with self._counted(writer):
                writer.confirm(client)

    def revoke(self, table: str, client: str) -> None:
        """No row of the cell is good after all, confirmed or not."""
        if writer := self._of(table, client):
            with self._counted(writer):
                writer.revoke(client)

    def _of(self, table: str, client: str) -> _TableWriter | None:
        """Who writes the rows of this cell; None if it has none yet."""
        planned = self._planned.get(table)
        return self._tables.get((table, client if planned and planned.own_client_ids else ""))

    def _next_key(self, table: str) -> str:
        number = self._numbers[table]
        self._numbers[table] += 1
        return self._key(table, number)

    def close(self) -> tuple[Part, ...]:
        """Write what waits; the parts in the order in which they were closed, table by table."""
        for writer in self._tables.values():
            writer.finish()
        closed = [c for w in self._tables.values() for c in w.closed]
        grown = (c.table for c in closed if c.table != self._planned[c.table.name])
        self.forms = tuple(dict.fromkeys(grown))
        return tuple(c.part(self._form(c.table)) for c in closed)

    def _form(self, table: Table) -> int:
        """0: as planned; n: the n-th of `forms`."""
        return self.forms.index(table) + 1 if table in self.forms else 0

    def discard(self) -> None:
        """End without a result: nothing that this attempt wrote is needed."""
        for writer in self._tables.values():
            writer.abort()
        self._store.delete([c.key for w in self._tables.values() for c in w.closed])


class _TableWriter:
    """One table's (or one cell's) open part, row group and rows that wait for a checkpoint."""

    def __init__(
        self,
        table: Table,
        store: Store,
        encoder: MakeEncoder,
        part_bytes: int,
        group_bytes: int,
        next_key: Callable[[str], str],
    ) -> None:
        self.closed: list[_Closed] = []
        self._table = table
        self._store = store
        self._make_encoder = encoder
        self._part_bytes = part_bytes
        self._group_bytes = group_bytes
        self._next_key = next_key
        self._part: _Open | None = None
        self._group: list[Piece] = []
        self._group_size = 0
        self._waiting: defaultdict[str, list[Piece]] = defaultdict(list)
        self._waiting_size: Counter[str] = Counter()

    @property
    def used(self) -> int:
        held = self._part.held if self._part else 0
        return self._group_size + self._waiting_size.total() + held

    def take(self, client: str, piece: Piece) -> None:
        if self._table.incremental:
            self._waiting[client].append(piece)
            self._waiting_size[client] += piece.bytes
        else:
            self._add(client, piece, sure=False)

    def confirm(self, client: str) -> None:
        for part in self._all():
            part.unsure.discard(client)
        for piece in self._unwait(client):
            self._add(client, piece, sure=True)

    def _all(self) -> Iterator[_Open | _Closed]:
        yield from self.closed
        if self._part:
            yield self._part

    def revoke(self, client: str) -> None:
        self._unwait(client)
        for part in self._all():
            if client in part.cells:
                part.unsure.add(client)

    def relieve(self) -> None:
        """Give memory back: rows first, then what the open upload holds."""
        if self._waiting_size.total() > self._group_size:
            client, _ = self._waiting_size.most_common(1)[0]
            for piece in self._unwait(client):
                self._add(client, piece, sure=False)
        if self._group:
            self._flush()
        else:
            self._seal()

    def finish(self) -> None:
        self._waiting.clear()  # never confirmed: rows behind the last checkpoint of a failed cell
        self._waiting_size.clear()
        self._seal()

    def abort(self) -> None:
        part, self._part = self._part, None
        if part and part.upload and part.sink:
            part.sink.abandon()
            part.upload.abort()

    def _unwait(self, client: str) -> list[Piece]:
        del self._waiting_size[client]
        return self._waiting.pop(client, [])

    def _add(self, client: str, piece: Piece, *, sure: bool) -> None:
        part = self._part
        mixes = part and not sure and client in part.cells and client not in part.unsure
        if part and (mixes or part.table != piece.table):
            self._seal()
            part = None
        if part is None:
            part = self._part = _Open(self._next_key(self._table.name), piece.table)
        if not sure:
            part.unsure.add(client)
        part.cells[client] += piece.batch.num_rows
        self._group.append(piece)
        self._group_size += piece.bytes
        if self._group_size >= self._group_bytes:
            self._flush()

    def _flush(self) -> None:
        """The open row group into the upload; the part is closed once it has its size."""
        part = self._part
        if part is None or not self._group:
            return
        if part.encoder is None or part.sink is None:
            part.upload = self._store.open_write(part.key)
            part.sink = Sink(part.upload)
            part.encoder = self._make_encoder(part.sink, part.table.schema)
        part.encoder.write([p.batch for p in self._group])
        self._group, self._group_size = [], 0
        if part.sink.size >= self._part_bytes:
            self._seal()

    def _seal(self) -> None:
        self._flush()
        part, self._part = self._part, None
        if part is None or part.encoder is None or part.sink is None or part.upload is None:
            return
        part.encoder.close()
        part.sink.pass_on()
        part.upload.close()
        self.closed.append(
            _Closed(
                part.key,
                part.table,
                part.sink.size,
                part.sink.checksum,
                dict(part.cells),
                part.unsure,
            )
        )


def pieces(table: Table, batch: pa.RecordBatch, most_bytes: int) -> Iterator[Piece]:
    """A batch cut into slices of at most about `most_bytes`; none if it has no rows."""
    rows, memory = batch.num_rows, batch.nbytes
    overhead = _BATCH_OVERHEAD * batch.num_columns
    if memory <= most_bytes:
        if rows:
            yield Piece(batch, memory + overhead, table)
        return
    step = max(1, rows * most_bytes // memory)
    for start in range(0, rows, step):
        cut = batch.slice(start, step)
        yield Piece(cut, cut.nbytes + overhead, table)
