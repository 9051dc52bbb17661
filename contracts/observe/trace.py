"""One trace per run, though the programs tell each other nothing: ids follow from the run's id.

The id of the trace and of its root span are hashes of the run's id, so that whoever works for a run, on
whatever machine, joins its trace. The only home of opentelemetry, which is imported when
somebody wants traces: by the standard variables (OTEL_EXPORTER_OTLP_ENDPOINT, …), or by a source's
`otel_endpoint`. A collector that is away costs a line in the log; nothing waits for it.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from contracts.errors import missing_extra
from contracts.observe.log import event

EXTRA = "otel"
STANDARD = ""  # the endpoint of the standard variables
TIMEOUT_S = 3.0  # of one export, its tries included; what a program may wait for at its end
FLUSH_MS = 1000
_ROOT: ContextVar[str] = ContextVar("root", default="")  # the run whose root span is being made


def trace_id(run: str) -> int:
    return int.from_bytes(hashlib.sha256(f"sharder trace {run}".encode()).digest()[:16])


def root_id(run: str) -> int:
    return int.from_bytes(hashlib.sha256(f"sharder root {run}".encode()).digest()[:8])


def url(endpoint: str, *, insecure: bool) -> str:
    """CloudQuery's `otel_endpoint` (`host:port`) as the URL of OTLP over HTTP; empty for none."""
    if not endpoint:
        return ""
    if "://" not in endpoint:
        endpoint = f"{'http' if insecure else 'https'}://{endpoint}"
    return endpoint if endpoint.endswith("/v1/traces") else f"{endpoint.rstrip('/')}/v1/traces"


def endpoints(environment: bool, others: Iterable[str] = ()) -> tuple[str, ...]:
    """Where spans go: by the standard variables if they are set, and to each of the others."""
    return (*((STANDARD,) if environment else ()), *dict.fromkeys(o for o in others if o))


class Span:
    """A piece of work that is being done, at every endpoint."""

    def __init__(self, spans: Sequence[Any] = ()) -> None:
        self._spans = spans

    def put(self, **attributes: str | float) -> None:
        """What is known about it by now."""
        for one in self._spans:
            one.set_attributes({f"sharder.{k}": v for k, v in attributes.items()})

    def event(self, name: str, **attributes: str | float) -> None:
        """Something that happened within."""
        for one in self._spans:
            one.add_event(name, {f"sharder.{k}": v for k, v in attributes.items()})

    def failed(self, why: str) -> None:
        """It did not end well."""
        if self._spans:
            from opentelemetry.trace import Status, StatusCode

            for one in self._spans:
                one.set_status(Status(StatusCode.ERROR, why))


@contextmanager
def root(run: str, name: str, to: Sequence[str]) -> Iterator[Span]:
    """The span above all others of the run. One program makes it; whoever joins does not wait for it."""
    with _all(run, name, to, root=True) as found:
        found.put(run=run)
        yield found


@contextmanager
def span(run: str, name: str, to: Sequence[str], /, **attributes: str | float) -> Iterator[Span]:
    """A span of the run: below the one that is open here, else below the root span."""
    with _all(run, name, to, root=False) as found:
        found.put(**{"run": run, **attributes})
        yield found


@contextmanager
def step(name: str, /, **attributes: str | float) -> Iterator[Span]:
    """A span below the one that is open here, wherever that goes; nothing if none is."""
    with _all("", name, tuple(_open.get()), root=False) as found:
        found.put(**attributes)
        yield found


@contextmanager
def _all(run: str, name: str, to: Sequence[str], *, root: bool) -> Iterator[Span]:
    """One span per endpoint."""
    with ExitStack() as stack:
        tracers = [(e, t) for e in to if (t := _tracer(e, os.getpid()))]
        yield Span([stack.enter_context(_one(t, e, run, name, root=root)) for e, t in tracers])


@contextmanager
def _one(tracer: Any, endpoint: str, run: str, name: str, *, root: bool) -> Iterator[Any]:
    """At one endpoint. What is open there is kept apart from the other endpoints'."""
    from opentelemetry import trace as api

    parents = _open.get()
    parent = None if root else parents.get(endpoint) or _remote(run)
    context = api.set_span_in_context(parent) if parent else None
    token = _ROOT.set(run if root else "")
    try:
        made = tracer.start_span(name, context=context)
    finally:
        _ROOT.reset(token)
    opened = _open.set({**parents, endpoint: made})
    try:
        yield made
    except BaseException as error:
        # What the error says may name a secret, so only its kind is told.
        made.set_status(api.Status(api.StatusCode.ERROR, type(error).__name__))
        raise
    finally:
        _open.reset(opened)
        made.end()


_open: ContextVar[Mapping[str, Any]] = ContextVar("open", default={})  # noqa: B039 — never changed, only replaced


def _remote(run: str) -> Any:
    from opentelemetry import trace as api

    flags = api.TraceFlags(api.TraceFlags.SAMPLED)
    found = api.SpanContext(trace_id(run), root_id(run), is_remote=True, trace_flags=flags)
    return api.NonRecordingSpan(found)


@lru_cache(maxsize=32)
def _tracer(endpoint: str, pid: int) -> Any:
    """One per process, for a thread that sends does not survive a fork. None if the extra is not there."""
    del pid
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import (
            BatchSpanProcessor,
            SpanExporter,
            SpanExportResult,
        )
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
    except ImportError as error:
        missing = missing_extra("opentelemetry-sdk", EXTRA, "tracing")
        event("no_traces", logging.WARNING, error=f"{missing} ({error.name})")
        return None

    class Ids(RandomIdGenerator):
        """Random ones, but for the root of a run."""

        def generate_trace_id(self) -> int:
            run = _ROOT.get()
            return trace_id(run) if run else super().generate_trace_id()

        def generate_span_id(self) -> int:
            run = _ROOT.get()
            return root_id(run) if run else super().generate_span_id()

    class Told(SpanExporter):
        """Says once that a collector is away, in place of the library's line per batch."""

        def __init__(self) -> None:
            self._inner = OTLPSpanExporter(endpoint=endpoint or None, timeout=TIMEOUT_S)
            self.away = False

        def export(self, spans: Sequence[Any]) -> Any:
            result = self._inner.export(spans)
            away = result is not SpanExportResult.SUCCESS
            if away and not self.away:
                event(
                    "traces_not_taken", logging.WARNING, collector=endpoint or "by the environment"
                )
            self.away = away
            return result

        def shutdown(self) -> None:
            inner: Any = self._inner  # it has no types
            inner.shutdown()

    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    from opentelemetry.sdk.environment_variables import OTEL_SERVICE_NAME

    resource = Resource.create(
        {} if os.environ.get(OTEL_SERVICE_NAME) else {"service.name": "sharder"}
    )
    provider = TracerProvider(id_generator=Ids(), resource=resource, shutdown_on_exit=True)
    told = Told()
    provider.add_span_processor(BatchSpanProcessor(told, schedule_delay_millis=1000))
    _made.append((os.getpid(), provider, told))
    return provider.get_tracer("sharder")


_made: list[tuple[int, Any, Any]] = []  # process, provider, exporter


def flush() -> None:
    """Send what waits, at the end of a job: a process that has nothing to do may be ended at any moment.

    A collector that was away the last time is not waited for.
    """
    for pid, provider, told in _made:
        if pid == os.getpid() and not told.away:
            provider.force_flush(FLUSH_MS)
