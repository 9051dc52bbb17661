"""A worker or a loader of the fleet: Celery with forked processes, each handling one message at a time.

The parent imports no library that starts threads: a fork that copies one of their locks, held, hangs.
Handlers therefore import what they need when they are called.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from contracts.fleet.app import application
from contracts.fleet.broker import check
from contracts.fleet.heart import RedisHeart
from contracts.fleet.names import TASK, QueueName
from contracts.queue import Heart

log = logging.getLogger(__name__)

Handler = Callable[[bytes, Heart], None]


def serve(
    url: str,
    queue: QueueName,
    handle: Handler,
    *,
    concurrency: int = 1,
    grace_s: float = 0.0,
    alive: Path | None = None,
) -> int:
    """Handle messages until a signal comes; returns the exit code.

    SIGTERM hands running tasks back to the queue, after `grace_s` seconds in which they may end;
    SIGINT waits for them. `alive` is touched as long as messages are being consumed.
    Raises Unreachable or Denied if the broker does not take us in the first place.
    """
    # billiard reads this when it is imported; SIGTERM would else wait for every running task.
    os.environ["REMAP_SIGTERM"] = "SIGQUIT"
    check(url)
    app = application(url, queue, grace_s=grace_s)

    from celery.signals import setup_logging

    from contracts.fleet.steps import ReturnedRequest, presence

    def work(text: str) -> None:
        handle(text.encode(), _heart(url, os.getpid()))

    app.task(work, name=TASK, Request=ReturnedRequest)
    app.steps["consumer"].add(presence(url, queue, alive))
    # With a receiver Celery leaves all logging to us.
    setup_logging.connect(_keep_logging)
    worker = app.Worker(
        hostname=f"{queue}@{socket.gethostname()}.{os.getpid()}",
        concurrency=concurrency,
        pool="prefork",
        queues=[queue],
        optimization="fair",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        loglevel="WARNING",
        quiet=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


def _keep_logging(**_: object) -> None:
    """Logging stays as the program has set it up."""


@lru_cache(maxsize=1)
def _heart(url: str, pid: int) -> RedisHeart:
    """One per process: a connection must not be shared across a fork."""
    del pid
    return RedisHeart(url)
