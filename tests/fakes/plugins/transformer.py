"""A transformer plugin, a server of the protocol by itself (CloudQuery's Python SDK has no transformers):
`python -m tests.fakes.plugins.transformer serve … --address unix:///…`.

Spec:

    add: {name: text}       # columns with a constant text
    rename: {old: new}      # columns
    remove: [name]
    retype: [name]          # becomes text
    drop: [text]            # rows whose column `v` begins with it
    table: "cq_{}"          # another name for every table
    change: name            # a text column, of which every value is changed
    die: 3                  # the process ends in this call of Transform
    wrong: true             # batches have another column than promised
"""

# ruff: noqa: N802  # the protocol's names

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pyarrow as pa
import pyarrow.compute as pc
from cloudquery.discovery_v1 import discovery_pb2, discovery_pb2_grpc
from cloudquery.plugin_v3 import arrow, plugin_pb2, plugin_pb2_grpc

TABLE = b"cq:table_name"


class Discovery(discovery_pb2_grpc.DiscoveryServicer):
    def GetVersions(self, request, context):
        return discovery_pb2.GetVersions.Response(versions=[3])


class Transformer(plugin_pb2_grpc.PluginServicer):
    def __init__(self) -> None:
        self._options: dict[str, Any] = {}
        self._calls = 0

    def GetName(self, request, context):
        return plugin_pb2.GetName.Response(name="changer")

    def GetVersion(self, request, context):
        return plugin_pb2.GetVersion.Response(version="v1.0.0")

    def Init(self, request, context):
        self._options = json.loads(request.spec)
        if text := self._options.get("refuse"):
            context.abort(grpc.StatusCode.INTERNAL, text)
        return plugin_pb2.Init.Response()

    def TransformSchema(self, request, context):
        schema = self._schema(arrow.new_schema_from_bytes(request.schema))
        return plugin_pb2.TransformSchema.Response(schema=arrow.schema_to_bytes(schema))

    def Transform(self, request_iterator, context) -> Iterator[Any]:
        self._calls += 1
        if self._calls == self._options.get("die"):
            os._exit(7)
        for request in request_iterator:
            record = self._record(arrow.new_record_from_bytes(request.record))
            if record.num_rows:
                yield plugin_pb2.Transform.Response(record=arrow.record_to_bytes(record))

    def Close(self, request, context):
        return plugin_pb2.Close.Response()

    def _schema(self, schema: pa.Schema) -> pa.Schema:
        o = self._options
        fields = [self._field(f) for f in schema if f.name not in o.get("remove", ())]
        fields += [pa.field(name, pa.string()) for name in o.get("add", {})]
        metadata = dict(schema.metadata or {})
        metadata[TABLE] = o.get("table", "{}").format(metadata[TABLE].decode()).encode()
        return pa.schema(fields, metadata=metadata)

    def _field(self, field: pa.Field) -> pa.Field:
        name = self._options.get("rename", {}).get(field.name, field.name)
        type_ = pa.string() if field.name in self._options.get("retype", ()) else field.type
        return field.with_name(name).with_type(type_)

    def _record(self, record: pa.RecordBatch) -> pa.RecordBatch:
        o = self._options
        for prefix in o.get("drop", ()):
            record = record.filter(pc.invert(pc.starts_with(record.column("v"), prefix)))
        schema = self._schema(record.schema)
        columns = []
        for field, column in zip(record.schema, record.columns, strict=True):
            if field.name in o.get("remove", ()):
                continue
            texts = column.cast(pa.string()) if field.name in o.get("retype", ()) else column
            marked = field.name == o.get("change")
            columns.append(pc.binary_join_element_wise(texts, "!", "") if marked else texts)
        columns += [pa.repeat(text, record.num_rows) for text in o.get("add", {}).values()]
        found = pa.RecordBatch.from_arrays(columns, schema=schema)
        return found.rename_columns([*schema.names[:-1], "odd"]) if o.get("wrong") else found


def main() -> None:
    address = sys.argv[sys.argv.index("--address") + 1]
    limit = [
        ("grpc.max_receive_message_length", 200 << 20),
        ("grpc.max_send_message_length", 200 << 20),
    ]
    server = grpc.server(futures.ThreadPoolExecutor(4), options=limit)
    discovery_pb2_grpc.add_DiscoveryServicer_to_server(Discovery(), server)
    plugin_pb2_grpc.add_PluginServicer_to_server(Transformer(), server)
    server.add_insecure_port(address)
    server.start()
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    over.wait()
    server.stop(0).wait()


if __name__ == "__main__":
    main()
