"""Messages of the protocol as bytes, made with protobuf's own classes; and a state client as Go has it."""

from __future__ import annotations

from typing import Any

import grpc
import pyarrow as pa
from cloudquery.plugin_v3 import plugin_pb2 as pb
from pyarrow import ipc

from tests.fakes.plugins import contents


def schema_bytes(schema: pa.Schema) -> bytes:
    sink = pa.BufferOutputStream()
    ipc.new_stream(sink, schema).close()
    return bytes(sink.getvalue())


def record_bytes(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def response(**member: Any) -> bytes:
    return pb.Sync.Response(**member).SerializeToString()


def insert(batch: pa.RecordBatch) -> bytes:
    return response(insert={"record": record_bytes(batch)})


def checkpoint(state: dict[str, str], version: int | None) -> bytes:
    return response(checkpoint={"record": record_bytes(state_batch("state", state, version))})


def state_batch(table: str, state: dict[str, str], version: int | None) -> pa.RecordBatch:
    """State as Go's client has it: with `version` a third column."""
    columns = [["key", "string", "key", "notnull"], ["value", "string"]]
    arrays = [pa.array(list(state), pa.string()), pa.array(list(state.values()), pa.string())]
    if version is not None:
        columns.append(["version", "uint64", "key", "notnull"])
        arrays.append(pa.array([version] * len(state), pa.uint64()))
    shape = contents.schema({"name": table}, columns)
    return pa.RecordBatch.from_arrays(arrays, schema=shape)


def delete_record(event: dict[str, Any]) -> bytes:
    column = pa.array([event["value"]])
    batch = pa.record_batch([column], schema=pa.schema([pa.field(event["column"], column.type)]))
    predicate = {"operator": "EQ", "column": event["column"], "record": record_bytes(batch)}
    return response(
        delete_record={
            "table_name": event["table"],
            "where_clause": [{"grouping_type": "AND", "predicates": [predicate]}],
            "table_relations": [
                {"table_name": child, "parent_table": parent}
                for child, parent in event.get("relations", [])
            ],
        }
    )


def read_state(backend: Any) -> dict[str, str]:
    """As Go's state client: migrate, then read; the highest version of a key counts."""
    shape = schema_bytes(state_batch(backend.table_name, {}, 1).schema)
    with grpc.insecure_channel(backend.connection) as channel:
        write = channel.stream_unary("/cloudquery.plugin.v3.Plugin/Write")
        write(iter([pb.Write.Request(migrate_table={"table": shape}).SerializeToString()]))
        read = channel.unary_stream("/cloudquery.plugin.v3.Plugin/Read")
        found: dict[str, tuple[int, str]] = {}
        for answer in read(pb.Read.Request(table=shape).SerializeToString()):
            record = pb.Read.Response.FromString(answer).record
            for row in ipc.open_stream(record).read_all().to_pylist():
                version = (row["version"], row["value"])
                found[row["key"]] = max(version, found.get(row["key"], version))
    return {key: value for key, (_, value) in found.items()}


def write_state(backend: Any, state: dict[str, str]) -> None:
    record = record_bytes(state_batch(backend.table_name, state, 2))
    with grpc.insecure_channel(backend.connection) as channel:
        write = channel.stream_unary("/cloudquery.plugin.v3.Plugin/Write")
        write(iter([pb.Write.Request(insert={"record": record}).SerializeToString()]))
