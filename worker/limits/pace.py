"""Waiting for a call: what a source sees of the rates, whoever counts the calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from worker.limits.bucket import Rate
from worker.sources.base import Cancelled

# How long a wait may go on without looking whether the attempt should stop.
LOOK_S = 0.5
# A rate that a user writes is a promise for every second; so little bunching still keeps it.
_BUNCHED = 0.03

Names = tuple[str, str, str]  # source, client, service


@dataclass(frozen=True)
class Answer:
    """A call may be made in `wait_s` seconds; not granted: ask again then."""

    granted: bool
    wait_s: float


class Permits(Protocol):
    """Who counts calls. Safe to call from many threads."""

    def ask(self, names: Names, rate: Rate) -> Answer:
        """One call."""

    def hold(self, names: Names, seconds: float) -> None:
        """The other side asked for a pause: nothing for so long, then half as fast for a while."""


class Paced:
    """`worker.sources.base.Pace` of one source."""

    def __init__(
        self,
        permits: Permits,
        source: str,
        *,
        sleep: Callable[[float], None],
        cancelled: Callable[[], bool],
    ) -> None:
        self._permits = permits
        self._source = source
        self._sleep = sleep
        self._cancelled = cancelled

    def take(self, client: str, service: str, per_s: float, burst: float = 0.0) -> None:
        rate = Rate(per_s, burst or max(1.0, _BUNCHED * per_s))
        while True:
            answer = self._permits.ask((self._source, client, service), rate)
            pause(answer.wait_s, self._sleep, self._cancelled)
            if answer.granted:
                return

    def hold(self, client: str, service: str, seconds: float) -> None:
        self._permits.hold((self._source, client, service), seconds)


def pause(seconds: float, sleep: Callable[[float], None], cancelled: Callable[[], bool]) -> None:
    """Sleep in pieces. Raises Cancelled at the first look that says so."""
    while True:
        if cancelled():
            raise Cancelled
        if seconds <= 0:
            return
        sleep(min(seconds, LOOK_S))
        seconds -= LOOK_S
