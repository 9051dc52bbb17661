"""Processes of the model: real code in threads, of which one runs at a time, and only when it is told to.

Before every operation that others can see (on the stage, the queue, a warehouse) an actor stands still
until the machine lets it go on. There it can be killed, suspended, or met by a fault; what it does between
two such points concerns nobody, so these are all the moments that matter.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Semaphore, Thread, current_thread
from typing import Literal

# Unreachable before the operation, after it was carried out, or a conditional write whose own retry
# met what the first try had written.
Fault = Literal["", "before", "after", "lied"]
Kind = Literal["", "look", "put", "create", "delete", "copy", "publish"]  # of an operation

ENDLESS = 2_000  # operations: a job of the model has a tenth of them


class Killed(BaseException):
    """The process is gone: whatever its `finally` clauses ask for does not happen any more."""


class Actor:
    """One process. `work` runs in a thread of its own, and stands still at each `point`."""

    def __init__(self, name: str, work: Callable[[Actor], object]) -> None:
        self.name, self._work = name, work
        self.done = self.suspended = self.paused = False
        self.error: BaseException | None = None
        self.beating: tuple[str, str, str] | None = None  # run, job, attempt
        self.before: Kind = ""  # what it will do when it goes on
        self._dead = False
        self._fault: Fault = ""
        self._go, self._stands = Semaphore(0), Semaphore(0)
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return self.name

    def _run(self) -> None:
        try:
            self._go.acquire()
            if not self._dead:
                self._work(self)
        except Killed:
            self._dead = True
        except BaseException as error:  # told by `advance`, in the machine's own thread
            self.error = error
        finally:
            self.done = True
            self._stands.release()

    @property
    def dead(self) -> bool:
        return self._dead

    def point(self, kind: Kind = "look") -> Fault:
        """Stand still until told to go on; the fault to be met. Helper threads of the process pass."""
        if self._dead:
            raise Killed
        if current_thread() is not self._thread:
            return ""
        self.before = kind
        self._stands.release()
        self._go.acquire()
        if self._dead:
            raise Killed
        fault, self._fault = self._fault, ""
        return fault

    def pause(self) -> None:
        """A point at which nothing happens: the watcher waits."""
        self.paused = True
        self.point()
        self.paused = False

    def advance(self, to: int | Kind = ENDLESS, fault: Fault = "") -> None:
        """Let it make so many operations, of which the last meets the fault; or go as far as its next
        operation of a kind, where it stands, or which it makes if there is a fault to meet.
        """
        for n in range(ENDLESS):
            if self.done or n == to or (self.before == to and not fault):
                return
            arrived = n + 1 == to or self.before == to
            self._fault = fault if arrived else ""
            self._go.release()
            self._stands.acquire()
            if self.error is not None:
                raise self.error
            if arrived or self.paused:
                return

    def kill(self) -> None:
        """SIGKILL: it makes no further operation."""
        if not self.done:
            self._dead = True
            self._go.release()
            self._thread.join()
