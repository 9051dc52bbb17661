"""Handing jobs to the loader and waiting for their answers on the stage: prepare, migrate.

Messages may be lost and loaders may die, so a job is handed out again by the same rules as any other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from contracts.queue import Message, Queue
from contracts.stage import Stage
from sharder.flight import Flights, Rules

A = TypeVar("A")

IMPATIENT_S = 10.0  # after so long the user is told what we are waiting for


@dataclass(frozen=True)
class Asking:
    """Where jobs are handed out, and how long we wait; `patience_s` 0: as long as it takes."""

    stage: Stage
    queue: Queue
    rules: Rules
    say: Callable[[str], None]
    pause: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    patience_s: float = 0.0


def ask(
    at: Asking,
    messages: Sequence[Message],
    answer: Callable[[Message], A | None],
    lost: Callable[[Message, str], A],
) -> dict[str, A]:
    """Destination → answer. `answer` looks on the stage (None: not yet); `lost` is told why a job has
    had enough. Both may raise what ends the waiting.
    """
    jobs = {m.job: m for m in messages}
    flights = Flights(at.rules)
    found: dict[str, A] = {}
    began, told = at.clock(), False
    at.queue.put(tuple(jobs.values()))
    flights.sent(jobs, began)
    while len(flights):
        beats, waiting = at.queue.beats(messages[0].run, flights.jobs()), at.queue.waiting()
        for job in flights.jobs():
            if (said := answer(jobs[job])) is not None:
                found[jobs[job].destination] = said
                flights.done(job)
        flights.look(at.clock(), beats, waiting)
        run = messages[0].run
        counts = {job: at.stage.attempts(run, job) for job in flights.doubtful()}
        again, given_up = flights.judge(at.clock(), counts)
        at.queue.put([jobs[job] for job in again])
        gone = [(one.job, one.why) for one in given_up]
        waited_s = at.clock() - began
        if at.patience_s and waited_s >= at.patience_s:
            gone = [(job, f"no loader answered in {at.patience_s:.0f} s") for job in flights.jobs()]
        for job, why in gone:
            found[jobs[job].destination] = lost(jobs[job], why)
            flights.done(job)
        if not told and waited_s > IMPATIENT_S and len(flights):
            names = ", ".join(jobs[job].destination for job in flights.jobs())
            at.say(f"waiting for a loader to connect to {names}")
            told = True
        if len(flights):
            at.pause(0.05 if waited_s < IMPATIENT_S else 1.0)
    return found
