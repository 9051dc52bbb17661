"""The sources of a spec, opened in the submitter for as long as the run needs them.

They stay open until the round is closed: some hold a snapshot that their slices are read from. If the
submitter leaves the run to a watch they are told so, and cut without one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

from contracts.errors import SharderError
from contracts.spec import Fleet, PluginSettings, SourceLimits
from contracts.spec import Source as SourceSpec
from contracts.specfile import LoadedSpec, SpecDocument
from worker.limits.machine import LocalPermits
from worker.limits.pace import Paced
from worker.sources import registry
from worker.sources.base import Context, Source


@contextmanager
def opened(
    loaded: LoadedSpec, chosen: Sequence[SourceSpec], *, stay: bool = True
) -> Iterator[Mapping[str, Source]]:
    """Name → source. `stay`: until the round is closed. Raises what a source raises when it cannot be opened, without secrets."""
    with ExitStack() as stack:
        found: dict[str, Source] = {}
        for spec in chosen:
            document = loaded.document("source", spec.name)
            found[spec.name] = open_source(document, loaded.spec.fleet, stays=stay)
            stack.callback(found[spec.name].close)
        yield found


def open_source(
    document: SpecDocument,
    fleet: Fleet,
    *,
    stays: bool = True,
    sleep: Callable[[float], None] = time.sleep,
) -> Source:
    """The source of one document. Raises what it raises when it cannot be opened, without secrets."""
    spec = document.model
    assert isinstance(spec, SourceSpec)
    limits = fleet.sources.get(spec.name, SourceLimits())
    context = Context(
        name=spec.name,
        now=lambda: datetime.now(UTC),
        sleep=sleep,
        cancelled=lambda: False,
        deterministic_cq_id=spec.deterministic_cq_id,
        rate_per_s=limits.rate_limit,
        max_clients_in_flight=limits.max_clients_in_flight,
        pace=Paced(LocalPermits(), spec.name, sleep=time.sleep, cancelled=lambda: False),
        stays=stays,
        environment=os.environ,
        masked=document.expanded.masked,
        settings=fleet.plugins.get(spec.name, PluginSettings()),
        state_table=state_table(spec),
    )
    with masked(document):
        return registry.open_document(spec, context)


def state_table(source: SourceSpec) -> str:
    """Where a source that is a program finds its state; empty if it keeps none."""
    return source.backend_options.table_name if source.backend_options else ""


@contextmanager
def masked(document: SpecDocument) -> Iterator[None]:
    """Errors without the values that variables of the document have."""
    try:
        yield
    except SharderError as error:
        mask = document.expanded.masked
        message, hint = mask(error.message), mask(error.hint)
        if (message, hint) == (error.message, error.hint):
            raise
        raise type(error)(message, hint) from error
