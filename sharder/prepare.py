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
from sharder.ask import Asking, ask
from sharder.flight import Rules


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

    def answer(message: Message) -> Cursors | None:
        cursors = stage.cursors(run, message.destination)
        if cursors:
            _check(cursors)
        return cursors

    def lost(message: Message, why: str) -> Cursors:
        raise Unreachable(f"destination '{message.destination}' could not be prepared: {why}")

    messages = [Message("prepare", run, destination=d) for d in destinations]
    return ask(Asking(stage, queue, rules, say, pause, clock), messages, answer, lost)


def _check(cursors: Cursors) -> None:
    if cursors.error:
        message, _, hint = cursors.error.message.partition("\n")
        code = Exit.INPUT if cursors.error.exit_code == Exit.INPUT else Exit.OUTSIDE
        where = f"destination '{cursors.destination}'"
        text = message if cursors.destination in message else f"{where}: {message}"
        raise Unprepared(text, hint.strip(), code)
