"""The heartbeat of an attempt: says that it lives, and learns whether it should stop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from contracts.errors import SharderError
from contracts.queue import Heart
from worker.log import event

BEAT_S = 5.0


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
    ) -> None:
        self._heart = heart
        self._names = (run, job)
        self._attempt = attempt
        self._look = cancelled
        self._beat_s = beat_s
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
        while not self._over.wait(self._beat_s):
            try:
                self._heart.beat(*self._names, self._attempt)
                if self._look():
                    self._cancelled.set()
            except SharderError as error:
                # A heart that cannot be heard costs at most a second attempt; the work goes on.
                event(
                    "heartbeat_failed", run=self._names[0], shard=self._names[1], error=str(error)
                )
