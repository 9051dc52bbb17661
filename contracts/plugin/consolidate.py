"""Puts a plugin's tiny batches together: rows per table up to a limit, everything else in its order.

Go plugins send at most 50 rows at once, the others one. Rows are held per table until there are enough
of them, or of bytes, or too much is held over all tables: then the largest go first. What must not
overtake rows pushes them out: a checkpoint and a deletion those of all tables, an error and a new
definition those of their table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from contracts.plugin.arrow import inward
from contracts.plugin.messages import Inserted, Message, Migrate, TableFailed
from contracts.plugin.rows import Event, Rows, Shape, damaged


@dataclass(frozen=True)
class Limits:
    """When rows are handed on: rows and bytes of one table, bytes held over all tables.

    Bytes are those of the batches on the wire, without the schema that every message repeats; over all
    tables those that Arrow needs to hold a batch are added.
    """

    rows: int = 10_000
    bytes: int = 8 << 20
    all_bytes: int = 64 << 20


LIMITS = Limits()
# Memory of a held batch besides its values, per column (10 columns: 16 kB a batch of one row).
_PER_COLUMN = 1_300
_MERGE = (
    32  # so many held batches become one: cheapest here (16 µs a message; 256: 23, as caches end)
)
_BIG = 64 << 10  # from here on a batch is asked for its size: its wire bytes may be compressed


@dataclass(slots=True)
class _Held:
    """What is held of one table, all of one schema. `cost`: bytes of memory, estimated for `small`."""

    shape: Shape
    per_batch: int
    small: list[pa.RecordBatch] = field(default_factory=list)
    merged: list[pa.RecordBatch] = field(default_factory=list)
    rows: int = 0
    size: int = 0
    cost: int = 0
    merged_cost: int = 0
    checked: bool = True


def consolidated(events: Iterable[Event], limits: Limits = LIMITS) -> Iterator[Message]:
    """The messages of a sync. Raises what `events` raises; held rows are dropped then: the sync has failed."""
    pool = _Pool(limits)
    for event in events:
        if isinstance(event, Rows):
            if pool.add(event):
                yield from pool.flush()
            continue
        if isinstance(event, Migrate):
            yield from pool.flush_table(event.table.name)
        elif isinstance(event, TableFailed):
            yield from pool.flush_table(event.table)
        else:
            yield from pool.flush_all()
        yield event
    yield from pool.flush_all()


class _Pool:
    """Rows waiting, per table."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held: dict[str, _Held] = {}
        self._full: list[_Held] = []  # no longer added to, to be handed on next
        self._cost = 0

    def add(self, rows: Rows) -> bool:
        """Hold them. True if something should be handed on now."""
        shape, batch, size = rows.shape, rows.batch, rows.size
        count = batch.num_rows
        if size >= _BIG:
            size = max(size, batch.nbytes)
        held = self._held.get(shape.table.name)
        if held is None or held.shape is not shape:
            if held is not None:  # another schema from here on: these rows cannot be joined
                self._full.append(held)
            held = self._held[shape.table.name] = _Held(shape, _PER_COLUMN * batch.num_columns)
        held.small.append(batch)
        held.rows += count
        held.size += size
        held.cost += size + held.per_batch
        self._cost += size + held.per_batch
        if not rows.checked:
            held.checked = False
        if len(held.small) >= _MERGE:
            self._merge(held)
        limits = self._limits
        if held.rows >= limits.rows or held.size >= limits.bytes:
            self._full.append(self._held.pop(shape.table.name))
        return bool(self._full) or self._cost > limits.all_bytes

    def flush(self) -> Iterator[Message]:
        """Hand on what is full; if that leaves too much, the largest until a quarter of the room is free."""
        yield from self._hand_on()
        if self._cost > self._limits.all_bytes:
            by_cost = sorted(self._held, key=lambda name: self._held[name].cost)
            while by_cost and self._cost > self._limits.all_bytes * 3 // 4:
                yield from self.flush_table(by_cost.pop())

    def flush_table(self, name: str) -> Iterator[Message]:
        if name in self._held:
            self._full.append(self._held.pop(name))
        return self._hand_on()

    def flush_all(self) -> Iterator[Message]:
        self._full += self._held.values()
        self._held.clear()
        return self._hand_on()

    def _hand_on(self) -> Iterator[Message]:
        full, self._full = self._full, []
        for held in full:
            self._cost -= held.cost
            if held.rows:
                yield _message(held)

    def _merge(self, held: _Held) -> None:
        merged = pa.concat_batches(held.small)
        held.merged.append(merged)
        held.small = []
        # From here on the batch is what it weighs; what its parts were estimated at goes.
        cost = held.merged_cost + merged.nbytes
        self._cost += cost - held.cost
        held.cost = held.merged_cost = cost


def _message(held: _Held) -> Message:
    """The rows; or that the table failed, where a value is none of its type (the other tables go on)."""
    name = held.shape.table.name
    batch = pa.concat_batches(held.merged + held.small)
    if not held.checked:
        try:
            batch.validate(full=True)
        except pa.ArrowInvalid as error:
            return damaged(held.shape, error)
    try:
        return Inserted(name, inward(batch, held.shape.table))
    except pa.ArrowException as error:
        return TableFailed(name, f"rows that do not fit the table's own types: {error}")
