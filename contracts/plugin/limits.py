"""How long we wait for a program that says nothing: neither a message nor a line of its log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, Self, TypeVar

from contracts.errors import SharderError
from contracts.plugin.ended import Silent
from contracts.plugin.tally import Tally

T = TypeVar("T")


class Watched(Protocol):
    """The program, as far as waiting for it goes."""

    @property
    def log(self) -> Tally: ...
    def give_up(self, why: SharderError) -> None:
        """End it now; from here on `death()` is `why`."""


class Patience:
    """Ends a program of which nothing was heard for `idle_s` seconds while somebody waited for it.

    gRPC's own keepalive is of no use here: the SDKs answer a ping every second with GOAWAY, and one every two
    seconds took a minute to notice a frozen process. `cancel` ends the call where no process of ours is behind
    it. A context manager: its thread ends with it.
    """

    def __init__(
        self,
        program: Watched,
        idle_s: float,
        cancel: Callable[[], None] = lambda: None,
        what: str = "the plugin",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._program, self._idle_s, self._cancel, self._what = program, idle_s, cancel, what
        self._clock = clock
        self._waits_s: float | None = (
            None  # since when; None: nobody waits, whoever takes so long is us
        )
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="patience", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def over(self, messages: Iterable[T]) -> Iterator[T]:
        """The same messages; the waiting for each of them counts."""
        source = iter(messages)
        while True:
            self._waits_s = self._clock()
            try:
                message = next(source)
            except StopIteration:
                return
            finally:
                self._waits_s = None
            yield message

    def silent_s(self) -> float:
        """How long nothing was heard while somebody waits."""
        waits_s = self._waits_s
        if waits_s is None:
            return 0.0
        return self._clock() - max(waits_s, self._program.log.last_s)

    def _watch(self) -> None:
        while not self._done.wait(min(1.0, self._idle_s / 4)):
            if self.silent_s() > self._idle_s:
                self._program.give_up(
                    Silent(
                        f"{self._what} has neither sent a message nor logged a line for {self._idle_s:.0f} s",
                        "raise `plugins.NAME.idle_timeout` in the fleet document if it works in silence for"
                        " so long",
                    )
                )
                self._cancel()
                return
