"""What we ask a plugin, in the protocol's messages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

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


def write_request(message: WriteMessage) -> Any:
    """Raises pa.ArrowInvalid for a batch that does not fit its table."""
    match message:
        case MigrateTable(table, force):
            data = ipc.schema_bytes(schema_of(table))
            return _write(
                migrate_table=pb.Write.MessageMigrateTable(table=data, migrate_force=force)
            )
        case Insert(table, batch):
            data = ipc.batch_bytes(outward(batch, table))
            return _write(insert=pb.Write.MessageInsert(record=data))
        case DeleteStale(table, source, sync_time):
            stale = pb.Write.MessageDeleteStale(table_name=table, source_name=source)
            stale.sync_time.FromDatetime(sync_time)
            return _write(delete=stale)
        case DeleteRecord(table, where, relations):
            gone = pb.Write.MessageDeleteRecord(
                table_name=table,
                where_clause=groups_to(where),
                table_relations=relations_to(relations),
            )
            return _write(delete_record=gone)
        case Flush(number):
            return _write(flush=pb.Write.MessageFlush(id=number))


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
