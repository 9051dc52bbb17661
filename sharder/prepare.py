"""The step before planning: the loader connects to every destination and says where its cursors are.

A destination that cannot be reached, or whose spec is wrong, ends the run here, before anything has
been extracted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from contracts import layout
from contracts.cursors import Cursors
from contracts.errors import Exit, Permanent, Unreachable
from contracts.queue import Message, Queue
from contracts.stage import Stage
from sharder.flight import Flights, Rules

IMPATIENT_S = 10.0  # after so long the user is told what we are waiting for


class Unprepared(Permanent):
    """The loader could not prepare a destination; the exit code is the one it found."""

    def __init__(self, message: str, hint: str = "", exit_code: Exit = Exit.OUTSIDE) -> None:
        super().__init__(message, hint)
        self.args = (message, hint, exit_code)
        self.exit_code = exit_code


def prepare(
    stage: Stage,
    queue: Queue,
    run: str,
    destinations: Sequence[str],
    rules: Rules,
    say: Callable[[str], None],
    *,
    pause: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Mapping[str, Cursors]:
    """Destination → what its loader found, for this run and now: earlier answers are forgotten.

    Raises Unprepared with the loader's own words, Unreachable if no loader lives long enough.
    """
    stage.store.delete([layout.cursors(run, d) for d in destinations])
    messages = {m.job: m for m in (Message("prepare", run, destination=d) for d in destinations)}
    flights = Flights(rules)
    found: dict[str, Cursors] = {}
    began, told = clock(), False
    queue.put(tuple(messages.values()))
    flights.sent(messages, began)
    while len(found) < len(messages):
        beats, waiting = queue.beats(run, flights.jobs()), queue.waiting()
        for job in flights.jobs():
            if cursors := stage.cursors(run, messages[job].destination):
                _check(cursors)
                found[cursors.destination] = cursors
                flights.done(job)
        flights.look(clock(), beats, waiting)
        again, lost = flights.judge(
            clock(), {j: stage.attempts(run, j) for j in flights.doubtful()}
        )
        for one in lost:
            name = messages[one.job].destination
            raise Unreachable(f"destination '{name}' could not be prepared: {one.why}")
        queue.put([messages[job] for job in again])
        if not told and clock() - began > IMPATIENT_S and len(flights):
            names = ", ".join(messages[j].destination for j in flights.jobs())
            say(f"waiting for a loader to connect to {names}")
            told = True
        if len(flights):
            pause(0.05 if clock() - began < IMPATIENT_S else 1.0)
    return found


def _check(cursors: Cursors) -> None:
    if cursors.error:
        message, _, hint = cursors.error.message.partition("\n")
        code = Exit.INPUT if cursors.error.exit_code == Exit.INPUT else Exit.OUTSIDE
        where = f"destination '{cursors.destination}'"
        text = message if cursors.destination in message else f"{where}: {message}"
        raise Unprepared(text, hint.strip(), code)
