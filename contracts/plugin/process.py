"""A program that runs: how it is asked, watched, ended, and how its start is waited for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from contracts import memory
from contracts.errors import SharderError
from contracts.plugin import home
from contracts.plugin.drain import Drain
from contracts.plugin.ended import Died, Late, NotStarted, post_mortem
from contracts.plugin.kept import Job, Kept, Refused
from contracts.plugin.listening import answers
from contracts.plugin.plugin import Plugin, Surroundings
from contracts.plugin.profiles import Place
from contracts.plugin.tally import Tally

_LAST_WORDS_S = 2.0  # for what a dead program has said, to be read
_LOOK_S = 0.05


class Program:
    """A running plugin. Its methods may be called from any thread; it ends with `running`."""

    def __init__(self, what: str, target: str, host_alias: str = "localhost") -> None:
        self.what = what
        self.target = target  # of gRPC
        self.host_alias = host_alias  # how the program names this machine
        self.log = Tally()

    @property
    def pid(self) -> int:
        """0: no process of ours."""
        return 0

    def death(self, within_s: float = 0.0) -> SharderError | None:  # noqa: ARG002 — of a process
        """None while it lives; else how it ended. `within_s`: wait so long for that.

        A program that somebody else runs is not known to end.
        """
        return None

    def catch_up(self, timeout_s: float = _LAST_WORDS_S) -> None:
        """Have `log` know everything that the program has said so far: after the end of a stream, for example."""

    def stop(self) -> None:
        """End it, and everything that it started. Idempotent."""


class Process(Program):
    """A program that is a process of this machine."""

    def __init__(
        self,
        what: str,
        kept: Kept,
        log: Tally,
        drain: Drain,
        *,
        target: str = "",
        host_alias: str = "localhost",
        limit: int = 0,
    ) -> None:
        super().__init__(what, target, host_alias)
        self.log = log
        self._kept, self._drain, self._limit = kept, drain, limit
        self._kills = memory.oom_kills()
        self._lock = threading.Lock()
        self.answered = False

    @property
    def pid(self) -> int:
        return self._kept.pid

    @property
    def keeper_pid(self) -> int:
        return self._kept.keeper_pid

    def death(self, within_s: float = 0.0) -> SharderError | None:
        end = self._kept.end(within_s)
        if end is None:
            return None
        self._drain.join(_LAST_WORDS_S)
        return post_mortem(
            self.what,
            end,
            self.log.last_lines(),
            answered=self.answered,
            limit=self._limit,
            kills=max(0, memory.oom_kills() - self._kills),
        )

    def catch_up(self, timeout_s: float = _LAST_WORDS_S) -> None:
        self._drain.catch_up(timeout_s)

    def stop(self) -> None:
        with self._lock:
            self._drain.farewell()
            self._kept.stop()
            self._drain.join(_LAST_WORDS_S)


@contextmanager
def private(farewell: tuple[str, ...] = ()) -> Iterator[Path]:
    """A private directory; what dead workers have left is removed first."""
    home.sweep()
    directory = home.make(farewell)
    try:
        yield directory
    finally:
        home.remove(directory)


@contextmanager
def started(
    plugin: Plugin, around: Surroundings, job: Job, target: str = "", host_alias: str = "localhost"
) -> Iterator[Process]:
    """The process of a plugin, ended at the end; it need not listen yet."""
    try:
        kept = Kept(job)
    except Refused as refused:
        raise NotStarted(
            f"{plugin} cannot be executed: {refused}",
            "is it a program for this machine and processor, and executable?",
        ) from refused
    log = Tally()
    out, err = kept.streams
    drain = Drain(plugin.name, {"stdout": out, "stderr": err}, log, around.masked)
    program = Process(
        str(plugin), kept, log, drain, target=target, host_alias=host_alias, limit=job.memory
    )
    try:
        yield program
    finally:
        program.stop()


def await_(program: Process, place: Place, timeout_s: float, cancelled: Callable[[], bool]) -> None:
    """Until somebody listens there; sooner if the program ends. Raises what it ended of, or Late."""
    end_s = time.monotonic() + timeout_s
    while not answers(place):
        if death := program.death(_LOOK_S):
            raise death
        if cancelled():
            raise Died(f"{program.what} was not needed any more while it started")
        if time.monotonic() > end_s:
            last = program.log.last_lines()
            said = f"; it said last:\n{last}" if last else " and said nothing on standard error"
            raise late(program.what, timeout_s, said)
    program.answered = True


def late(what: str, timeout_s: float, said: str) -> Late:
    return Late(
        f"{what} did not listen within {timeout_s:.0f} s{said}",
        "raise `plugins.NAME.start_timeout` in the fleet document; is it a plugin at all, and"
        " `plugins.NAME.runtime` right?",
    )
