"""Bytes from the queue → an attempt at a shard: the same for the fleet's workers and the embedded ones.

One process has one stage object and keeps a few opened sources between messages.
"""

from __future__ import annotations

import logging
import os
from functools import lru_cache

from contracts import settings
from contracts.errors import InputError, SharderError
from contracts.queue import Heart, Message
from contracts.stage import Stage
from contracts.store import open_store
from worker import log
from worker.extract import extract
from worker.opened import OpenedSources


@lru_cache(maxsize=1)
def stage_of_process(url: str) -> Stage:
    return Stage(open_store(url))


@lru_cache(maxsize=1)
def sources_of_process() -> OpenedSources:
    return OpenedSources()


def handle(data: bytes, heart: Heart) -> None:
    """Work on what a message says. Never raises: what failed is logged, and the watcher sends it again."""
    log.set_up(settings.from_environment().log_level)
    try:
        message = Message.from_bytes(data)
        if message.kind != "shard":
            raise InputError(f"a worker cannot '{message.kind}'; the message was dropped")
    except InputError as error:
        log.event("message_dropped", logging.ERROR, error=str(error))
        return
    try:
        extract(
            message,
            stage=stage_of_process(settings.from_environment().stage_url),
            heart=heart,
            environment=os.environ,
            opened=sources_of_process(),
        )
    except SharderError as error:
        log.event(
            "attempt_failed",
            logging.ERROR,
            run=message.run,
            shard=message.shard,
            error=str(error),
        )
    except Exception:
        logging.getLogger("worker").exception(
            "event=attempt_failed run=%s shard=%s", message.run, message.shard
        )
