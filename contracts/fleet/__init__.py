"""The fleet: Celery on Redis. The only home of celery, kombu and redis, imported when used.

`CeleryQueue` is the watcher's side, `RedisHeart` the worker's, `serve` runs a worker or a loader.
"""

from contracts.fleet.broker import check, masked
from contracts.fleet.census import Broker, Census, Present, examine, look_around
from contracts.fleet.heart import RedisHeart
from contracts.fleet.queue import CeleryQueue
from contracts.fleet.serve import JOBS_PER_CHILD, Handler, serve

__all__ = [
    "JOBS_PER_CHILD",
    "Broker",
    "CeleryQueue",
    "Census",
    "Handler",
    "Present",
    "RedisHeart",
    "check",
    "examine",
    "look_around",
    "masked",
    "serve",
]
