"""Where a command works: which stage, which queue, how patient, from flags, environment and spec.

Flags win over `SHARDER_*` variables, these over the fleet document, and that over the defaults.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

from contracts.queue import Queue
from contracts.settings import Settings
from contracts.spec import Fleet
from contracts.stage import Stage
from contracts.store import open_store, probe
from sharder.flight import EMBEDDED, FLEET, Rules


@dataclass(frozen=True)
class Place:
    """The surroundings of a run. `pause(seconds)` may return early, when something changed."""

    stage: Stage
    queue: Queue
    rules: Rules
    pause: Callable[[float], None]
    kind: Literal["embedded", "fleet"]


def settle(settings: Settings, fleet: Fleet) -> Settings:
    """Settings with what they leave open taken from the fleet document."""
    return replace(
        settings, stage=settings.stage or fleet.stage, broker=settings.broker or fleet.broker
    )


def embedded_workers(settings: Settings) -> int:
    """Worker processes of a run without a broker."""
    from sharder.pool import cores

    return settings.workers or cores()


def open_stage(settings: Settings) -> Stage:
    """Raises InputError for a URL that names no store."""
    return Stage(open_store(settings.stage_url))


@contextmanager
def opened(
    settings: Settings,
    environment: Mapping[str, str],
    log: Callable[[str], None],
    *,
    attempts: int = 3,
) -> Iterator[Place]:
    """Open stage and queue and make sure that both can be worked with.

    Raises Unreachable or Denied for a store or broker, StoreUnfit for a store that commits cannot rest on.
    """
    stage = open_stage(settings)
    try:
        probe(stage.store)
        if settings.broker:
            yield from _fleet(stage, settings, attempts)
        else:
            yield from _embedded(stage, settings, environment, log, attempts)
    finally:
        stage.store.close()


def _fleet(stage: Stage, settings: Settings, attempts: int) -> Iterator[Place]:
    from contracts.fleet import CeleryQueue

    queue = CeleryQueue(settings.broker)
    try:
        queue.waiting()  # a broker that does not answer is an error now, and only a delay later
        yield Place(stage, queue, replace(FLEET, attempts=attempts), time.sleep, "fleet")
    finally:
        queue.close()


def _embedded(
    stage: Stage,
    settings: Settings,
    environment: Mapping[str, str],
    log: Callable[[str], None],
    attempts: int,
) -> Iterator[Place]:
    from sharder.pool import Pool

    wanted = settings.log_file or settings.log_console or "SHARDER_LOG_LEVEL" in environment
    children = {
        **environment,
        "SHARDER_STAGE": settings.stage_url,
        "SHARDER_BROKER": "",
        # Facts of every shard are for logs; without one the summary tells them.
        "SHARDER_LOG_LEVEL": settings.log_level if wanted else "warning",
    }
    pool = Pool(settings.workers, children, log)
    try:
        pool.warm()
        yield Place(stage, pool, replace(EMBEDDED, attempts=attempts), pool.wait, "embedded")
    finally:
        pool.close()
