"""What the bytes of a sync mean, message by message: the plain road, and what both roads share.

A record's schema is turned into a table once and known again by its bytes or by comparison, since every
message repeats it (3 kB for 10 columns, 22 kB for 60).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from cloudquery.plugin_v3 import plugin_pb2 as pb
from google.protobuf.message import DecodeError

from contracts.plugin import ipc
from contracts.plugin.arrow import table_of
from contracts.plugin.cursor import values_of
from contracts.plugin.errors import Malformed
from contracts.plugin.messages import Deleted, Migrate, Saved, TableFailed
from contracts.plugin.predicates import groups_of, relations_of
from contracts.table import Table


@dataclass(frozen=True, eq=False, slots=True)
class Shape:
    """A schema that records came with, and its table. Compared by identity: one schema, one Shape."""

    schema: pa.Schema
    table: Table


@dataclass(frozen=True, slots=True)
class Rows:
    """A batch as it came (types of the wire). `size`: its bytes on the wire, without the schema.

    `checked`: its values may be read. Else only its lengths and outermost offsets have been looked at.
    """

    shape: Shape
    batch: pa.RecordBatch
    size: int
    checked: bool


Event = Migrate | Rows | Deleted | TableFailed | Saved


def damaged(shape: Shape, error: pa.ArrowInvalid) -> TableFailed:
    """Values that may not be read: their table has failed, the others go on."""
    return TableFailed(shape.table.name, f"rows that are damaged, none of them is used: {error}")


class Plain:
    """Protobuf's own classes and one IPC reader per message: slow, and obviously right.

    The yardstick of the fast road, and its way out for whatever is unusual.
    """

    def __init__(self) -> None:
        self._shapes: dict[str, Shape] = {}

    def events(self, raw: bytes) -> Iterator[Event]:
        """What one `Sync.Response` says. Raises Malformed for bytes that are none."""
        try:
            message = pb.Sync.Response.FromString(raw)
        except DecodeError as error:
            raise Malformed(
                f"{len(raw):,} bytes that are no message of a sync: {error}",
                "this is an error of the plugin, or of what stands between",
            ) from error
        if (kind := message.WhichOneof("message")) == "insert":
            yield from self.rows(message.insert.record)
        else:
            yield _event(kind, message)

    def rows(self, record: bytes) -> Iterator[Rows | TableFailed]:
        batches = ipc.open_batches(record)
        for batch in batches:
            shape = self._shape(batch.schema)
            size = (len(record) - ipc.schema_size(record)) // len(batches)
            try:
                batch.validate(full=True)
            except pa.ArrowInvalid as error:
                yield damaged(shape, error)
            else:
                yield Rows(shape, batch, size, checked=True)

    def _shape(self, schema: pa.Schema) -> Shape:
        name = (schema.metadata or {}).get(b"cq:table_name", b"").decode(errors="replace")
        shape = self._shapes.get(name)
        if shape is None or not shape.schema.equals(schema, check_metadata=True):
            shape = self._shapes[name] = Shape(schema, table_of(schema))
        return shape


def _event(kind: str | None, message: Any) -> Event:
    match kind:
        case "migrate_table":
            return Migrate(table_of(ipc.read_schema(message.migrate_table.table)))
        case "delete_record":
            gone = message.delete_record
            return Deleted(
                gone.table_name, groups_of(gone.where_clause), relations_of(gone.table_relations)
            )
        case "error":
            return TableFailed(message.error.table_name, message.error.error)
        case "checkpoint":
            return Saved(values_of(ipc.read_batches(message.checkpoint.record)))
        case _:
            # Members that our classes do not know look like none at all; it may be rows.
            raise Malformed(
                f"a message of a kind that this release does not know ({message.ByteSize()} bytes)",
                "the plugin is newer than this release of Sharder; update it, or pin an older plugin",
            )
