"""When the next calls may be made: a bucket of four numbers, worked out without a clock of its own.

A bucket hands out moments ("slots"), the rate apart; up to `burst` of them at once after a rest. Slots
are given for the near future only, so that a pause that somebody asks for stops nearly everyone.
`contracts/fleet/limits.py` does the same sums inside Redis; one suite of tests holds both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from contracts.fleet.names import AHEAD_S, LEAST_FACTOR, MARGIN, RECOVERY_S


@dataclass(frozen=True)
class Rate:
    """Calls per second; 0 means no limit but the pauses that the other side asks for.

    Within any w seconds at most `burst` + 0.95 · per_s · w slots are given.
    """

    per_s: float
    burst: float = 1.0


@dataclass(frozen=True)
class Bucket:
    """Times are seconds of the clock that the caller has."""

    free_at: float = 0.0  # the next slot that nobody has
    held_until: float = 0.0  # nothing before: the other side said so
    factor: float = 1.0  # of the rate, when it was last slowed down
    slowed_at: float = 0.0


@dataclass(frozen=True)
class Slots:
    """`granted` calls, the first in `first_s` seconds, the others `every_s` apart, none in the past.

    Without any, `first_s` is when to ask again.
    """

    granted: int
    first_s: float
    every_s: float = 0.0

    def delay_s(self, n: int) -> float:
        return max(0.0, self.first_s + n * self.every_s)


def take(bucket: Bucket, rate: Rate, now: float, wanted: int) -> tuple[Bucket, Slots]:
    """At most `wanted` slots of the next moments."""
    held_s = bucket.held_until - now
    if rate.per_s <= 0:
        return bucket, Slots(0, held_s) if held_s > 0 else Slots(wanted, 0.0)
    every = 1.0 / (rate.per_s * MARGIN * factor(bucket, now))
    first = max(bucket.free_at, bucket.held_until, now - (rate.burst - 1.0) * every)
    room_s = now + AHEAD_S - first
    granted = min(wanted, int(room_s / every) + 1) if room_s >= 0 else 0
    if not granted:
        # When half of what is ahead is free again: several slots for one question, and none is lost.
        return bucket, Slots(0, AHEAD_S / 2 - room_s)
    return replace(bucket, free_at=first + granted * every), Slots(granted, first - now, every)


def hold(bucket: Bucket, now: float, seconds: float) -> Bucket:
    """Nothing for so long, then half as fast; a minute later all is as before.

    Many callers meet one throttled moment: the rate is halved once a second at most.
    """
    held = replace(bucket, held_until=max(bucket.held_until, now + seconds))
    if now - bucket.slowed_at < 1.0 and bucket.slowed_at > 0:
        return held
    slower = max(LEAST_FACTOR, factor(bucket, now) / 2)
    return replace(held, factor=slower, slowed_at=now)


def factor(bucket: Bucket, now: float) -> float:
    """Recovery begins when the pause is over."""
    since = now - max(bucket.slowed_at, bucket.held_until)
    return min(1.0, bucket.factor + max(0.0, since) / RECOVERY_S)
