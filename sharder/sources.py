"""The sources of a spec, opened in the submitter for as long as the run needs them.

They stay open until the round is closed: some hold a snapshot that their slices are read from. If the
submitter leaves the run to a watch they are told so, and cut without one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

from contracts.errors import SharderError
from contracts.spec import Source as SourceSpec
from contracts.spec import SourceLimits
from contracts.specfile import LoadedSpec, SpecDocument
from contracts.specfile.validate import fold
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
            limits = loaded.spec.fleet.sources.get(spec.name, SourceLimits())
            document = loaded.document("source", spec.name)
            found[spec.name] = _open(document, spec, limits, stays=stay)
            stack.callback(found[spec.name].close)
        yield found


def _open(document: SpecDocument, spec: SourceSpec, limits: SourceLimits, *, stays: bool) -> Source:
    context = Context(
        name=spec.name,
        now=lambda: datetime.now(UTC),
        sleep=time.sleep,
        cancelled=lambda: False,
        deterministic_cq_id=spec.deterministic_cq_id,
        rate_per_s=limits.rate_limit,
        max_clients_in_flight=limits.max_clients_in_flight,
        pace=Paced(LocalPermits(), spec.name, sleep=time.sleep, cancelled=lambda: False),
        stays=stays,
    )
    with masked(document):
        return registry.open_source(
            spec.plugin, fold(registry.options(spec.plugin), spec.spec), context
        )


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
