"""Limits that hold for the whole fleet: each question is one script, so that no two answers overlap.

Redis's clock decides, because those of the machines differ. Slots are worked out as in
`worker/limits/bucket.py`, which says what they mean; places are a sorted set by their expiry.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from contracts.fleet.broker import asking, connect
from contracts.fleet.names import (
    AHEAD_S,
    LEAST_FACTOR,
    MARGIN,
    PLACE_EXPIRY_S,
    RECOVERY_S,
    pace_key,
    places_key,
    sharers_key,
)

# A call that waits for us would rather go by its own share than wait long.
_TIMEOUT_S = 1.0

_NOW = """
local t = redis.call('TIME')
local now = tonumber(t[1]) + tonumber(t[2]) / 1e6
"""

_BUCKET = (
    _NOW
    + """
local s = redis.call('HMGET', KEYS[1], 'free', 'held', 'factor', 'slowed')
local free, held = tonumber(s[1] or 0), tonumber(s[2] or 0)
local factor, slowed = tonumber(s[3] or 1), tonumber(s[4] or 0)
local recovery = tonumber(ARGV[1])
local current = math.min(1, factor + math.max(0, now - math.max(slowed, held)) / recovery)
-- Until nothing of it matters: the rate is whole again, and the bucket full.
local function keep(full)
  local last = math.max(free, math.max(held, slowed) + recovery)
  redis.call('HSET', KEYS[1], 'free', string.format('%.6f', free), 'held', string.format('%.6f', held),
             'factor', string.format('%.6f', factor), 'slowed', string.format('%.6f', slowed))
  redis.call('PEXPIRE', KEYS[1], math.ceil((math.max(last, now) + full - now + 1) * 1000))
end
"""
)

# → slots given, seconds to the first (or until one should ask again), seconds between them
_TAKE = (
    _BUCKET
    + """
local rate, burst, wanted = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if rate <= 0 then
  if held > now then return {0, string.format('%.6f', held - now), '0'} end
  return {wanted, '0', '0'}
end
local every = 1 / (rate * tonumber(ARGV[5]) * current)
local first = math.max(free, held, now - (burst - 1) * every)
local ahead = tonumber(ARGV[6])
local room = now + ahead - first
if room < 0 then return {0, string.format('%.6f', ahead / 2 - room), '0'} end
local granted = math.min(wanted, math.floor(room / every) + 1)
free = first + granted * every
keep(burst * every)
return {granted, string.format('%.6f', first - now), string.format('%.6f', every)}
"""
)

_HOLD = (
    _BUCKET
    + """
held = math.max(held, now + tonumber(ARGV[2]))
if now - slowed >= 1 then
  factor, slowed = math.max(tonumber(ARGV[3]), current / 2), now
end
keep(0)
"""
)

# → how many processes asked lately, this one included
_SHARERS = (
    _NOW
    + """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]))
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])
"""
)

# → 1 if the holder has the place
_PLACE = (
    _NOW
    + """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""
)

# A holder that Redis has forgotten still reads: it is written again, whatever the limit.
_KEEP = (
    _NOW
    + """
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], now + tonumber(ARGV[1]), ARGV[i]) end
redis.call('EXPIRE', KEYS[1], ARGV[1])
"""
)


class RedisLimits:
    """Safe to call from many threads. Every method is one round trip, and raises Unreachable or Denied."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._redis = connect(url, timeout_s=_TIMEOUT_S)
        make: Any = self._redis.register_script
        self._take, self._hold, self._sharers = make(_TAKE), make(_HOLD), make(_SHARERS)
        self._place, self._keep = make(_PLACE), make(_KEEP)

    def take(
        self, names: tuple[str, str, str], per_s: float, burst: float, wanted: int
    ) -> tuple[int, float, float]:
        """(slots, seconds to the first or until one should ask again, seconds between them).

        `names`: source, client, service.
        """
        given = [RECOVERY_S, per_s, burst, wanted, MARGIN, AHEAD_S]
        with asking(self._url):
            granted, first, every = self._take([pace_key(*names)], given)
        return int(granted), float(first), float(every)

    def hold(self, names: tuple[str, str, str], seconds: float) -> None:
        """No calls for so long, by anybody."""
        with asking(self._url):
            self._hold([pace_key(*names)], [RECOVERY_S, seconds, LEAST_FACTOR])

    def sharers(self, process: str) -> int:
        """Processes that called this within the last minute; `process` is one of them from now on."""
        with asking(self._url):
            return int(self._sharers([sharers_key()], [process, 60]))

    def place(self, source: str, holder: str, limit: int) -> bool:
        """Whether `holder` got one of the `limit` places; it is free again if nobody keeps it."""
        with asking(self._url):
            return bool(self._place([places_key(source)], [holder, limit, PLACE_EXPIRY_S]))

    def keep(self, source: str, holders: Sequence[str]) -> None:
        with asking(self._url):
            self._keep([places_key(source)], [PLACE_EXPIRY_S, *holders])

    def give_back(self, source: str, holder: str) -> None:
        with asking(self._url):
            self._redis.zrem(places_key(source), holder)

    def close(self) -> None:
        self._redis.close()
