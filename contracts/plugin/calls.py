"""One gRPC connection: starts calls, waits for their answers, gives them up, says what their failure means.

A call may wait for as long as the plugin takes; `watch` tells how it is given up. Nothing is retried
here, and no deadline is set but for the first answer and the last good-bye: how long a sync may take is
its caller's to say.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from grpc.experimental import ChannelOptions

from contracts.errors import SharderError, Unreachable
from contracts.plugin.errors import Death, Stopped, meaning
from contracts.plugin.watch import Question, Watch

LARGEST = 200 << 20  # of a message, as CloudQuery's own client has it; gRPC's 4 MiB are too few

_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", LARGEST),
    ("grpc.max_send_message_length", LARGEST),
    # Two clients of one address do not share a connection: it ends with the client.
    ("grpc.use_local_subchannel_pool", 1),
    # A proxy of the environment is not asked about loopback and sockets.
    ("grpc.enable_http_proxy", 0),
    # A program that starts is tried often: it listens after seconds, a back-off would cost more.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]


class Calls:
    """A connection. Used by one thread at a time; `cancel` from any."""

    def __init__(
        self, target: str, death: Death, idle: Question, what: str, single_threaded: bool
    ) -> None:
        # The reader takes messages off the connection itself, without a thread between (85 → 35 µs each).
        alone = [(ChannelOptions.SingleThreadedUnaryStream, 1)] if single_threaded else []
        self.channel = grpc.insecure_channel(target, options=_OPTIONS + alone)
        self.idle = idle
        self.what = what
        self._target = target
        self._death = death
        self._lock = threading.Lock()
        self._running: dict[int, tuple[Any, Watch]] = {}
        self._stopped = False

    @property
    def quiet_s(self) -> float:
        """For how long a call has been waiting for the plugin; 0.0 while none does."""
        with self._lock:
            return max((watch.waited_s for _, watch in self._running.values()), default=0.0)

    def ready(self, timeout_s: float, give_up: Question) -> None:
        """Wait for the connection. Raises what `death` or `give_up` says, or Unreachable after timeout_s."""
        until = time.monotonic() + timeout_s
        ready = grpc.channel_ready_future(self.channel)
        try:
            while True:
                try:
                    ready.result(timeout=0.1)
                except grpc.FutureTimeoutError:
                    if error := self._death() or give_up() or self._late(until, timeout_s):
                        raise error from None
                else:
                    return
        finally:
            ready.cancel()

    def ask(self, method: Any, request: Any, call: str, timeout_s: float | None = None) -> Any:
        """The answer of a call without streams."""
        with self.watched(lambda: method.future(request, timeout=timeout_s)) as (running, watch):
            return self.answer(running, watch, call)

    def answer(self, running: Any, watch: Watch, call: str, *, again: bool = False) -> Any:
        """The answer of a started call, waited for."""
        watch.waiting_since = time.monotonic()
        try:
            return running.result()
        except (grpc.RpcError, grpc.FutureCancelledError) as error:
            raise self._error(error, watch, call, again=again) from error
        finally:
            watch.waiting_since = 0.0

    @contextmanager
    def stream(self, start: Callable[[], Any], call: str) -> Iterator[Iterator[Any]]:
        """The answers of a call; it is cancelled at the end of the block if it still goes on."""
        with self.watched(start) as (running, watch):
            try:
                yield self._answers(running, watch, call)
            finally:
                running.cancel()

    def cancel(self) -> None:
        """Give up the call that waits, and any later one: they raise Stopped. From any thread."""
        with self._lock:
            self._stopped = True
            running = [call for call, _ in self._running.values()]
        for call in running:
            call.cancel()

    def close(self) -> None:
        self.channel.close()

    @contextmanager
    def watched(self, start: Callable[[], Any]) -> Iterator[tuple[Any, Watch]]:
        """The started call, looked after. Raises Stopped once `cancel` was called."""
        with self._lock:
            if self._stopped:
                raise Stopped(f"{self.what} was given up")
            running = start()
            watch = Watch(running, (self._death, self.idle))
            self._running[id(watch)] = running, watch
        try:
            with watch:
                yield running, watch
        finally:
            with self._lock:
                del self._running[id(watch)]

    def _answers(self, running: Any, watch: Watch, call: str) -> Iterator[Any]:
        take = running.__next__
        while True:
            watch.waiting_since = time.monotonic()
            try:
                answer = take()
            except StopIteration:
                return
            except (grpc.RpcError, grpc.FutureCancelledError) as error:
                raise self._error(error, watch, call, again=True) from error
            finally:
                watch.waiting_since = 0.0
            yield answer

    def _error(self, error: Exception, watch: Watch, call: str, *, again: bool) -> BaseException:
        if watch.found is not None:
            return watch.found
        if self._stopped or isinstance(error, grpc.FutureCancelledError):
            return Stopped(f"{self.what}: {call} was given up")
        return meaning(error, what=self.what, call=call, death=self._death, again=again)

    def _late(self, until: float, timeout_s: float) -> SharderError | None:
        if time.monotonic() < until:
            return None
        return Unreachable(
            f"{self.what} does not answer at {self._target} after {timeout_s:g} s",
            "is it running, and is the address right?",
        )
