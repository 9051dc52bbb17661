"""A program of a destination or a transformer, kept open: started when it is first asked, watched, stopped.

grpc is imported with the first program that is started, and not before: loaders without plugins never have it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from contracts import settings
from contracts.errors import SharderError, Transient, Unreachable, missing_extra
from contracts.spec import Plugin, PluginSettings

if TYPE_CHECKING:
    from contracts.plugin.client import Client
    from contracts.plugin.program import Program
    from contracts.plugin.tally import Tally


@dataclass(frozen=True)
class Wanted:
    """What is needed to start a program. `masked` keeps secrets of its document out of what it says."""

    model: Plugin
    settings: PluginSettings = field(default_factory=PluginSettings)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    masked: Callable[[str], str] = str

    @property
    def what(self) -> str:
        return f"the {type(self.model).kind} plugin '{self.model.name}'"


class Running:
    """One program; used by one thread at a time. `begin` is its first call. `close` it, started or not.

    After an error that may pass it is ended, and the next call starts it anew.
    """

    def __init__(self, wanted: Wanted, begin: Callable[[Client], None]) -> None:
        self.wanted = wanted
        self._begin = begin
        self._stack = ExitStack()
        self._started: tuple[Program, Client] | None = None

    def log(self) -> Tally:
        """What it has logged so far, to the last line."""
        program, _ = self._start()
        program.catch_up()
        return program.log

    @contextmanager
    def call(self) -> Iterator[tuple[Client, Watch]]:
        """Around one call: it is cancelled when nothing has moved and no line was logged for `idle_timeout`.

        Raises Unreachable then, whatever the call itself says; and what starting the program raises.
        """
        program, client = self._start()
        try:
            with self._watched(program, client) as watch:
                yield client, watch
        except SharderError as error:
            if isinstance(error, Transient) or program.death():
                self.close()
            raise

    @contextmanager
    def _watched(self, program: Program, client: Client) -> Iterator[Watch]:
        watch = Watch(client.cancel, lambda: program.log.last_s, self.wanted.settings.idle_timeout)
        try:
            with watch:
                yield watch
        except SharderError as error:
            if watch.fired:
                raise self._idle() from error
            raise
        if watch.fired:
            raise self._idle()

    def finish(self) -> None:
        """Tell a program that runs that this was all: some write what they held back only then."""
        if self._started:
            self._started[1].finish()

    def close(self) -> None:
        self._started = None
        self._stack.close()

    def _start(self) -> tuple[Program, Client]:
        """Raises what starting it, `begin` and connecting raise, and MissingExtra."""
        if self._started is None:
            try:
                from contracts.plugin.client import Client
                from contracts.plugin.plugin import Plugin as Chosen
                from contracts.plugin.plugin import Surroundings
                from contracts.plugin.program import running
            except ModuleNotFoundError as error:
                if error.name and error.name.partition(".")[0] in {"grpc", "google", "cloudquery"}:
                    raise missing_extra(error.name, "plugins", self.wanted.what) from error
                raise
            wanted = self.wanted
            around = Surroundings(
                wanted.environment,
                wanted.masked,
                memory_bytes=settings.from_environment(wanted.environment).cap_bytes(),
            )
            with ExitStack() as stack:
                program = stack.enter_context(
                    running(Chosen.of(wanted.model, wanted.settings), around)
                )
                client = Client(program.target, death=program.death, what=wanted.what)
                stack.callback(client.close)
                client.connect(wanted.settings.start_timeout, give_up=program.death)
                with self._watched(program, client):
                    self._begin(client)
                self._stack = stack.pop_all()
            self._started = program, client
        return self._started

    def _idle(self) -> Unreachable:
        wanted = self.wanted
        return Unreachable(
            f"{wanted.what} neither took nor sent nor logged anything for "
            f"{wanted.settings.idle_timeout:g} s, and was given up",
            f"if it needs longer: kind: fleet, plugins: {{{wanted.model.name}: {{idle_timeout: …}}}}",
        )


class Watch:
    """Cancels a call that has gone quiet. `heard` gives the time of the newest sign of life elsewhere."""

    def __init__(
        self,
        cancel: Callable[[], None],
        heard: Callable[[], float],
        limit_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cancel = cancel
        self._heard = heard
        self._limit_s = limit_s
        self._clock = clock
        self._last = clock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="idle", daemon=True)
        self.fired = False

    def moved(self) -> None:
        """Something was taken or sent just now."""
        self._last = self._clock()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        left = self._limit_s
        while not self._over.wait(left):
            left = max(self._last, self._heard()) + self._limit_s - self._clock()
            if left <= 0:
                self.fired = True
                self._cancel()
                return
