"""Bytes from the queue → an attempt at a shard: the same for the fleet's workers and the embedded ones.

One process has one stage object and keeps a few opened sources between messages.
"""

from __future__ import annotations

import atexit
import logging
import os
from functools import lru_cache

from contracts import settings
from contracts.errors import InputError, SharderError
from contracts.observe import log, trace
from contracts.queue import Heart, Message
from contracts.stage import Stage
from contracts.store import open_store
from worker.extract import extract
from worker.limits.process import limits_of_process
from worker.opened import OpenedSources


@lru_cache(maxsize=1)
def stage_of_process(url: str) -> Stage:
    return Stage(open_store(url))


@lru_cache(maxsize=1)
def sources_of_process() -> OpenedSources:
    sources = OpenedSources()
    atexit.register(sources.close)
    return sources


def handle(data: bytes, heart: Heart, broker: str = "") -> None:
    """Work on what a message says. Never raises: what failed is logged, and the watcher sends it again.

    `broker`: of the fleet, whose limits it shares; empty: embedded.
    """
    try:
        message = Message.from_bytes(data)
        if message.kind != "shard":
            raise InputError(f"a worker cannot '{message.kind}'; the message was dropped")
    except InputError as error:
        log.event("message_dropped", logging.ERROR, error=str(error))
        return
    try:
        _work(message, heart, broker)
    except SharderError as error:
        log.event(
            "attempt_failed",
            logging.ERROR,
            run=message.run,
            shard=message.shard,
            error=str(error),
        )
    except Exception:  # noqa: BLE001 — top of the handler: a bug must not end what serves other runs
        log.crashed("attempt_failed", run=message.run, shard=message.shard)
    trace.flush()


def _work(message: Message, heart: Heart, broker: str) -> None:
    found = settings.from_environment()
    extract(
        message,
        stage=stage_of_process(found.stage_url),
        heart=heart,
        environment=os.environ,
        opened=sources_of_process(),
        limits=limits_of_process(broker, found.limits_fd),
        memory_bytes=found.cap_bytes(),
        capped=True,
        traces=found.traces,
    )
