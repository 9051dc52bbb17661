"""The fleet: Celery on Redis. The only home of celery, kombu and redis, imported when used.

`CeleryQueue` is the watcher's side, `RedisHeart` the worker's, `serve` runs a worker or a loader.
"""

from contracts.fleet.broker import check, masked
from contracts.fleet.heart import RedisHeart
from contracts.fleet.queue import CeleryQueue
from contracts.fleet.serve import Handler, serve

__all__ = ["CeleryQueue", "Handler", "RedisHeart", "check", "masked", "serve"]
