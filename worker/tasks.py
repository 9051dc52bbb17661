"""The worker as a Celery worker: messages of the queue `shards` go to `worker.handle.handle`."""

from __future__ import annotations

import os
from functools import lru_cache, partial
from pathlib import Path

from contracts import fleet, memory
from contracts.queue import Heart


def work(data: bytes, heart: Heart, broker: str) -> None:
    """In a child process, so that the parent never imports what a handler needs."""
    from worker.handle import handle

    _settle(os.getpid())
    handle(data, heart, broker)


@lru_cache(maxsize=1)
def _settle(pid: int) -> None:
    """Once per process, when its imports are done."""
    del pid
    memory.settle()


def serve(
    broker: str,
    *,
    concurrency: int = 1,
    grace_s: float = 0.0,
    alive: Path | None = None,
    metrics_port: int = 0,
    jobs_per_child: int = fleet.JOBS_PER_CHILD,
) -> int:
    """Run in the foreground until SIGTERM or SIGINT; returns the exit code (`contracts.fleet.serve`)."""
    return fleet.serve(
        broker,
        "shards",
        partial(work, broker=broker),
        concurrency=concurrency,
        grace_s=grace_s,
        alive=alive,
        metrics_port=metrics_port,
        jobs_per_child=jobs_per_child,
    )
