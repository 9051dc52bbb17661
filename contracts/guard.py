"""The hard limits of one attempt: how long, and how much memory its process may have.

Whoever beats for an attempt looks here in between. An attempt that is over a limit and does not end by
itself is ended with its process: the reason is written into its start marker first, so that the failure
which the watcher commits after the last attempt tells it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from contracts import memory
from contracts.errors import Permanent, SharderError

LOOK_S = 0.5  # between two looks: memory may grow by some hundred megabytes in one
GRACE_S = (
    60.0  # beyond its own limit, in which an attempt may still end by itself, with what it has
)
SOFT = 0.8  # of the memory cap: from here on buffers are given back
GAVE_UP = 75  # exit code of a process that ended itself
FAREWELL_S = 10.0  # for writing the reason down, on a stage that perhaps does not answer
FRAMES = 4


class TooLong(Permanent):
    """The attempt was still running long after its time limit."""

    reason = "timeout"


class TooBig(Permanent):
    """The process of the attempt has more memory than it may."""

    reason = "memory"


@dataclass(frozen=True)
class Caps:
    """0: no limit. `seconds` is the hard limit, grace included."""

    seconds: float = 0.0
    memory_bytes: int = 0


class Guard:
    """Looks at the process for the attempt that runs in the thread which makes the guard."""

    def __init__(
        self,
        caps: Caps,
        *,
        clock: Callable[[], float] = time.monotonic,
        resident: Callable[[], int] = memory.resident_bytes,
    ) -> None:
        self._caps, self._clock, self._resident = caps, clock, resident
        self._thread = threading.get_ident()
        self._start_s: float | None = None
        self._pressed = threading.Event()

    @property
    def memory_bytes(self) -> int:
        """What the process may have; 0: no limit."""
        return self._caps.memory_bytes

    @property
    def watches(self) -> bool:
        return bool(self._caps.seconds or self._caps.memory_bytes)

    def begin(self) -> None:
        """The time of the attempt runs from now on: what it waited for before is not its work."""
        self._start_s = self._clock()

    def look(self) -> SharderError | None:
        """What the attempt must be ended for, now."""
        caps = self._caps
        used = self._resident() if caps.memory_bytes else 0
        if caps.memory_bytes and used > caps.memory_bytes:
            return TooBig(
                f"the process had {_mib(used)} of memory and may have {_mib(caps.memory_bytes)}",
                "raise SHARDER_WORKER_MEMORY (or the container's limit), or make the shards smaller: "
                "shard_seconds, max_clients_in_flight",
            )
        if caps.memory_bytes and used > SOFT * caps.memory_bytes:
            self._pressed.set()
        took_s = 0.0 if self._start_s is None else self._clock() - self._start_s
        if caps.seconds and took_s > caps.seconds:
            return TooLong(
                f"still running after {took_s:.0f} s, at {stack(self._thread)}",
                "raise `timeout` of the source or `shard_timeout` in the fleet document if it needs that long",
            )
        return None

    def pressed(self) -> bool:
        """Whether memory has run short since the last time that this was asked."""
        found = self._pressed.is_set()
        self._pressed.clear()
        return found


def end(say_why: Callable[[], None], exit_: Callable[[int], object] = os._exit) -> None:
    """End the process, even if the reason cannot be written down."""
    farewell = threading.Thread(target=say_why, name="farewell", daemon=True)
    farewell.start()
    farewell.join(FAREWELL_S)
    exit_(GAVE_UP)


def stack(thread: int) -> str:
    """The innermost frames of a thread, the innermost first: names of files and functions, no values."""
    frame = sys._current_frames().get(thread)  # noqa: SLF001 — the only way to another thread's frames
    if frame is None:
        return "a place that is not known"
    found = traceback.extract_stack(frame, limit=None)[-FRAMES:]
    return " < ".join(
        f"{os.path.basename(f.filename)}:{f.lineno} {f.name}"  # noqa: PTH119 — a text, no file is opened
        for f in reversed(found)
    )


def _mib(n: int) -> str:
    return f"{n / (1 << 20):,.0f} MiB"
