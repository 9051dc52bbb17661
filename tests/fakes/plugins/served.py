"""`worker serve` as a program, started as CloudQuery's CLI starts a plugin."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from contracts.errors import Permanent, SharderError
from tests.fakes.plugins.programs import KITS

# The CLI's, in its order.
ARGUMENTS = ("serve", "--log-level", "debug", "--log-format", "json")
MORE = ("--no-sentry", "--license", "/no/licence", "--otel-endpoint", "h:4318", "--otel-endpoint-insecure")  # fmt: skip
PATIENCE_S = 60.0


@dataclass
class Served:
    """The program; `lines` are its log, as far as it was waited for."""

    target: str
    process: subprocess.Popen[str]
    lines: list[dict[str, Any]] = field(default_factory=list)
    waiting: queue.SimpleQueue[str | None] = field(default_factory=queue.SimpleQueue)

    def death(self) -> SharderError | None:
        code = self.process.poll()
        return None if code is None else Permanent(f"the program ended with {code}")

    def line(self, message: str) -> dict[str, Any]:
        """The next line with this message."""
        while (text := self.waiting.get(timeout=PATIENCE_S)) is not None:
            self.lines.append(orjson.loads(text))
            if self.lines[-1]["message"] == message:
                return self.lines[-1]
        raise AssertionError(f"no line says {message!r}: {self.lines}")


@contextmanager
def served(
    name: str, directory: Path, *words: str, environment: Mapping[str, str] | None = None
) -> Iterator[Served]:
    """Killed at the end. `words`: where it listens, by default a socket in the directory."""
    socket = directory / "x.sock"
    place = words or ("--network", "unix", "--address", str(socket))
    process = subprocess.Popen(
        [str(Path(_interpreter(name)).with_name("worker")), "serve", name, *ARGUMENTS, *place, *MORE],
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    found = Served(f"unix:{socket}", process)
    reader = threading.Thread(target=_drain, args=(process, found.waiting))
    reader.start()
    try:
        yield found
    finally:
        process.kill()
        process.wait()
        reader.join()
        assert process.stdout
        process.stdout.close()


def _drain(process: subprocess.Popen[str], into: queue.SimpleQueue[str | None]) -> None:
    assert process.stdout
    for line in process.stdout:
        into.put(line)
    into.put(None)


def _interpreter(name: str) -> str:
    """A class of the SDK is served where the SDK is."""
    return KITS if name.startswith("cloudquery.") else sys.executable
