"""Batches of any size → batches that suit a message: small ones are put together, large ones cut.

A message repeats its table's schema (3 kB for ten columns), and one above 2 MB is slow to pass on: measured,
0.1 to 2 MB carry most rows per second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from contracts.errors import SchemaChanged

MESSAGE_BYTES = 1 << 20
LARGEST_BYTES = 2 << 20
HELD_BYTES = 8 << 20  # over all tables
ROW_BYTES = 190 << 20  # a message may have 200 MiB


@dataclass
class _Held:
    batches: list[pa.RecordBatch] = field(default_factory=list)
    size: int = 0


class Gather:
    """Rows of several tables that wait to be sent. Order is kept within a table."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}
        self._size = 0

    def add(self, table: str, batch: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Take a batch; what is due now. Raises SchemaChanged for a row that no message can hold."""
        size = batch.nbytes
        if batch.num_rows == 1 and size > ROW_BYTES:
            raise SchemaChanged(
                f"a row of {table} has {size:,} bytes, more than a message may have"
            )
        held = self._held.setdefault(table, _Held())
        held.batches.append(batch)
        held.size += size
        self._size += size
        if held.size >= MESSAGE_BYTES:
            yield from self._flush(table)
        while self._size > HELD_BYTES:
            yield from self._flush(max(self._held, key=lambda t: self._held[t].size))

    def flush(self) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Everything that waits."""
        for table in list(self._held):
            yield from self._flush(table)

    def _flush(self, table: str) -> Iterator[tuple[str, pa.RecordBatch]]:
        held = self._held.pop(table)
        self._size -= held.size
        rows = sum(b.num_rows for b in held.batches)
        if not rows:
            return
        whole = pa.concat_batches(held.batches) if len(held.batches) > 1 else held.batches[0]
        if held.size <= LARGEST_BYTES:
            yield table, whole
            return
        # By the average: rows of one table are alike, and one that is not is only a larger message.
        step = max(1, rows * MESSAGE_BYTES // held.size)
        for start in range(0, rows, step):
            yield table, whole.slice(start, step)
