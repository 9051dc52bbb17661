"""Rows → files: cut by rows and bytes, the same every time, streamed as they come.

Where a file ends depends on the rows alone (never on time or on memory), so that publishing again makes
the same files of the same names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa

from contracts.errors import SharderError
from contracts.stagefile.encoders import Encoder
from contracts.stagefile.sink import Sink
from contracts.store import Store, Upload
from loader.warehouses.files.encodings import Encoding

GROUP_BYTES = 16 << 20  # of Arrow memory: one row group, or what is encoded at once


@dataclass(frozen=True)
class Limits:
    """Of one file; 0: none. `bytes` counts Arrow memory, before encoding."""

    rows: int = 0
    bytes: int = 0


def cut(batches: Iterable[pa.RecordBatch], limits: Limits) -> Iterator[tuple[pa.RecordBatch, bool]]:
    """(slice, whether a file ends with it), no row lost. A row that is larger than a file has one of its own."""
    rows, size = 0, 0.0
    for batch in batches:
        each = max(1.0, batch.nbytes / max(1, batch.num_rows))
        at = 0
        while at < batch.num_rows:
            take = batch.num_rows - at
            if limits.rows:
                take = min(take, limits.rows - rows)
            if limits.bytes:
                take = min(take, max(1, int((limits.bytes - size) / each)))
            piece = batch.slice(at, take)
            at, rows, size = at + take, rows + take, size + take * each
            full = bool(limits.rows and rows >= limits.rows) or bool(
                limits.bytes and size + each > limits.bytes
            )
            if full:
                rows, size = 0, 0.0
            yield piece, full


class Roll:
    """The files of one table of one load. `close` or `abort` it."""

    def __init__(
        self, store: Store, encoding: Encoding, schema: pa.Schema, key: Callable[[int], str]
    ) -> None:
        self._store = store
        self._encoding = encoding
        self._schema = schema
        self._key = key
        self._open: tuple[Upload, Sink, Encoder] | None = None
        self._group: list[pa.RecordBatch] = []
        self._group_bytes = 0
        self.files = 0
        self.rows = 0

    def write(self, batches: Iterable[pa.RecordBatch], limits: Limits) -> None:
        for piece, full in cut(batches, limits):
            self._group.append(piece)
            self._group_bytes += piece.nbytes
            self.rows += piece.num_rows
            if full or self._group_bytes >= GROUP_BYTES:
                self._flush()
            if full:
                self._seal()

    def close(self, *, empty: bool = False) -> None:
        """The last file appears. `empty`: one without rows does, if there is no other."""
        if empty and not self.rows:
            self._group.append(_nothing(self._schema))
        if self._group:
            self._flush()
        self._seal()

    def abort(self) -> None:
        """The open file never appears; those that are whole stay."""
        if self._open:
            upload, sink, _ = self._open
            self._open = None
            sink.abandon()
            with suppress(SharderError):  # what brought us here is told
                upload.abort()

    def _flush(self) -> None:
        if self._open is None:
            upload = self._encoding.wrap(self._store.open_write(self._key(self.files)))
            sink = Sink(upload)
            self._open = upload, sink, self._encoding.encoder(sink, self._schema)
        self._open[2].write(self._group)
        self._group, self._group_bytes = [], 0

    def _seal(self) -> None:
        if self._open is None:
            return
        upload, sink, encoder = self._open
        encoder.close()
        sink.pass_on()
        upload.close()
        self._open = None
        self.files += 1


def _nothing(schema: pa.Schema) -> pa.RecordBatch:
    """No rows, but a schema: a header for CSV, a footer for Parquet."""
    columns = [pa.nulls(0, f.type) for f in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
