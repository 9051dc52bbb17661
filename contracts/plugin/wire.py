"""The fast road of a sync: bytes → rows without protobuf's objects, and without reading a schema twice.

Of the 220 µs that a message of one row cost, 150 went to making objects of it: a protobuf message, and an
IPC reader that parses the same schema again. Here the insert is found by its tags, and the schema by its
very bytes in a cache; what is left is one call of Arrow for the batch. Whatever is not exactly a usual
insert goes the plain road (`rows`), so this file decides nothing about meaning.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
from pyarrow import ipc

from contracts.plugin.arrow import table_of
from contracts.plugin.errors import Malformed
from contracts.plugin.ipc import BROKEN
from contracts.plugin.rows import Event, Plain, Rows, Shape

_INSERT = 0x12  # member 2 of Sync.Response, a message
_RECORD = 0x0A  # member 1 of MessageInsert, bytes
_MARK = b"\xff\xff\xff\xff"  # before every message of an IPC stream since Arrow 0.15
_ENDS = (b"", _MARK + b"\0\0\0\0", b"\0\0\0\0")  # what may stand behind the only batch
_MOST = 4096  # schemas that are remembered; a plugin has as many as tables


@dataclass(frozen=True, slots=True)
class _Known:
    """A schema by its bytes. `usual`: its batches may be read without the stream that they stand in."""

    prefix: bytes
    shape: Shape
    usual: bool
    deep: bool


class Fast:
    """Decodes the messages of one sync, one after the other."""

    def __init__(self) -> None:
        self._plain = Plain()
        self._known: dict[bytes, _Known] = {}
        self._last: _Known | None = None

    def events(self, raw: bytes) -> Iterator[Event]:
        """What one `Sync.Response` says. Raises Malformed for bytes that are none."""
        start = record_start(raw)
        rows = self._rows(raw, start) if start else None
        if rows is None:
            yield from self._plain.events(raw)
        else:
            yield rows

    def _rows(self, raw: bytes, start: int) -> Rows | None:
        """The batch of a usual insert whose record starts there and ends with the message; else None."""
        known = self._last
        if known is None or not raw.startswith(known.prefix, start):
            known = self._schema(raw, start)
            if known is None:
                return None
            self._last = known
        if not known.usual:
            return None
        at = start + len(known.prefix)
        # A copy of the message alone: its buffers are aligned then, which Arrow's kernels count on.
        body = raw[at:]
        try:
            message = ipc.read_message(body)
            end = 8 + int.from_bytes(body[4:8], "little") + message.body.size
            if body[end:] not in _ENDS:
                return None
            batch = ipc.read_record_batch(message, known.shape.schema)
            batch.validate(full=known.deep)
        except BROKEN:
            return None  # the plain road says what is wrong
        return Rows(known.shape, batch, len(body), known.deep)

    def _schema(self, raw: bytes, start: int) -> _Known | None:
        if raw[start : start + 4] != _MARK:
            return None
        end = start + 8 + int.from_bytes(raw[start + 4 : start + 8], "little")
        prefix = raw[start:end]
        known = self._known.get(prefix)
        if known is None and end < len(raw):
            try:
                schema = ipc.read_schema(pa.py_buffer(prefix))
                shape = Shape(schema, table_of(schema))
            except (*BROKEN, Malformed):
                return None
            if len(self._known) >= _MOST:
                self._known.clear()
            usual = all(_usual(field.type) for field in schema)
            deep = any(_deep(field.type) for field in schema)
            known = self._known[prefix] = _Known(prefix, shape, usual, deep)
        return known


def record_start(raw: bytes) -> int:
    """Where the record of a usual insert begins: one insert, of one record, that ends with the message. Else 0."""
    if len(raw) < 4 or raw[0] != _INSERT:
        return 0
    at, length = _varint(raw, 1)
    if at + length != len(raw) or at == len(raw) or raw[at] != _RECORD:
        return 0
    at, length = _varint(raw, at + 1)
    return at if at + length == len(raw) else 0


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """(position behind it, value); a value that is cut off or longer than five bytes is -1."""
    value = 0
    for shift, byte in enumerate(raw[at : at + 5]):
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return at + shift + 1, value
    return at, -1


def _usual(type_: pa.DataType) -> bool:
    """Whether a batch of this type is all there is: dictionaries come in messages of their own."""
    if pa.types.is_dictionary(type_):
        return False
    if isinstance(type_, pa.BaseExtensionType):
        return _usual(type_.storage_type)
    return all(_usual(type_.field(i).type) for i in range(type_.num_fields))


def _deep(type_: pa.DataType) -> bool:
    """Whether joining batches of this type follows inner offsets, which must have been looked at before."""
    if isinstance(type_, pa.BaseExtensionType):
        return _deep(type_.storage_type)
    if not type_.num_fields:
        return "view" in str(type_)
    kinds = (pa.types.is_struct, pa.types.is_list, pa.types.is_large_list)
    if not any(is_kind(type_) for is_kind in kinds):
        return True
    return any(_deep(type_.field(i).type) for i in range(type_.num_fields))
