"""The state backend of a source: a gRPC server of this process that knows its cursors and collects new ones.

A source reads its state when it begins and writes it when it likes, often before our rows are safe. So
nothing that it writes leaves this process: whoever runs the source takes `written` once the rows are
committed. The state clients of Python and Go make three calls: GetVersions, Write, Read.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import pyarrow as pa
from cloudquery.discovery_v1 import discovery_pb2, discovery_pb2_grpc
from cloudquery.plugin_v3 import plugin_pb2 as pb
from cloudquery.plugin_v3 import plugin_pb2_grpc

from contracts.errors import SharderError, Unreachable
from contracts.plugin import ipc
from contracts.plugin.calls import LARGEST
from contracts.plugin.client import PROTOCOL
from contracts.plugin.cursor import KEY, VALUE, VERSION, cursor_of

_ROWS = 10_000  # of one answer


class StateServer:
    """Serves while the block lasts. Any number of plugins may be connected; the last write of a key counts.

    known: the cursors of earlier runs, key → value.
    directory: where its socket goes (private to this user); without one it listens on TCP.
    alias: how plugins name this machine (`Program.host_alias`). Another one than localhost means a
    container: it listens on all interfaces then, and whoever reaches the port may read and write cursors.
    """

    def __init__(
        self, known: Mapping[str, str], *, directory: Path | None = None, alias: str = "localhost"
    ) -> None:
        self._known = dict(known)
        self._written: dict[str, str] = {}
        self._versions: dict[str, int] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(8, thread_name_prefix="plugin state")
        self._server = grpc.server(
            self._pool,
            options=[
                ("grpc.max_receive_message_length", LARGEST),
                ("grpc.max_send_message_length", LARGEST),
                # Two processes on one port would each get half of the connections.
                ("grpc.so_reuseport", 0),
            ],
        )
        discovery_pb2_grpc.add_DiscoveryServicer_to_server(_Hello(), self._server)  # type: ignore[no-untyped-call]
        plugin_pb2_grpc.add_PluginServicer_to_server(_Backend(self), self._server)  # type: ignore[no-untyped-call]
        self.connection = self._bind(directory, alias)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.stop(grace=0).wait()
        self._pool.shutdown()

    def written(self) -> dict[str, str]:
        """What the source has written since the start: key → value."""
        with self._lock:
            return dict(self._written)

    def keep(self, record: bytes) -> None:
        """Take over the rows of a table of state. Raises Malformed if it is none."""
        news = cursor_of(ipc.read_batches(record))
        with self._lock:
            for key, (value, version) in news.items():
                # Go writes each value with a higher version; a late writer of an older one loses.
                if version >= self._versions.get(key, 0):
                    self._written[key], self._versions[key] = value, version

    def batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Everything that is known, with the columns that the reader asks for."""
        with self._lock:
            rows = sorted({**self._known, **self._written}.items())
            versions = dict(self._versions)
        for start in range(0, len(rows), _ROWS):
            some = rows[start : start + _ROWS]
            columns = {
                KEY: [key for key, _ in some],
                VALUE: [value for _, value in some],
                VERSION: [versions.get(key, 0) for key, _ in some],
            }
            arrays = [pa.array(columns.get(f.name, [None] * len(some)), f.type) for f in schema]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _bind(self, directory: Path | None, alias: str) -> str:
        if directory is not None:
            target = f"unix://{directory / 'state.sock'}"
            self._server.add_insecure_port(target)
            return target
        host = "127.0.0.1" if alias in ("localhost", "127.0.0.1") else "0.0.0.0"  # noqa: S104 - said above
        try:
            port = self._server.add_insecure_port(f"{host}:0")
        except RuntimeError as error:
            raise Unreachable(f"no port for the state of a plugin on {host}: {error}") from error
        return f"{host if host == '127.0.0.1' else alias}:{port}"


class _Hello(discovery_pb2_grpc.DiscoveryServicer):
    def GetVersions(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - the protocol's name
        return discovery_pb2.GetVersions.Response(versions=[PROTOCOL])


class _Backend(plugin_pb2_grpc.PluginServicer):
    """The two calls of a destination that a state client makes; of its tables there is one."""

    def __init__(self, state: StateServer) -> None:
        self._state = state

    def Write(self, requests: Iterator[Any], context: Any) -> Any:  # noqa: N802
        for request in requests:
            kind = request.WhichOneof("message")
            if kind == "insert":
                self._kept(request.insert.record, context)
            elif kind == "delete_record":
                # Go offers to forget keys; a cursor of ours is replaced, never dropped.
                context.abort(grpc.StatusCode.UNIMPLEMENTED, "state is not deleted here")
        return pb.Write.Response()

    def Read(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        try:
            for batch in self._state.batches(ipc.read_schema(request.table)):
                yield pb.Read.Response(record=ipc.batch_bytes(batch))
        except SharderError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)

    def _kept(self, record: bytes, context: Any) -> None:
        try:
            self._state.keep(record)
        except SharderError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)
