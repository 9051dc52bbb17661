"""Schemas and batches as the protocol carries them: each one a complete Arrow IPC stream."""

from __future__ import annotations

import pyarrow as pa
from pyarrow import ipc

from contracts.plugin.errors import Malformed

# What pyarrow raises for bytes that are no stream; a wrong length may also ask for too much memory.
BROKEN = (pa.ArrowException, OSError, EOFError, ValueError, MemoryError, OverflowError)


def schema_bytes(schema: pa.Schema) -> bytes:
    sink = pa.BufferOutputStream()
    ipc.new_stream(sink, schema).close()
    return bytes(sink.getvalue())


def batch_bytes(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def read_schema(data: bytes) -> pa.Schema:
    """Raises Malformed if the bytes are no IPC stream."""
    try:
        with ipc.open_stream(data) as reader:
            return reader.schema
    except BROKEN as error:
        raise malformed("a table", data, error) from error


def open_batches(data: bytes) -> list[pa.RecordBatch]:
    """Every batch of the stream: the protocol means one, but what is there is data.

    Their lengths and outermost offsets are right; their values may not be (`validate(full=True)`).
    Raises Malformed if the bytes are no IPC stream, or end early.
    """
    try:
        with ipc.open_stream(data) as reader:
            batches = list(reader)
        for batch in batches:
            batch.validate()
    except BROKEN as error:
        raise malformed("rows", data, error) from error
    return batches


def read_batches(data: bytes) -> list[pa.RecordBatch]:
    """Every batch of the stream, whose values may be read. Raises Malformed also for damaged values."""
    batches = open_batches(data)
    try:
        for batch in batches:
            batch.validate(full=True)
    except pa.ArrowInvalid as error:
        raise malformed("rows", data, error) from error
    return batches


def read_batch(data: bytes) -> pa.RecordBatch:
    """All rows of the stream as one batch."""
    batches = read_batches(data)
    if len(batches) == 1:
        return batches[0]
    return (
        pa.concat_batches(batches) if batches else read_schema(data).empty_table().to_batches()[0]
    )


def schema_size(data: bytes) -> int:
    """Bytes of the schema message at the start of a stream: a mark of 4, a length of 4, so many more."""
    return 8 + int.from_bytes(data[4:8], "little")


def malformed(what: str, data: bytes, error: Exception) -> Malformed:
    return Malformed(
        f"{what} came as {len(data):,} bytes that are no Arrow IPC stream: {str(error)[:300]}",
        "this is an error of the plugin, or of what stands between; nothing of this message is used",
    )
