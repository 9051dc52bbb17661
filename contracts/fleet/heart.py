"""The worker's side: `SET sharder:beat:<run>:<job> <attempt>:<counter> EX 30`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from contracts.fleet.broker import connect, masked
from contracts.fleet.names import BEAT_EXPIRY_S, beat_key
from contracts.observe import metrics

log = logging.getLogger(__name__)


class RedisHeart:
    """A broker that is away does not fail an attempt: commits are the truth, beats are a hint."""

    def __init__(self, url: str) -> None:
        self._place = masked(url)
        self._redis = connect(url)
        self._counts: dict[tuple[str, str], tuple[str, int]] = {}

    @contextmanager
    def _forgiven(self) -> Iterator[None]:
        import redis

        try:
            yield
        except (redis.RedisError, OSError) as error:
            metrics.count("sharder_heartbeats_lost_total")
            log.warning("event=beat_lost broker=%s error=%s", self._place, error)

    def beat(self, run: str, job: str, attempt: str) -> None:
        _, count = self._counts.get((run, job), ("", 0))
        self._counts[run, job] = (attempt, count + 1)
        with self._forgiven():
            self._redis.set(beat_key(run, job), f"{attempt}:{count + 1}", ex=BEAT_EXPIRY_S)

    def fresh(self, run: str, job: str) -> bool:
        """False if the broker is away: to work twice is allowed, not to work is not."""
        with self._forgiven():
            value = self._redis.get(beat_key(run, job))
            return bool(value) and not self._is_ours(run, job, str(value))
        return False

    def _is_ours(self, run: str, job: str, value: str) -> bool:
        attempt, count = self._counts.get((run, job), ("", 0))
        return bool(count) and value.rpartition(":")[0] == attempt

    def stop(self, run: str, job: str) -> None:
        """Take our beat away; that of another attempt stays."""
        with self._forgiven():
            value = self._redis.get(beat_key(run, job))
            if value and self._is_ours(run, job, str(value)):
                self._redis.delete(beat_key(run, job))
        self._counts.pop((run, job), None)

    def forget(self, run: str, job: str) -> None:
        """Take any beat away: the parent of a process that died does so, and knows no attempt."""
        with self._forgiven():
            self._redis.delete(beat_key(run, job))

    def close(self) -> None:
        self._redis.close()
