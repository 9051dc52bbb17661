"""Clients in flight: a shard reads with one place, and each further client that it reads at once needs another.

Nobody waits for a second place while holding up a first: whoever has one goes on with it, so that shards
cannot block each other. Waiting ends when the attempt should stop; its heartbeat goes on meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from worker.limits.pace import LOOK_S


class Places(Protocol):
    """Who counts clients. Safe to call from many threads."""

    def take(self, source: str, limit: int) -> str | None:
        """One of `limit` places; None if all are taken."""

    def give_back(self, source: str, place: str) -> None: ...

    def keep(self) -> None:
        """Say that the places of this process are still in use. Never raises."""


class Flight:
    """The clients of one source; limit 0: as many as one likes."""

    def __init__(
        self, places: Places, source: str, limit: int, *, sleep: Callable[[float], None]
    ) -> None:
        self._places = places
        self._source = source
        self._limit = limit
        self._sleep = sleep

    @contextmanager
    def another(self, stop: Callable[[], bool]) -> Iterator[bool]:
        """A place, waited for, until the end of the block. False: `stop` came first."""
        if self._limit <= 0:
            yield not stop()
            return
        place = self._waited(stop)
        if place is None:
            yield False
            return
        try:
            yield True
        finally:
            self._places.give_back(self._source, place)

    def _waited(self, stop: Callable[[], bool]) -> str | None:
        while not stop():
            if place := self._places.take(self._source, self._limit):
                return place
            self._sleep(LOOK_S)
        return None
