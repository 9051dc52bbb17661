"""Limits of the fleet, as one process meets them: a few slots fetched at once, and a share alone if Redis is away."""

from __future__ import annotations

import logging
import math
import os
import socket
import threading
import time
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar
from uuid import uuid4

from contracts.errors import SharderError
from contracts.fleet.limits import RedisLimits
from contracts.fleet.names import BATCH_S
from contracts.observe.log import event
from worker.limits.bucket import Rate, Slots
from worker.limits.machine import LocalPermits, LocalPlaces
from worker.limits.pace import Answer, Names

T = TypeVar("T")

_AGAIN_S = 5.0  # how long a Redis that did not answer is left alone
_COUNT_EVERY_S = 20.0
_UNSEEN = 10  # processes that share a limit, as long as nobody has counted them
_LEAST_PER_S = 0.1  # whatever the share: a call in ten seconds
_LATE_S = 0.02  # a slot that nobody used until then is lost
_KEPT = 4096  # names whose slots are remembered


class Link:
    """Whether Redis answers, and how many processes share it. Says once that it went, and once that it is back."""

    def __init__(self, redis: RedisLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self.redis = redis
        self.clock = clock
        self.sharers = _UNSEEN
        self._process = f"{socket.gethostname()}:{os.getpid()}"
        self._lock = threading.Lock()
        self._ask_at = -math.inf
        self._count_at = -math.inf
        self._away = False

    def ask(self, question: Callable[[RedisLimits], T]) -> T | None:
        """The answer; None if Redis is away, or was a moment ago."""
        if self.clock() < self._ask_at:
            return None
        try:
            self._count()
            answer = question(self.redis)
        except SharderError as error:
            self._lost(error)
            return None
        self._found()
        return answer

    def _count(self) -> None:
        now = self.clock()
        with self._lock:
            due = now >= self._count_at
            if due:
                self._count_at = now + _COUNT_EVERY_S
        if due:
            self.sharers = self.redis.sharers(self._process)

    def _lost(self, error: SharderError) -> None:
        with self._lock:
            first, self._away = not self._away, True
            self._ask_at = self.clock() + _AGAIN_S
            self._count_at = -math.inf
        if first:
            event("limits_local", logging.WARNING, share=f"1/{self.sharers}", error=error.message)

    def _found(self) -> None:
        if self._away:
            with self._lock:
                back, self._away = self._away, False
            if back:
                event("limits_shared", processes=self.sharers)


@dataclass
class _Reserve:
    """Slots that this process has fetched for one bucket."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    slots: deque[float] = field(default_factory=deque)
    waiting: int = 0
    fetched: int = 0  # by the last question
    until: float = (
        -math.inf
    )  # no question before this moment; without a rate: no slot needed either
    free: bool = False

    def next(self, now: float) -> float | None:
        """A slot that is not over yet."""
        while self.slots:
            if (slot := self.slots.popleft()) >= now - _LATE_S:
                return slot
        return None

    def take_in(self, slots: Slots, now: float) -> None:
        self.fetched = slots.granted
        self.slots.extend(now + slots.delay_s(n) for n in range(slots.granted))
        self.until = -math.inf if slots.granted else now + slots.first_s


class FleetPermits:
    """Calls counted by Redis; while it is away, this process's share of each rate by itself."""

    def __init__(self, link: Link, local: LocalPermits) -> None:
        self._link = link
        self._local = local
        self._lock = threading.Lock()
        self._reserves: OrderedDict[Names, _Reserve] = OrderedDict()

    def ask(self, names: Names, rate: Rate) -> Answer:
        reserve = self._reserve(names)
        with self._lock:
            reserve.waiting += 1
        # One thread asks for all that wait here.
        with reserve.lock:
            with self._lock:
                reserve.waiting -= 1
            return self._fetched(names, rate, reserve) or self._alone(names, rate)

    def hold(self, names: Names, seconds: float) -> None:
        self._local.hold(names, seconds)
        reserve = self._reserve(names)
        with reserve.lock:
            reserve.slots.clear()
            until = self._link.clock() + seconds
            reserve.until = until if reserve.free else max(reserve.until, until)
            reserve.free = False
        self._link.ask(lambda redis: redis.hold(names, seconds))

    def _fetched(self, names: Names, rate: Rate, reserve: _Reserve) -> Answer | None:
        now = self._link.clock()
        if now < reserve.until:
            return Answer(reserve.free, 0.0 if reserve.free else reserve.until - now)
        if (slot := reserve.next(now)) is not None:
            return Answer(granted=True, wait_s=max(0.0, slot - now))
        wanted = self._wanted(rate, reserve)
        reply = self._link.ask(lambda redis: redis.take(names, rate.per_s, rate.burst, wanted))
        if reply is None:
            return None
        # The reply is older than now by half a round trip: slots come late by that, never early.
        slots, now = Slots(*reply), self._link.clock()
        reserve.free = rate.per_s <= 0 and slots.granted > 0
        if reserve.free:
            reserve.until = now + BATCH_S
            return Answer(granted=True, wait_s=0.0)
        reserve.take_in(slots, now)
        if not reserve.slots:
            return Answer(granted=False, wait_s=slots.first_s)
        return Answer(granted=True, wait_s=max(0.0, reserve.slots.popleft() - now))

    def _wanted(self, rate: Rate, reserve: _Reserve) -> int:
        """As many as wait here, or twice the last fetch, which was used up; a tenth of a second's at most."""
        return max(1, min(max(1 + reserve.waiting, 2 * reserve.fetched), int(rate.per_s * BATCH_S)))

    def _alone(self, names: Names, rate: Rate) -> Answer:
        share = self._link.sharers
        per_s = max(rate.per_s / share, _LEAST_PER_S) if rate.per_s > 0 else 0.0
        return self._local.ask(names, Rate(per_s, max(1.0, rate.burst / share)))

    def _reserve(self, names: Names) -> _Reserve:
        with self._lock:
            if names not in self._reserves:
                self._reserves[names] = _Reserve()
                if len(self._reserves) > _KEPT:
                    self._reserves.popitem(last=False)
            self._reserves.move_to_end(names)
            return self._reserves[names]


class FleetPlaces:
    """Places counted by Redis; while it is away, this process's share, at least one."""

    def __init__(self, link: Link, local: LocalPlaces) -> None:
        self._link = link
        self._local = local
        self._lock = threading.Lock()
        self._mine: defaultdict[str, set[str]] = defaultdict(set)

    def take(self, source: str, limit: int) -> str | None:
        holder = uuid4().hex
        got = self._link.ask(lambda redis: redis.place(source, holder, limit))
        if got is None:
            # What it holds of the fleet's counts as its share: a loss of Redis gives nobody more.
            share = max(1, limit // self._link.sharers)
            with self._lock:
                room = share - len(self._mine[source])
            return self._local.take(source, room) if room > 0 else None
        if not got:
            return None
        with self._lock:
            self._mine[source].add(holder)
        return holder

    def give_back(self, source: str, place: str) -> None:
        with self._lock:
            shared = place in self._mine[source]
            self._mine[source].discard(place)
        if shared:
            # Redis that is away forgets it by itself.
            self._link.ask(lambda redis: redis.give_back(source, place))
        else:
            self._local.give_back(source, place)

    def keep(self) -> None:
        with self._lock:
            held = {source: sorted(places) for source, places in self._mine.items() if places}
        for source, places in held.items():
            self._link.ask(partial(RedisLimits.keep, source=source, holders=places))
