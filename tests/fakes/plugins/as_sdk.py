"""Reads a served source with CloudQuery's own Python code, and says what it understood as JSON lines.

python -m tests.fakes.plugins.as_sdk TARGET SPEC: first the tables, then each record's rows. A process of
its own: the SDK changes how Arrow reads extension types.
"""

from __future__ import annotations

import json
import sys

import grpc
from cloudquery.plugin_v3 import arrow, plugin_pb2_grpc
from cloudquery.plugin_v3 import plugin_pb2 as pb
from cloudquery.sdk.schema import Table


def main(target: str, spec: str) -> None:
    with grpc.insecure_channel(target) as channel:
        stub = plugin_pb2_grpc.PluginStub(channel)
        stub.Init(pb.Init.Request(spec=spec.encode()), wait_for_ready=True)
        for data in stub.GetTables(pb.GetTables.Request(tables=["*"])).tables:
            table = Table.from_arrow_schema(arrow.new_schema_from_bytes(data))
            columns = [
                [c.name, str(c.type), c.primary_key, c.not_null, c.unique, c.incremental_key]
                for c in table.columns
            ]
            say(table=table.name, incremental=table.is_incremental, columns=columns)
        for answer in stub.Sync(pb.Sync.Request(tables=["*"], withErrorMessages=True)):
            if answer.HasField("insert"):
                record = arrow.new_record_from_bytes(answer.insert.record)
                say(rows=record.to_pylist())


def say(**fields: object) -> None:
    print(json.dumps(fields, default=str))


if __name__ == "__main__":
    main(*sys.argv[1:])
