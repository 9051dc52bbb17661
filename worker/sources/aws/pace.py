"""How fast to call AWS: what each service is known to bear, and what its answers ask for.

Buckets are AWS's own: one per account, region and service. The simulator behind a custom endpoint has no such
limits: there is no rate unless one was asked for.
"""

from __future__ import annotations

from worker.sources.base import Pace

_DEFAULT = 20.0
_BURST_S = 5.0  # EC2's describe buckets hold 100 calls at 20 calls/s
_PAUSE_S = 1.0  # after an answer that says no more than "throttled"
_LONGEST_PAUSE_S = 900.0  # a header that asks for more is taken for a mistake
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


class AwsPace:
    """Waits before calls. `rate` is the user's own for every service; 0 leaves it to what is known."""

    def __init__(self, pace: Pace, rate: float, *, known: bool) -> None:
        self._pace = pace
        self._rate = rate
        self._known = known

    def wait(self, account: str, region: str, service: str, op: str) -> None:
        """Return when the call may be made. Raises Cancelled if the attempt should stop."""
        per_s, burst, name = self._limit(service, op)
        self._pace.take(f"{account}:{region}", name, per_s, burst)

    def throttled(
        self, account: str, region: str, service: str, op: str, after_s: float = 0.0
    ) -> None:
        """AWS asked to slow down; `after_s`: and said for how long."""
        _, _, name = self._limit(service, op)
        seconds = min(_LONGEST_PAUSE_S, max(_PAUSE_S, after_s))
        self._pace.hold(f"{account}:{region}", name, seconds)

    def _limit(self, service: str, op: str) -> tuple[float, float, str]:
        """(calls per second, calls at once, the name of the bucket)."""
        if self._rate > 0:
            return self._rate, 0.0, service
        if not self._known:
            return 0.0, 0.0, service
        own = f"{service}.{op}"
        rate, name = (
            (_KNOWN[own], own) if own in _KNOWN else (_KNOWN.get(service, _DEFAULT), service)
        )
        return rate, rate * _BURST_S, name
