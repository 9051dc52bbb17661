"""Hands messages from the thread that makes them to the one in which gRPC sends them, few at a time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Self

WAITING = 2  # messages made and not yet sent: one on its way, one ready
_LOOK_S = 0.2


class Feed:
    """An iterator for gRPC, filled from outside. The maker's errors stay in the maker's thread."""

    def __init__(self, most: int = WAITING) -> None:
        self._most = most
        self._items: deque[Any] = deque()
        self._changed = threading.Condition()
        self._over = False

    def put(self, item: Any, ended: Callable[[], bool]) -> bool:
        """Wait for room. False if the call ended meanwhile: nobody takes it any more."""
        with self._changed:
            while len(self._items) >= self._most:
                if ended():
                    return False
                self._changed.wait(_LOOK_S)
            self._items.append(item)
            self._changed.notify_all()
        return not ended()

    def end(self) -> None:
        """That was all."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def drop(self) -> int:
        """Nothing more is sent, so that gRPC's thread ends. Returns how many messages were left."""
        with self._changed:
            left = len(self._items)
            self._items.clear()
            self._over = True
            self._changed.notify_all()
        return left

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        with self._changed:
            while not self._items:
                if self._over:
                    raise StopIteration
                self._changed.wait()
            self._changed.notify_all()
            return self._items.popleft()
