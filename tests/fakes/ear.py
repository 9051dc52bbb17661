"""A handler that reports each message to the test and then does what the test orders: no waiting, no luck.

The test holds the `Ear`; whoever handles messages is started with `ear.environment()` and uses
`handle` in place of the worker's or the loader's.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection, Listener
from types import TracebackType
from typing import Any, Self

from contracts.queue import Heart, Message

VARIABLE = "SHARDER_TEST_EAR"
_KEY = b"test"


def handle(data: bytes, heart: Heart) -> None:
    """Obey until told to finish; `crash` raises, as a bug in a handler would."""
    host, port = os.environ[VARIABLE].split(":")
    message = Message.from_bytes(data)
    with Client((host, int(port)), authkey=_KEY) as line:
        line.send((os.getpid(), data))
        while (order := line.recv())[0] != "finish":
            line.send(_obey(order, message, heart))


def _obey(order: tuple[str, str], message: Message, heart: Heart) -> Any:
    match order:
        case ("beat", attempt):
            heart.beat(message.run, message.job, attempt)
        case ("fresh", _):
            return heart.fresh(message.run, message.job)
        case ("stop", _):
            heart.stop(message.run, message.job)
        case ("crash", text):
            raise RuntimeError(text)
    return None


@dataclass
class Call:
    """One message being handled, in process `pid`."""

    pid: int
    data: bytes
    line: Connection

    @property
    def message(self) -> Message:
        return Message.from_bytes(self.data)

    def order(self, what: str, argument: str = "") -> Any:
        self.line.send((what, argument))
        return self.line.recv()

    def crash(self) -> None:
        """The handler raises."""
        self.line.send(("crash", "as ordered"))

    def finish(self) -> None:
        self.line.send(("finish", ""))
        self.line.close()


class Ear:
    """Hears of messages in the order in which they are taken."""

    def __init__(self) -> None:
        self._listener = Listener(("127.0.0.1", 0), authkey=_KEY)

    def environment(self) -> dict[str, str]:
        host, port = self._listener.address
        return {VARIABLE: f"{host}:{port}"}

    def hear(self) -> Call:
        """Wait for the next message to be taken."""
        line = self._listener.accept()
        pid, data = line.recv()
        return Call(pid, data, line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.close()
