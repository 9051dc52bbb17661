"""The loader's message handler: bytes in, one job done. The queue's side calls nothing else.

Stage and warehouses are kept open between messages of one process.
"""

from __future__ import annotations

import atexit
import logging
import os
import socket
from functools import cache
from uuid import uuid4

from contracts import settings
from contracts.errors import InputError, SharderError, Transient
from contracts.guard import Caps, Guard
from contracts.observe import log, metrics, trace
from contracts.observe.log import event
from contracts.queue import Heart, Message
from contracts.stage import Stage
from contracts.store import open_store
from loader.cache import Warehouses
from loader.conclude import conclude
from loader.load import load
from loader.migrating import migrate, unmigrated
from loader.prepare import prepare, unprepared
from loader.pulse import beating

PATIENCE_S = (
    2.0,
    5.0,
    15.0,
)  # a warehouse that restarts is back within that; then the watcher decides


def handle(data: bytes, heart: Heart) -> None:
    """Do the job of one message. Never raises: a message is a hint, and the watcher sends it again."""
    try:
        message = Message.from_bytes(data)
    except InputError as error:
        event("message_dropped", logging.ERROR, error=error)
        return
    run, job = message.run, message.job
    with log.job(run=run, job=job, worker=f"{socket.gethostname()}:{os.getpid()}"):
        _handle(message, heart)
    trace.flush()


def _handle(message: Message, heart: Heart) -> None:
    run, job = message.run, message.job
    try:
        try:
            _do(message, heart)
        finally:
            # Embedded, this process ends with the run; on a fleet it goes on, and readers want the file.
            if settings.from_environment().broker:
                _warehouses().release()
    except Transient as error:
        event("job_postponed", logging.WARNING, run=run, job=job, error=error)
    except SharderError as error:
        event("job_refused", logging.ERROR, run=run, job=job, error=error)
    except Exception:  # noqa: BLE001  # top of the handler: a bug must not end what serves other runs
        log.crashed("job_crashed", run=run, job=job)


def _do(message: Message, heart: Heart) -> None:
    found = settings.from_environment()
    stage = _stage(found.stage_url)
    memory_bytes = found.cap_bytes()
    guard = Guard(Caps(memory_bytes=memory_bytes))
    if message.kind == "prepare":
        # A slow warehouse is not a dead loader: with a heartbeat nobody sends the message again.
        with beating(
            heart, message.run, message.job, uuid4().hex, guard=guard,
            give_up=lambda e: unprepared(message, stage, e),
        ):  # fmt: skip
            prepare(message, stage=stage, environment=os.environ, warehouses=_warehouses())
        event("prepared", run=message.run, destination=message.destination)
        return
    if message.kind == "migrate":
        with beating(
            heart, message.run, message.job, uuid4().hex, guard=guard,
            give_up=lambda e: unmigrated(message, stage, e),
        ):  # fmt: skip
            migrated = migrate(
                message, stage=stage, environment=os.environ, warehouses=_warehouses()
            )
        tables = len(migrated.tables)
        event("migrated", run=message.run, destination=message.destination, tables=tables)
        return
    if message.kind == "conclude":
        _conclude(message, stage, heart)
        return
    if message.kind == "shard":
        raise InputError(f"shard {message.shard} was sent to a loader; workers take shards")
    receipt = load(
        message,
        stage=stage,
        heart=heart,
        environment=os.environ,
        warehouses=_warehouses(),
        patience_s=PATIENCE_S,
        memory_bytes=memory_bytes,
        traces=found.traces,
        capped=True,
    )
    if receipt is None:
        event("load_elsewhere", run=message.run, job=message.job)
        return
    event(
        "loaded",
        run=message.run,
        destination=message.destination,
        source=message.source,
        table=message.table,
        round=message.round,
        outcome=receipt.outcome,
        rows=receipt.published,
        seconds=(receipt.ended - receipt.started).total_seconds(),
        error=receipt.error,
    )
    names = {"source": message.source, "destination": message.destination}
    metrics.count("sharder_loads_total", **names, outcome=receipt.outcome)
    if receipt.outcome == "ok":
        seconds = (receipt.ended - receipt.started).total_seconds()
        metrics.observe("sharder_load_seconds", seconds, **names)
        metrics.count("sharder_load_rows_total", receipt.published, **names)


def _conclude(message: Message, stage: Stage, heart: Heart) -> None:
    concluded = conclude(
        message, stage=stage, heart=heart, environment=os.environ, warehouses=_warehouses()
    )
    if concluded:
        event(
            "concluded",
            run=message.run,
            destination=message.destination,
            round=message.round,
            outcome=concluded.outcome,
            rows=concluded.rows,
            error=concluded.error,
        )


@cache
def _stage(url: str) -> Stage:
    return Stage(open_store(url))


@cache
def _warehouses() -> Warehouses:
    warehouses = Warehouses()
    atexit.register(warehouses.close)
    return warehouses
