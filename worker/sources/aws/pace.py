"""How fast to call: a token bucket per account, region and service, slower where AWS is known to be.

A bucket that was throttled halves its rate and wins it back over a minute. The simulator behind a
custom endpoint has no such limits: there is no pace unless one was asked for.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

_DEFAULT = 20.0
_BURST_S = 5.0  # EC2's describe buckets hold 100 calls at 20 calls/s
_RECOVERY_S = 60.0
_BUCKETS = 4096  # 300 bytes each; the least recently used starts full again
# Calls per second that AWS is known to bear; a service's own line, or one of its operations.
_KNOWN = {
    "route53": 5.0,
    "organizations": 5.0,
    "iam": 15.0,
    "iam.ListPolicyTags": 35.0,
    "lambda": 15.0,
    "lambda.GetFunction": 100.0,
    "lambda.ListFunctions": 10.0,
    "cloudformation": 10.0,
    "ce": 5.0,
    "logs": 5.0,
    "cloudtrail": 10.0,
    "kms": 50.0,
    "secretsmanager": 40.0,
    "s3": 100.0,
    "dynamodb": 10.0,
}


@dataclass
class _Bucket:
    rate: float  # calls/s when nothing is wrong
    tokens: float
    at: float
    factor: float = 1.0

    def take(self, now: float) -> float:
        """Take one call; the seconds to wait before making it."""
        if self.factor < 1.0:
            self.factor = min(1.0, self.factor + (now - self.at) / _RECOVERY_S)
        rate = self.rate * self.factor
        self.tokens = min(rate * _BURST_S, self.tokens + (now - self.at) * rate)
        self.at = now
        self.tokens -= 1.0
        return max(0.0, -self.tokens / rate)


class Pace:
    """Waits before calls. `rate` is the user's own for every service; 0 leaves it to what is known."""

    def __init__(
        self,
        rate: float,
        *,
        known: bool,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._rate = rate
        self._known = known
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._buckets: OrderedDict[tuple[str, str, str], _Bucket] = OrderedDict()

    def wait(self, account: str, region: str, service: str, op: str) -> None:
        """Return when the call may be made."""
        rate, name = self._limit(service, op)
        if rate <= 0:
            return
        with self._lock:
            pause = self._bucket((account, region, name), rate).take(self._clock())
        if pause > 0:
            self._sleep(pause)

    def throttled(self, account: str, region: str, service: str, op: str) -> None:
        """AWS asked to slow down."""
        rate, name = self._limit(service, op)
        if rate <= 0:
            return
        with self._lock:
            bucket = self._bucket((account, region, name), rate)
            bucket.factor = max(0.05, bucket.factor / 2)
            bucket.tokens = min(bucket.tokens, 0.0)

    def _limit(self, service: str, op: str) -> tuple[float, str]:
        """(calls per second, the name of the bucket)."""
        if self._rate > 0:
            return self._rate, service
        if not self._known:
            return 0.0, service
        own = f"{service}.{op}"
        if own in _KNOWN:
            return _KNOWN[own], own
        return _KNOWN.get(service, _DEFAULT), service

    def _bucket(self, key: tuple[str, str, str], rate: float) -> _Bucket:
        if key not in self._buckets:
            self._buckets[key] = _Bucket(rate, rate * _BURST_S, self._clock())
            if len(self._buckets) > _BUCKETS:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        return self._buckets[key]
