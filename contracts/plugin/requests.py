"""What we ask a plugin, in the protocol's messages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
from cloudquery.plugin_v3 import plugin_pb2 as pb

from contracts.errors import Denied, Permanent, SharderError, Unreachable
from contracts.plugin import ipc
from contracts.plugin.arrow import outward, schema_of
from contracts.plugin.messages import (
    DeleteRecord,
    DeleteStale,
    Flush,
    Insert,
    MigrateTable,
    SyncRequest,
    WriteMessage,
)
from contracts.plugin.predicates import groups_to, relations_to

# Messages of 0.1 to 2 MB passed fastest (606 MB/s); one of 19 MB at a third of that.
PIECE = 2 << 20


def spec_bytes(spec: Mapping[str, Any]) -> bytes:
    return json.dumps(spec, ensure_ascii=False, default=str).encode()


def sync_request(request: SyncRequest) -> Any:
    """Tables that fail are always asked for as messages: without them a Python plugin ends the whole sync."""
    message = pb.Sync.Request(
        tables=request.tables,
        skip_tables=request.skip_tables,
        skip_dependent_tables=request.skip_dependent_tables,
        deterministic_cq_id=request.deterministic_cq_id,
        withErrorMessages=True,
        supports_checkpoints=request.checkpoints,
    )
    if request.backend:
        message.backend.table_name = request.backend.table_name
        message.backend.connection = request.backend.connection
    if request.shard:
        message.shard.num, message.shard.total = request.shard
    return message


def write_requests(message: WriteMessage) -> Iterator[Any]:
    """One message; of a batch as many as it needs to stay handy (PIECE bytes of memory each).

    Raises pa.ArrowInvalid for a batch that does not fit its table.
    """
    match message:
        case MigrateTable(table, force):
            data = ipc.schema_bytes(schema_of(table))
            yield _write(
                migrate_table=pb.Write.MessageMigrateTable(table=data, migrate_force=force)
            )
        case Insert(table, batch):
            for piece in pieces(outward(batch, table)):
                yield _write(insert=pb.Write.MessageInsert(record=ipc.batch_bytes(piece)))
        case DeleteStale(table, source, sync_time):
            stale = pb.Write.MessageDeleteStale(table_name=table, source_name=source)
            stale.sync_time.FromDatetime(sync_time)
            yield _write(delete=stale)
        case DeleteRecord(table, where, relations):
            gone = pb.Write.MessageDeleteRecord(
                table_name=table,
                where_clause=groups_to(where),
                table_relations=relations_to(relations),
            )
            yield _write(delete_record=gone)
        case Flush(number):
            yield _write(flush=pb.Write.MessageFlush(id=number))


def pieces(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The batch in slices of about PIECE bytes; without rows it is one, as its schema may be news."""
    count = min(batch.num_rows, -(-batch.nbytes // PIECE)) or 1
    step = -(-batch.num_rows // count) or 1
    for start in range(0, max(batch.num_rows, 1), step):
        yield batch.slice(start, step)


def _write(**member: Any) -> Any:
    return pb.Write.Request(**member)


def refusal(what: str, code: str, words: str) -> SharderError:
    """Why a plugin could not connect; codes are the plugin's own, these are the usual ones."""
    message = f"{what} cannot connect: {words or code}"
    if code.upper() in ("UNREACHABLE", "TIMEOUT"):
        return Unreachable(message)
    if any(mark in code.upper() for mark in ("CREDENTIAL", "AUTH", "DENIED", "FORBIDDEN")):
        return Denied(message, "look at the credentials that it is given")
    return Permanent(message, f"the plugin's code for this is {code}" if code and words else "")
