"""Which limits a process keeps to: the fleet's, or those of its machine."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import lru_cache

from worker.limits.flight import Places
from worker.limits.machine import LocalPermits, LocalPlaces
from worker.limits.pace import Permits


@dataclass(frozen=True)
class Limits:
    """Shared by all sources of a process."""

    permits: Permits = field(default_factory=LocalPermits)
    places: Places = field(default_factory=LocalPlaces)


def limits_of_process(broker: str, file: int = -1) -> Limits:
    """`broker`: Redis of the fleet; empty: what the processes that have `file` agree on."""
    return _limits(broker, file, os.getpid())


@lru_cache(maxsize=1)
def _limits(broker: str, file: int, pid: int) -> Limits:
    """One per process: a connection must not be shared across a fork."""
    del pid
    if not broker:
        return Limits(LocalPermits(file), LocalPlaces(file))
    from contracts.fleet.limits import RedisLimits
    from worker.limits.fleet import FleetPermits, FleetPlaces, Link

    link = Link(RedisLimits(broker))
    return Limits(FleetPermits(link, LocalPermits()), FleetPlaces(link, LocalPlaces()))
