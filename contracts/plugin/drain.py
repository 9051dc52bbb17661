"""Reads what a program says, line by line, for as long as it says something.

A plugin whose standard output nobody reads stops in the middle: after 6 of 200 messages, measured with the
Python SDK. Lines are told whole up to 1 MiB (CloudQuery's reader gives up at 4 kB, and long error lines go
uncounted); what is longer is cut, with a note, so that memory stays bounded.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import IO, Literal

from contracts.observe.log import crashed, event
from contracts.plugin.said import LEVELS, Said, parse
from contracts.plugin.tally import Tally
from contracts.veil import VEIL

MOST_BYTES = 1 << 20  # of a line
_SLACK = (
    4096  # read beyond it, and dropped after masking: half a secret at the cut is not recognised
)
_CHUNK = 1 << 16

Stream = Literal["stdout", "stderr"]
_NUMBERS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
# Names of a log line that mean something else when a plugin says them.
_TAKEN = frozenset({
    "event", "plugin", "stream", "message", "level", "time", "logger", "trace",
    "run", "shard", "job", "attempt", "worker", "source",
})  # fmt: skip
assert set(_NUMBERS) == set(LEVELS.values())


class Lines:
    """Cuts chunks of bytes into lines; (line, bytes that are missing from it)."""

    def __init__(self, most: int = MOST_BYTES + _SLACK) -> None:
        self._most = most
        self._held = bytearray()
        self._dropped = 0

    def feed(self, chunk: bytes) -> Iterator[tuple[bytes, int]]:
        *whole, rest = chunk.split(b"\n")
        for piece in whole:
            self._hold(piece)
            yield from self.end()
        self._hold(rest)

    def end(self) -> Iterator[tuple[bytes, int]]:
        """What was begun and not ended."""
        if self._held:
            yield bytes(self._held), self._dropped
        self._held.clear()
        self._dropped = 0

    def _hold(self, piece: bytes) -> None:
        room = self._most - len(self._held)
        self._held += piece[:room]
        self._dropped += max(0, len(piece) - room)


class Drain:
    """One thread for both streams of a program; it ends when the streams do."""

    def __init__(
        self,
        name: str,
        streams: dict[Stream, IO[bytes]],
        tally: Tally,
        masked: Callable[[str], str] = str,
    ) -> None:
        self._name, self._streams, self._tally, self._masked = name, streams, tally, masked
        self._farewell = False
        self._asked, self._bell = socket.socketpair()
        self._caught_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"drain-{name}", daemon=True)
        self._thread.start()

    def farewell(self) -> None:
        """The program was told to end: what it says of that is nobody's failure."""
        self._farewell = True

    def catch_up(self, timeout_s: float) -> None:
        """Wait until what the program has said before this call is read: there is nothing left in its pipes."""
        with contextlib.suppress(OSError):
            self._caught_up.clear()
            self._bell.sendall(b".")
            if self._thread.is_alive():
                self._caught_up.wait(timeout_s)

    def join(self, timeout_s: float) -> None:
        """Wait until everything that was said has been read."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._read()
        except Exception:  # noqa: BLE001 — the top of a thread
            crashed("drain_failed", plugin=self._name)
        finally:
            for stream in self._streams.values():
                stream.close()
            self._caught_up.set()
            self._asked.close()
            self._bell.close()

    def _read(self) -> None:
        lines: dict[Stream, Lines] = {name: Lines() for name in self._streams}
        with selectors.DefaultSelector() as selector:
            for name, stream in self._streams.items():
                selector.register(stream, selectors.EVENT_READ, name)
            selector.register(self._asked, selectors.EVENT_READ)
            waited_for = False
            while len(selector.get_map()) > 1:
                # Once asked, the first moment at which no stream has anything to be read.
                ready = [key for key, _ in selector.select(0 if waited_for else None)]
                if waited_for and not ready:
                    waited_for = False
                    self._caught_up.set()
                for key in ready:
                    if key.data is None:
                        waited_for = bool(self._asked.recv(_CHUNK))
                        continue
                    chunk = os.read(key.fd, _CHUNK)
                    held = lines[key.data]
                    for line, missing in held.feed(chunk) if chunk else held.end():
                        self._told(key.data, line, missing)
                    if not chunk:
                        selector.unregister(key.fileobj)

    def _told(self, stream: Stream, line: bytes, missing: int) -> None:
        text = line.decode("utf-8", "replace").rstrip()
        if not text:
            return
        # Parsed first: what is put for a secret would not always be JSON.
        said = _hidden(parse(text), self._hide, cut=len(line) > MOST_BYTES)
        if len(line) > MOST_BYTES:
            left = f" … (cut: the line has {len(line) + missing:,} bytes)"
            said = replace(said, message=said.message + left)
        if stream == "stderr":
            self._tally.keep(said.message)
        if self._farewell:
            said = replace(said, level="debug")
        self._tally.add(said)
        fields = {"table": said.table, "client": said.client, **said.more}
        with contextlib.suppress(OSError):  # nobody reads our own log any more
            event(
                "plugin_said",
                _NUMBERS[said.level],
                plugin=self._name,
                stream=stream,
                message=said.message,
                **{f"{k}_" if k in _TAKEN else k: v for k, v in fields.items() if v},
            )

    def _hide(self, text: str) -> str:
        return self._masked(VEIL(text))


def _hidden(said: Said, hide: Callable[[str], str], *, cut: bool) -> Said:
    """Without secrets. What is left of a cut line is shorter than a secret may be, and goes."""
    message = hide(said.message)
    if cut:
        message = message[: max(0, len(message) - _SLACK)][:MOST_BYTES]
    more = {key: hide(value) for key, value in said.more.items()}
    return Said(said.level, message, hide(said.table), hide(said.client), more)
