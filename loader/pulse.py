"""A heartbeat beside a long job: a thread that beats until the job ends, whatever the job waits for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from contracts.errors import Transient
from contracts.queue import Heart

EVERY_S = 5.0  # six beats fit into the half minute after which an attempt counts as dead


@contextmanager
def beating(heart: Heart, run: str, job: str, attempt: str) -> Iterator[None]:
    """Beat once before the job starts, then every five seconds. Raises what the first beat raises."""
    heart.beat(run, job, attempt)
    done = Event()

    def beat() -> None:
        while not done.wait(EVERY_S):
            try:
                heart.beat(run, job, attempt)
            except Transient:
                continue  # the broker may come back before the attempt is given up

    thread = Thread(target=beat, name=f"heartbeat of {job}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        heart.stop(run, job)
