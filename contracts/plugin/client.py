"""Talks to one plugin: every call of the protocol, as plain functions with our types and errors."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

import pyarrow as pa
from cloudquery.discovery_v1 import discovery_pb2, discovery_pb2_grpc
from cloudquery.plugin_v3 import plugin_pb2 as pb
from cloudquery.plugin_v3 import plugin_pb2_grpc

from contracts.errors import Permanent, SharderError
from contracts.plugin import ipc
from contracts.plugin.arrow import as_schema, inward, our_schema, schema_of, table_of, wire_schema
from contracts.plugin.calls import Calls
from contracts.plugin.consolidate import LIMITS, Limits, consolidated
from contracts.plugin.errors import Death, Unsupported, lives
from contracts.plugin.feed import Feed
from contracts.plugin.messages import Message, SyncRequest, WriteAnswer, WriteMessage
from contracts.plugin.requests import refusal, spec_bytes, sync_request, write_requests
from contracts.plugin.rows import Plain
from contracts.plugin.watch import Question
from contracts.plugin.wire import Fast
from contracts.table import Table, trees

PROTOCOL = 3
_HELLO_S = 10.0  # for a short answer over a connection that stands


class Client:
    """One connection to a plugin. Used by one thread at a time; `cancel` from any.

    death: how the program ended, None while it lives; asked when a connection breaks and while a call waits.
    idle: asked twice a second while a call waits; an error that it returns ends the call (`watch.silence`).
      It may be set later: it usually asks this client for `quiet_s`.
    what: the plugin in sentences.
    """

    def __init__(
        self,
        target: str,
        *,
        death: Death = lives,
        idle: Question = lives,
        what: str = "the plugin",
        single_threaded: bool = True,
    ) -> None:
        self._calls = Calls(target, death, idle, what, single_threaded)
        self._stub = plugin_pb2_grpc.PluginStub(self._calls.channel)  # type: ignore[no-untyped-call]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def idle(self) -> Question:
        return self._calls.idle

    @idle.setter
    def idle(self, question: Question) -> None:
        self._calls.idle = question

    @property
    def quiet_s(self) -> float:
        """For how long a call has been waiting for the plugin; 0.0 while none does."""
        return self._calls.quiet_s

    def connect(self, timeout_s: float, give_up: Question = lives) -> None:
        """Wait until the plugin answers, and see that it speaks the protocol.

        Raises what `death` or `give_up` says, Unreachable after timeout_s, Permanent for an older protocol.
        """
        self._calls.ready(timeout_s, give_up)
        hello = discovery_pb2_grpc.DiscoveryStub(self._calls.channel).GetVersions  # type: ignore[no-untyped-call]
        request = discovery_pb2.GetVersions.Request()
        try:
            versions = list(self._calls.ask(hello, request, "GetVersions", timeout_s).versions)
        except Unsupported:
            versions = []
        if PROTOCOL not in versions:
            spoken = (
                f"versions {', '.join(map(str, versions))}" if versions else "older versions only"
            )
            raise Permanent(
                f"{self._calls.what} speaks {spoken} of the plugin protocol; Sharder needs {PROTOCOL}",
                "use a newer version of the plugin",
            )

    def name(self) -> str:
        return str(self._ask("GetName", pb.GetName.Request()).name)

    def version(self) -> str:
        return str(self._ask("GetVersion", pb.GetVersion.Request()).version)

    def spec_schema(self) -> str:
        """JSON schema of the plugin's own spec, as text; empty where it has none. It may be no valid JSON."""
        return str(self._ask("GetSpecSchema", pb.GetSpecSchema.Request()).json_schema)

    def init(
        self, spec: Mapping[str, Any], *, no_connection: bool = False, invocation_id: str = ""
    ) -> bool:
        """Give the plugin its spec. True if it understands Flush. Raises Permanent for a spec that it refuses."""
        request = pb.Init.Request(
            spec=spec_bytes(spec), no_connection=no_connection, invocation_id=invocation_id
        )
        return bool(self._ask("Init", request).supports_flush)

    def tables(
        self,
        tables: Sequence[str] = ("*",),
        skip_tables: Sequence[str] = (),
        skip_dependent_tables: bool = False,
    ) -> tuple[Table, ...]:
        """The tables that the patterns select, parents before children. Needs `init`."""
        request = pb.GetTables.Request(
            tables=tables, skip_tables=skip_tables, skip_dependent_tables=skip_dependent_tables
        )
        found = [table_of(ipc.read_schema(data)) for data in self._ask("GetTables", request).tables]
        named = {t.name: t for t in found}  # a table that two parents share comes twice
        return tuple(t for tree in trees(tuple(named.values())).values() for t in tree)

    def sync(
        self, request: SyncRequest, *, limits: Limits = LIMITS, plain: bool = False
    ) -> Iterator[Message]:
        """Everything that the plugin sends, small batches put together (`consolidate`).

        A clean end is not success: some plugins leave rows out and only log it. Closing the iterator
        early cancels the sync. `plain`: the slow road, which the fast one is compared with.
        """
        decoder = Plain() if plain else Fast()
        method = self._calls.channel.unary_stream(
            "/cloudquery.plugin.v3.Plugin/Sync",
            request_serializer=pb.Sync.Request.SerializeToString,
        )
        with self._calls.stream(lambda: method(sync_request(request)), "Sync") as raws:
            yield from consolidated((e for raw in raws for e in decoder.events(raw)), limits)

    def read(self, table: Table) -> Iterator[pa.RecordBatch]:
        """The rows of a table of a destination or state backend, in batches as it sends them."""
        request = pb.Read.Request(table=ipc.schema_bytes(schema_of(table)))
        with self._calls.stream(lambda: self._stub.Read(request), "Read") as answers:
            for answer in answers:
                for batch in ipc.read_batches(answer.record):
                    yield inward(batch, table_of(batch.schema))

    def write(self, messages: Iterable[WriteMessage]) -> WriteAnswer:
        """Send everything to a destination, and wait until it has it. At most a few messages are held.

        `messages` is consumed in this thread; what it raises ends the write and is raised here.
        What could not be written stands in the answer: failed tables, and the error of a flush.
        """
        feed = Feed()
        with self._calls.watched(lambda: self._stub.Write.future(feed)) as (running, watch):
            try:
                for message in messages:
                    for request in write_requests(message):
                        watch.waiting_since = time.monotonic()
                        taken = feed.put(request, running.done)
                        watch.waiting_since = 0.0
                        if not taken:
                            self._calls.answer(running, watch, "Write", again=True)
                            raise Permanent(
                                f"{self._calls.what} ended a write before it had everything"
                            )
                feed.end()
                answer = self._calls.answer(running, watch, "Write", again=True)
            finally:
                left = feed.drop()
                running.cancel()
        if left:
            raise Permanent(f"{self._calls.what} ended a write before it had everything")
        return WriteAnswer(answer.flush_id, answer.flush_error, tuple(answer.failed_tables))

    def transform_schema(self, schema: pa.Schema) -> pa.Schema:
        """What a transformer makes of a schema, in our types; `schema_of` makes one with the table's facts."""
        request = pb.TransformSchema.Request(schema=ipc.schema_bytes(wire_schema(schema)))
        return our_schema(ipc.read_schema(self._ask("TransformSchema", request).schema))

    def transform(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """What a transformer makes of batches, in our types; their schemas as for `transform_schema`.

        How many come back for one is the transformer's affair. `batches` is consumed in a thread of
        gRPC, ahead of the answers by what fits into the connection; what it raises is raised here.
        """
        failed: list[BaseException] = []
        answers: Iterator[Any]
        with self._calls.stream(
            lambda: self._stub.Transform(_transformed(batches, failed)), "Transform"
        ) as answers:
            try:
                for answer in answers:
                    for batch in ipc.read_batches(answer.record):
                        yield as_schema(batch, our_schema(batch.schema))
            except SharderError:
                if not failed:
                    raise
        if failed:
            raise failed[0]

    def test(self, spec: Mapping[str, Any]) -> None:
        """See whether the plugin can connect with this spec. Without such a call it is an `init`.

        Raises Denied, Unreachable, or Permanent with the plugin's words.
        """
        try:
            answer = self._ask("TestConnection", pb.TestConnection.Request(spec=spec_bytes(spec)))
        except Unsupported:
            self.init(spec)
            return
        if not answer.success:
            raise refusal(self._calls.what, answer.failure_code, answer.failure_description)

    def finish(self) -> None:
        """Tell the plugin that this was all. Most do not care, some fail: nothing is raised."""
        try:
            self._calls.ask(self._stub.Close, pb.Close.Request(), "Close", _HELLO_S)
        except SharderError:
            return

    def cancel(self) -> None:
        """Give up the call that waits, and any later one: they raise Stopped. From any thread."""
        self._calls.cancel()

    def close(self) -> None:
        self._calls.close()

    def _ask(self, call: str, request: Any) -> Any:
        return self._calls.ask(getattr(self._stub, call), request, call)


def _transformed(batches: Iterable[pa.RecordBatch], failed: list[BaseException]) -> Iterator[Any]:
    """Requests of a transformation. gRPC only logs what its source raises: it is kept, and ends the call."""
    try:
        for batch in batches:
            theirs = as_schema(batch, wire_schema(batch.schema))
            yield pb.Transform.Request(record=ipc.batch_bytes(theirs))
    except Exception as error:  # noqa: BLE001 - the reader raises it
        failed.append(error)
