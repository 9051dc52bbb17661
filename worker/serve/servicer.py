"""The calls of the protocol, answered by an offer. What fails is INTERNAL with our words, as Go has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import grpc
from cloudquery.discovery_v1 import discovery_pb2, discovery_pb2_grpc
from cloudquery.plugin_v3 import plugin_pb2 as pb
from cloudquery.plugin_v3 import plugin_pb2_grpc

from contracts.errors import Denied, InputError, SharderError, Unreachable
from contracts.observe.log import crashed
from contracts.plugin import ipc
from contracts.plugin.arrow import outward, schema_of
from contracts.plugin.messages import (
    Backend,
    Deleted,
    Inserted,
    Message,
    Migrate,
    Saved,
    SyncRequest,
    TableFailed,
)
from contracts.plugin.predicates import groups_to, relations_to
from contracts.table import Table
from contracts.veil import VEIL
from worker.serve.offer import Offer
from worker.serve.state import State
from worker.serve.sync import Sync
from worker.sources.base import Cancelled

PROTOCOL = 3


class Discovery(discovery_pb2_grpc.DiscoveryServicer):
    def GetVersions(self, request: Any, context: Any) -> Any:  # noqa: N802 — the protocol's name
        del request, context
        return discovery_pb2.GetVersions.Response(versions=[PROTOCOL])


class Plugin(plugin_pb2_grpc.PluginServicer):
    """A source. Calls of destinations and transformers are UNIMPLEMENTED by the base class."""

    def __init__(self, offer: Offer) -> None:
        self._offer = offer

    def GetName(self, request: Any, context: Any) -> Any:  # noqa: N802
        del request, context
        return pb.GetName.Response(name=self._offer.name)

    def GetVersion(self, request: Any, context: Any) -> Any:  # noqa: N802
        del request, context
        return pb.GetVersion.Response(version=self._offer.version)

    def GetSpecSchema(self, request: Any, context: Any) -> Any:  # noqa: N802
        del request, context
        return pb.GetSpecSchema.Response(json_schema=self._offer.spec_schema())

    def Init(self, request: Any, context: Any) -> Any:  # noqa: N802
        """`no_connection` changes nothing: no source of ours connects before it is asked for something."""
        with self._alone(context):
            self._offer.init(request.spec)
        return pb.Init.Response()

    def GetTables(self, request: Any, context: Any) -> Any:  # noqa: N802
        with self._alone(context):
            trees = self._offer.trees(
                request.tables, request.skip_tables, skip_children=request.skip_dependent_tables
            )
        schemas = [ipc.schema_bytes(schema_of(t)) for tree in trees for t in tree]
        return pb.GetTables.Response(tables=schemas)

    def TestConnection(self, request: Any, context: Any) -> Any:  # noqa: N802
        with self._alone(context):
            try:
                self._offer.test(request.spec)
            except SharderError as error:
                code, words = code_of(error), VEIL(str(error))
                return pb.TestConnection.Response(
                    success=False, failure_code=code, failure_description=words
                )
        return pb.TestConnection.Response(success=True)

    def Sync(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        """The next message is taken when there is room for it: a client that stops, stops the source."""
        wanted = request_of(request)
        with self._alone(context), self._offer.until(lambda: not context.is_active()):
            trees = self._offer.trees(
                wanted.tables, wanted.skip_tables, skip_children=wanted.skip_dependent_tables
            )
            sync = Sync(self._offer.source, trees, wanted, lambda: not context.is_active())
            encode = Encoding(wanted.backend, with_errors=request.withErrorMessages)
            for message in sync.messages():
                yield from encode(message)

    def Close(self, request: Any, context: Any) -> Any:  # noqa: N802
        del request
        with self._alone(context):
            self._offer.close()
        return pb.Close.Response()

    @contextmanager
    def _alone(self, context: Any) -> Iterator[None]:
        """One call at a time uses the source; another one is refused, as Go refuses a second sync."""
        if not self._offer.lock.acquire(blocking=False):
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the plugin is already in use")
        try:
            yield
        except Cancelled:
            context.abort(grpc.StatusCode.CANCELLED, "the client has gone")
        except SharderError as error:
            fail(context, str(error))
        except Exception as error:
            if context.code() is None and context.is_active():
                crashed("call_failed")
                fail(context, f"{type(error).__name__}: {error}")
            raise
        finally:
            self._offer.lock.release()


def fail(context: Any, words: str) -> NoReturn:
    context.abort(grpc.StatusCode.INTERNAL, VEIL(words))
    raise AssertionError


def code_of(error: SharderError) -> str:
    """The codes that CloudQuery's plugins use."""
    match error:
        case InputError():
            return "INVALID_SPEC"
        case Denied():
            return "UNAUTHORIZED"
        case Unreachable():
            return "UNREACHABLE"
        case _:
            return "CONNECTION_FAILED"


def request_of(request: Any) -> SyncRequest:
    backend = request.backend
    shard = request.shard if request.HasField("shard") and request.shard.total > 1 else None
    return SyncRequest(
        tables=tuple(request.tables),
        skip_tables=tuple(request.skip_tables),
        skip_dependent_tables=request.skip_dependent_tables,
        deterministic_cq_id=request.deterministic_cq_id,
        backend=Backend(backend.table_name, backend.connection) if backend.table_name else None,
        shard=(shard.num, shard.total) if shard else None,
        checkpoints=request.supports_checkpoints,
    )


class Encoding:
    """Messages → answers of Sync. `with_errors`: failed tables are messages, not only log lines."""

    def __init__(self, backend: Backend | None, *, with_errors: bool) -> None:
        self._with_errors = with_errors
        self._state = State(backend) if backend else None
        self._tables: dict[str, Table] = {}

    def __call__(self, message: Message) -> Iterator[Any]:
        make: Callable[..., Any] = pb.Sync.Response
        match message:
            case Migrate(table):
                self._tables[table.name] = table
                data = ipc.schema_bytes(schema_of(table))
                yield make(migrate_table=pb.Sync.MessageMigrateTable(table=data))
            case Inserted(name, batch):
                data = ipc.batch_bytes(outward(batch, self._tables[name]))
                yield make(insert=pb.Sync.MessageInsert(record=data))
            case TableFailed(name, error):
                if self._with_errors:
                    yield make(error=pb.Sync.MessageError(table_name=name, error=error))
            case Saved(cursor):
                assert self._state
                state = outward(self._state.record(cursor), self._state.table)
                data = ipc.batch_bytes(state)
                yield make(checkpoint=pb.Sync.MessageCheckpoint(record=data))
            case Deleted(name, where, relations):
                gone = pb.Sync.MessageDeleteRecord(
                    table_name=name,
                    where_clause=groups_to(where),
                    table_relations=relations_to(relations),
                )
                yield make(delete_record=gone)
