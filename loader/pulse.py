"""A heartbeat beside a long job: a thread that beats until the job ends, whatever the job waits for.

A load may take as long as it takes. What it may not do is to use more memory than its process has: then it is
ended with its process before the kernel does that, and its start marker says why.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

from contracts import guard as guarding
from contracts.errors import SharderError, Transient
from contracts.guard import LOOK_S, Guard
from contracts.observe import metrics
from contracts.observe.log import event
from contracts.queue import Heart

EVERY_S = 5.0  # six beats fit into the half minute after which an attempt counts as dead


def _nobody(error: SharderError) -> None:
    """By default nobody writes down why a job is ended."""
    del error


@contextmanager
def beating(
    heart: Heart,
    run: str,
    job: str,
    attempt: str,
    *,
    guard: Guard | None = None,
    give_up: Callable[[SharderError], None] = _nobody,
    exit_: Callable[[int], object] = os._exit,
) -> Iterator[None]:
    """Beat once before the job starts, then every five seconds. Raises what the first beat raises."""
    heart.beat(run, job, attempt)
    done = Event()

    def beat() -> None:
        beat_s = time.monotonic()
        while not done.wait(LOOK_S if guard else EVERY_S):
            if guard and (error := guard.look()):
                end(error)
                return
            if time.monotonic() - beat_s < EVERY_S:
                continue
            beat_s = time.monotonic()
            try:
                heart.beat(run, job, attempt)
            except Transient:
                continue  # the broker may come back before the attempt is given up

    def end(error: SharderError) -> None:
        event("attempt_ended", logging.ERROR, run=run, job=job, reason=error.reason, error=error)
        metrics.count("sharder_attempts_killed_total", reason=error.reason)

        def say_why() -> None:
            give_up(error)
            heart.stop(run, job)

        guarding.end(say_why, exit_)

    thread = Thread(target=beat, name=f"heartbeat of {job}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        heart.stop(run, job)
