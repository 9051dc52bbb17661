"""Opened sources, kept from shard to shard: clients of cloud APIs are dear to make.

A source is used by one attempt at a time; while it is, it is not in the cache.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from weakref import WeakSet

from contracts.observe.log import event
from worker.sources.base import Source

KEPT = 4
LEAVING_S = 1.0  # for threads of a source that are ending when it is closed

Key = tuple[str, str, int]  # run, source, number of its document


def never() -> bool:
    return False


@dataclass
class Opened:
    """A source, how to keep its secrets out of messages, and the attempt that uses it."""

    cancelled: Callable[[], bool] = never
    masked: Callable[[str], str] = str
    name: str = ""
    source: Source = field(init=False)
    _threads: WeakSet[threading.Thread] = field(default_factory=WeakSet, init=False)

    def is_cancelled(self) -> bool:
        """What the source asks: by the attempt that uses it now."""
        return self.cancelled()

    @contextmanager
    def watched(self, before: Collection[threading.Thread]) -> Iterator[None]:
        """What is started within belongs to the source; `before`: the threads that were there already."""
        try:
            yield
        finally:
            self._threads.update(t for t in threading.enumerate() if t not in before)

    def close(self) -> None:
        """Close the source, and tell the log of threads that it leaves running."""
        self.source.close()
        end_s = time.monotonic() + LEAVING_S
        for thread in list(self._threads):
            thread.join(max(0.0, end_s - time.monotonic()))
        if left := sorted(t.name for t in self._threads if t.is_alive()):
            event("threads_left", logging.WARNING, source=self.name, n=len(left), threads=left[:5])


class OpenedSources:
    """At most `kept` sources that nobody uses, the latest used ones."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._idle: OrderedDict[Key, Opened] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: Key, open_: Callable[[], Opened]) -> Opened:
        """One that is idle, or a new one. `give_back` or `close` it."""
        with self._lock:
            idle = self._idle.pop(key, None)
        return idle or open_()

    def give_back(self, key: Key, opened: Opened) -> None:
        opened.cancelled = never
        with self._lock:
            surplus = [self._idle.pop(key)] if key in self._idle else []
            self._idle[key] = opened
            while len(self._idle) > self._kept:
                surplus.append(self._idle.popitem(last=False)[1])
        for other in surplus:
            other.close()

    def close(self) -> None:
        with self._lock:
            idle = list(self._idle.values())
            self._idle.clear()
        for opened in idle:
            opened.close()
