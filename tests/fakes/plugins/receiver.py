"""A plugin that is written to: keeps every request of Write, and doubles what it is to transform.

`answer`: members of Write.Response. `after`: how many requests it takes before it ends the call (all).
`fail`: words with which a write fails then.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pyarrow as pa
from cloudquery.plugin_v3 import plugin_pb2 as pb
from cloudquery.plugin_v3 import plugin_pb2_grpc
from pyarrow import ipc

from tests.fakes.plugins import encode


@dataclass
class Receiver(plugin_pb2_grpc.PluginServicer):
    answer: dict[str, Any] = field(default_factory=dict)
    after: int | None = None
    fail: str = ""
    got: list[Any] = field(default_factory=list)
    target: str = ""

    def Write(self, requests: Iterator[Any], context: Any) -> Any:  # noqa: N802
        for request in requests:
            self.got.append(request)
            if self.after is not None and len(self.got) >= self.after:
                break
        if self.fail:
            context.abort(grpc.StatusCode.INTERNAL, self.fail)
        return pb.Write.Response(**self.answer)

    def TransformSchema(self, request: Any, context: Any) -> Any:  # noqa: N802
        schema = ipc.open_stream(request.schema).schema.append(pa.field("added", pa.int64()))
        return pb.TransformSchema.Response(schema=encode.schema_bytes(schema))

    def Transform(self, requests: Iterator[Any], context: Any) -> Any:  # noqa: N802
        for request in requests:
            if self.fail:
                context.abort(grpc.StatusCode.INTERNAL, self.fail)
            (batch,) = ipc.open_stream(request.record)
            batch = batch.append_column("added", pa.array(range(batch.num_rows)))
            yield pb.Transform.Response(record=encode.record_bytes(batch))

    def batches(self) -> list[pa.RecordBatch]:
        inserts = [r.insert.record for r in self.got if r.WhichOneof("message") == "insert"]
        return [b for record in inserts for b in ipc.open_stream(record)]


@contextmanager
def receiving(**how: Any) -> Iterator[Receiver]:
    receiver = Receiver(**how)
    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", -1)])
    plugin_pb2_grpc.add_PluginServicer_to_server(receiver, server)
    receiver.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield receiver
    finally:
        server.stop(0).wait()
