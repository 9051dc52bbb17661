"""How a blocked call is given up: a thread looks after it and cancels it.

A read of a plugin waits inside gRPC, where no code of ours runs. So beside each call stands a thread
that wakes twice a second while the call waits, and asks whether the wait still makes sense: has the
program ended, has it been silent for too long. If not, it cancels the call; gRPC then wakes the reader
at once (measured: within 0.2 s), which raises what the thread has found instead of "cancelled". Signals
wake the reader by themselves. gRPC's keepalive is no substitute: plugins answer pings of a second with
GOAWAY, and a frozen process was noticed after a minute.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from contracts.errors import SharderError
from contracts.plugin.errors import Hung

EVERY_S = 0.5

Question = Callable[[], SharderError | None]


class Cancellable(Protocol):
    def cancel(self) -> object: ...


class Watch:
    """Looks after one call while the block lasts. `waiting_since` is the reader's: 0.0 while it does not wait.

    A reader that is busy with what it got is not waiting: then the plugin's silence is our doing.
    """

    def __init__(self, call: Cancellable, questions: tuple[Question, ...]) -> None:
        self.waiting_since = 0.0
        self.found: BaseException | None = None
        self._call = call
        self._questions = questions
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="plugin watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    @property
    def waited_s(self) -> float:
        since = self.waiting_since
        return time.monotonic() - since if since else 0.0

    def _look(self) -> None:
        while not self._over.wait(EVERY_S):
            if self.waited_s < EVERY_S:
                continue
            try:
                self.found = next(filter(None, (ask() for ask in self._questions)), None)
            except Exception as error:  # noqa: BLE001 - the reader raises it
                self.found = error
            if self.found is not None:
                self._call.cancel()
                return


def silence(
    quiet_s: Callable[[], float], last_said: Callable[[], float], after_s: float, what: str
) -> Question:
    """For `Client.idle`: an error once the plugin has sent nothing and logged nothing for after_s.

    quiet_s: `Client.quiet_s`; last_said: `time.monotonic()` of the last line that the plugin logged.
    """

    def ask() -> SharderError | None:
        quiet = min(quiet_s(), time.monotonic() - last_said())
        if quiet < after_s:
            return None
        return Hung(
            f"{what} has sent nothing and logged nothing for {quiet:.0f} s",
            "it hangs, or waits for something that it does not tell: see its log, or raise `idle_timeout`",
        )

    return ask
