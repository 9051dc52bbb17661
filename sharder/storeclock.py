"""What time it is on a store: the one clock that all who share a stage can agree on.

Leases are renewed by one machine and judged by another. Their own clocks may be hours apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from contracts.errors import SharderError
from contracts.store import Store


def clock(store: Store) -> Callable[[], datetime]:
    """The store's clock, asked once, with a scratch object; our own where nothing can be written."""
    try:
        theirs, before_s, after_s = ask(store)
    except SharderError:
        return lambda: datetime.now(UTC)
    ahead = timedelta(seconds=theirs - (before_s + after_s) / 2)
    return lambda: datetime.now(UTC) + ahead


def ask(store: Store) -> tuple[float, float, float]:
    """Seconds since the epoch: by the store, and by us before and after. Raises what the store raises."""
    prefix = f"probe/{uuid4().hex}/"
    key = f"{prefix}clock"
    before_s = time.time()
    try:
        store.put(key, b"")
        after_s = time.time()
        (entry,) = store.list(prefix)
    finally:
        store.delete([key])
    return entry.modified_s, before_s, after_s
