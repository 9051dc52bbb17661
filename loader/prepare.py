"""`prepare`: what the planner must know of a destination before anything is extracted.

Whether it can be reached, the cursors that live in it, the newest sync time of each of its sources.
An error is written into the document, because it is the submitter who tells it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing, suppress
from datetime import UTC

from contracts.cursors import Cursors, Failure
from contracts.errors import Permanent, SharderError, Transient
from contracts.queue import Message
from contracts.stage import Stage
from loader import documents
from loader.cache import Warehouses, borrowed
from loader.warehouses.base import Warehouse


def prepare(
    message: Message,
    *,
    stage: Stage,
    environment: Mapping[str, str],
    warehouses: Warehouses | None = None,
) -> None:
    """Write cursors/<destination>.json; never raises for what is wrong with the destination."""
    run, name = message.run, message.destination
    try:
        with closing(documents.destination(stage, run, name, environment)) as found:
            found.chain.start()
            with borrowed(warehouses) as opened, opened.use(run, found) as warehouse:
                document = _look(stage, run, name, warehouse)
    except (Permanent, Transient) as error:
        document = Cursors(run=run, destination=name, error=failure(name, error))
    stage.write_cursors(document)


def unprepared(message: Message, stage: Stage, error: SharderError) -> None:
    """The answer of a process that must end in the middle: another one would end in the same way."""
    name = message.destination
    with suppress(SharderError):
        stage.write_cursors(Cursors(run=message.run, destination=name, error=failure(name, error)))


def _look(stage: Stage, run: str, name: str, warehouse: Warehouse) -> Cursors:
    tables = documents.state_tables(stage, run, name)
    sources = set(documents.sources_of(stage, run, name)) | set(tables)
    return Cursors(
        run=run,
        destination=name,
        guarantee=warehouse.traits.guarantee,
        cursors={source: warehouse.cursors(table) for source, table in tables.items()},
        last_sync={
            source: at.replace(tzinfo=UTC)
            for source, at in warehouse.last_syncs().items()
            if source in sources
        },
        # Last, so that its clock can be compared with that of whoever waits for this document.
        server=warehouse.about(),
    )


def failure(name: str, error: SharderError) -> Failure:
    """The error as the submitter will tell it, with the destination's name in it."""
    text = str(error)
    if f"'{name}'" not in text:
        text = f"destination '{name}': {text}"
    return Failure(message=text, exit_code=int(error.exit_code), kind=type(error).__name__)
