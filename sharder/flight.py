"""Jobs in flight: which are alive, which are lost and must be handed out again, which have had enough.

A job is handed out (a message was put), then started (a heartbeat was seen), then done (a commit or
receipt exists). Between these anything may die, so a job is doubted when
- its heartbeat has not changed for a while, by our own clock (clocks of the fleet are never compared), or
- it never had one and the broker's queue was seen empty twice since it was handed out.
A doubted job is judged one look later, when its start markers have been counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

_UNREAD = (
    "no attempt started (programs of an older release leave a newer plan alone: are all upgraded?)"
)
SENDS = 20  # hand-outs without one start marker before a job is given up: nobody can read it


@dataclass(frozen=True)
class Rules:
    """The patience of the watcher. `window`: messages waiting in the broker, at most."""

    window: int = 1000
    silent_s: float = 30.0  # a heartbeat that does not change for so long is dead (a few beats)
    gone_s: float = (
        30.0  # … that disappeared; a broker that restarts loses all of them for a moment
    )
    settle_s: float = 5.0  # between leaving the queue and the start marker nothing shows a job
    attempts: int = 3


# A pipe loses nothing and knows at once when the process at its other end is gone.
EMBEDDED = Rules(window=256, gone_s=0.0, settle_s=0.0)
FLEET = Rules()


@dataclass
class _Flight:
    sent_s: float
    sends: int = 1
    stale: str = ""  # the last heartbeat of an attempt that was given up: no sign of life
    beat: str = ""
    beat_s: float = 0.0
    empties: int = 0
    doubtful: bool = False


@dataclass(frozen=True)
class Lost:
    """A job that will not be handed out again; `why` is a sentence."""

    job: str
    why: str


class Flights:
    """The jobs in flight of one kind. Its size is that of the window, not of the plan."""

    def __init__(self, rules: Rules, most: Callable[[str], int] | None = None) -> None:
        """`most`: how many attempts a job may have; by default as many as the rules say."""
        self._rules = rules
        self._most = most or (lambda _job: rules.attempts)
        self._flights: dict[str, _Flight] = {}
        self.lost = 0  # attempts that had started and died

    def __contains__(self, job: str) -> bool:
        return job in self._flights

    def __len__(self) -> int:
        return len(self._flights)

    def jobs(self) -> Sequence[str]:
        return tuple(self._flights)

    def doubtful(self) -> Sequence[str]:
        """The jobs whose start markers the next `judge` needs."""
        return tuple(job for job, f in self._flights.items() if f.doubtful)

    def waiting(self) -> int:
        """Jobs that were handed out and show no sign of a start."""
        return sum(not f.beat for f in self._flights.values())

    def sent(self, jobs: Iterable[str], now: float) -> None:
        for job in jobs:
            self._flights[job] = _Flight(now)

    def done(self, job: str) -> None:
        """The job ended, by whomever; a job that was never in flight is no error."""
        self._flights.pop(job, None)

    def look(self, now: float, beats: Mapping[str, str], waiting: int) -> None:
        """Take in one observation: the heartbeats, and how many messages wait in the broker."""
        for job, flight in self._flights.items():
            beat = beats.get(job, "")
            beat = "" if beat == flight.stale else beat
            if beat and beat != flight.beat:
                flight.beat, flight.beat_s = beat, now
                flight.doubtful = False
            elif flight.beat:
                patience = self._rules.silent_s if beat else self._rules.gone_s
                flight.doubtful = now - flight.beat_s >= patience
            elif waiting == 0 and now - flight.sent_s >= self._rules.settle_s:
                flight.empties += 1
                flight.doubtful = flight.empties >= 2

    def excuse(self, seconds: float) -> None:
        """We could not look for so long, nor may they have been able to beat: it is nobody's silence."""
        for flight in self._flights.values():
            flight.beat_s += seconds

    def judge(self, now: float, attempts: Mapping[str, int]) -> tuple[list[str], list[Lost]]:
        """The doubtful jobs whose start markers were counted: those to hand out again, and the lost.

        The caller puts the first back on the queue and commits a failure for the second.
        """
        again: list[str] = []
        lost: list[Lost] = []
        for job in self.doubtful():
            if job not in attempts:
                continue
            flight, started = self._flights[job], attempts[job]
            self.lost += bool(flight.beat)
            if started >= self._most(job):
                lost.append(Lost(job, f"{started} attempts started and none of them ended"))
            elif not started and flight.sends >= SENDS:
                lost.append(Lost(job, f"handed out {flight.sends} times, and {_UNREAD}"))
            else:
                again.append(job)
                self._flights[job] = _Flight(now, flight.sends + 1, flight.beat or flight.stale)
        return again, lost
