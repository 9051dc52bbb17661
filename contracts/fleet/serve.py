"""A worker or a loader of the fleet: Celery with forked processes, each handling one message at a time.

The parent imports no library that starts threads: a fork that copies one of their locks, held, hangs.
Handlers therefore import what they need when they are called.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from contracts import settings
from contracts.fleet.app import application
from contracts.fleet.appetite import PATIENCE_S, Appetite
from contracts.fleet.broker import check
from contracts.fleet.heart import RedisHeart
from contracts.fleet.names import PRESENCE_EVERY_S, TASK, QueueName
from contracts.observe import metrics
from contracts.observe.exporter import exporting
from contracts.queue import Heart

Handler = Callable[[bytes, Heart], None]

JOBS_PER_CHILD = 1000


def serve(
    url: str,
    queue: QueueName,
    handle: Handler,
    *,
    concurrency: int = 1,
    grace_s: float = 0.0,
    alive: Path | None = None,
    metrics_port: int = 0,
    jobs_per_child: int = JOBS_PER_CHILD,
    patience_s: float = PATIENCE_S,
    every_s: float = PRESENCE_EVERY_S,
) -> int:
    """Handle messages until a signal comes; returns the exit code.

    SIGTERM hands running tasks back to the queue, after `grace_s` seconds in which they may end;
    SIGINT waits for them. `alive` is touched every `every_s` as long as messages are being consumed, which is
    doubted when none was taken for `patience_s` though some wait. A process is replaced after
    `jobs_per_child`, or when it has grown. `metrics_port`: 0 for none.
    Raises Unreachable or Denied if the broker does not take us in the first place.
    """
    # billiard reads this when it is imported; SIGTERM would else wait for every running task.
    os.environ["REMAP_SIGTERM"] = "SIGQUIT"
    check(url)
    app = application(
        url,
        queue,
        grace_s=grace_s,
        jobs_per_child=jobs_per_child,
        child_bytes=settings.from_environment().cap_bytes(concurrency),
    )

    from celery.signals import setup_logging

    from contracts.fleet.steps import ReturnedRequest, presence

    os.environ[settings.PROCESSES] = str(concurrency)
    # All temporary files of our children are in here: those that are killed leave theirs behind.
    with TemporaryDirectory(prefix="sharder-", ignore_cleanup_errors=True) as home:
        counted = Path(home, "metrics") if metrics_port else None

        def work(text: str) -> None:
            _begin(home, counted, os.getpid())
            handle(text.encode(), _heart(url, os.getpid()))

        app.task(work, name=TASK, Request=ReturnedRequest)
        appetite = Appetite(patience_s)
        app.steps["consumer"].add(presence(url, queue, alive, appetite=appetite, every_s=every_s))
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
        if counted is None:
            return _ended(worker)
        counted.mkdir()
        with exporting(metrics_port, counted):
            return _ended(worker)


def _ended(worker: Any) -> int:
    worker.start()
    return int(worker.exitcode or 0)


def _keep_logging(**_: object) -> None:
    """Logging stays as the program has set it up."""


@lru_cache(maxsize=1)
def _heart(url: str, pid: int) -> RedisHeart:
    """One per process: a connection must not be shared across a fork."""
    del pid
    return RedisHeart(url)


@lru_cache(maxsize=1)
def _begin(home: str, counted: Path | None, pid: int) -> None:
    """Once per child. One that replaces another has its number, and goes on with its file of metrics."""
    del pid
    tempfile.tempdir = os.environ["TMPDIR"] = home
    if counted:
        from billiard.process import current_process

        metrics.enable(counted, getattr(current_process(), "index", 0))
