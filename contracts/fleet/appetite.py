"""Whether a worker still consumes: one that takes nothing although something waits is not well.

After a connection was cut a consumer may stay up and never ask again: a long line of bugs of brokers'
clients. Its process is there, its loop runs, its timers fire; only this tells. A new connection cures
those that we have seen; what it does not cure counts as dead.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

State = Literal["fine", "restless", "dead"]

# Dozens of looks of a free worker at a queue that others empty would all have to be unlucky.
PATIENCE_S = 300.0
RESTLESS = 0.1  # of the patience


class Appetite:
    """Look after look at one consumer."""

    def __init__(
        self, patience_s: float = PATIENCE_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._patience_s, self._clock = patience_s, clock
        self._taken = -1
        self._fine_s = self._calm_s = clock()

    def look(self, *, taken: int, busy: bool, waiting: int) -> State:
        """`taken`: messages so far; `busy`: it has no free process; `waiting`: messages in its queue.

        Restless is told once per tenth of the patience: then it should connect anew.
        """
        now = self._clock()
        if busy or not waiting or taken != self._taken:
            self._fine_s = self._calm_s = now
        self._taken = taken
        if now - self._fine_s >= self._patience_s:
            return "dead"
        if now - self._calm_s >= RESTLESS * self._patience_s:
            self._calm_s = now
            return "restless"
        return "fine"
