"""The heartbeat of an attempt: says that it lives, learns whether it should stop, and ends it if it must.

Beside the beats the thread looks at the attempt's limits (`contracts.guard`). One that is over a limit and
does not end by itself is ended with its process: there is no other way to stop a thread that waits in a
library.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from contracts import guard as guarding
from contracts.errors import SharderError
from contracts.guard import LOOK_S, Caps, Guard
from contracts.observe import metrics
from contracts.observe.log import event
from contracts.queue import Heart

BEAT_S = 5.0


def _nobody(error: SharderError) -> None:
    """By default nobody writes down why an attempt is ended."""
    del error


class Pulse:
    """A thread between `with` and its end. `cancelled` is looked up as often as the heart beats."""

    def __init__(
        self,
        heart: Heart,
        *,
        run: str,
        job: str,
        attempt: str,
        cancelled: Callable[[], bool],
        beat_s: float = BEAT_S,
        guard: Guard | None = None,
        give_up: Callable[[SharderError], None] = _nobody,
        exit_: Callable[[int], object] = os._exit,
    ) -> None:
        """`give_up`: writes down why the process is about to end."""
        self._heart = heart
        self._names = (run, job)
        self._attempt = attempt
        self._look = cancelled
        self._beat_s = beat_s
        self._guard = guard or Guard(Caps())
        self._give_up, self._exit = give_up, exit_
        self._over = threading.Event()
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"pulse {job}", daemon=True)

    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def __enter__(self) -> Self:
        self._heart.beat(*self._names, self._attempt)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        self._heart.stop(*self._names)

    def _run(self) -> None:
        pause_s = min(self._beat_s, LOOK_S) if self._guard.watches else self._beat_s
        beat_s = time.monotonic()
        while not self._over.wait(pause_s):
            if error := self._guard.look():
                self._end(error)
                return
            if time.monotonic() - beat_s >= self._beat_s:
                beat_s = time.monotonic()
                self._beat()

    def _beat(self) -> None:
        try:
            self._heart.beat(*self._names, self._attempt)
            if self._look():
                self._cancelled.set()
        except SharderError as error:
            # A heart that cannot be heard costs at most a second attempt; the work goes on.
            metrics.count("sharder_heartbeats_lost_total")
            event("heartbeat_failed", run=self._names[0], shard=self._names[1], error=str(error))

    def _end(self, error: SharderError) -> None:
        """Whoever sees the process gone starts the next attempt; the beat must not keep it waiting."""
        run, job = self._names
        event("attempt_ended", logging.ERROR, run=run, shard=job, reason=error.reason, error=error)
        metrics.count("sharder_attempts_killed_total", reason=error.reason)

        def say_why() -> None:
            self._give_up(error)
            self._heart.stop(run, job)

        guarding.end(say_why, self._exit)
