"""The loader as a Celery worker: messages of the queue `loads` go to `loader.handle.handle`."""

from __future__ import annotations

from pathlib import Path

from contracts import fleet
from contracts.queue import Heart


def work(data: bytes, heart: Heart) -> None:
    """In a child process, so that the parent never imports what a handler needs."""
    from loader.handle import handle

    handle(data, heart)


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
        "loads",
        work,
        concurrency=concurrency,
        grace_s=grace_s,
        alive=alive,
        metrics_port=metrics_port,
        jobs_per_child=jobs_per_child,
    )
