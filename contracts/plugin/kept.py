"""A plugin's process and its keeper, as we see them: started, its streams, how it ended, ended.

Our side of `keeper`, which says what passes between the two.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import orjson

KEEPER = Path(__file__).with_name("keeper.py")
GRACE_S = 5.0  # between SIGINT and SIGKILL, as CloudQuery has it
_FAREWELL_S = 25.0  # that a keeper may take beyond: removing a container
_START_S = 30.0  # until the keeper has executed the program; 0.05 s on an idle machine

Why = Literal["", "stopped", "memory", "owner", "keeper"]


@dataclass(frozen=True)
class End:
    """How a program ended. `code` is negative for a signal; `why` is empty if nobody made it end."""

    code: int
    why: Why = ""
    bytes: int = 0  # that it had, at the last look


@dataclass(frozen=True)
class Job:
    """What is started and how it is held. `memory` bounds the program's processes, `together` them and us;
    bytes, 0: no limit. `home` is removed at the end, after the command `farewell`.
    """

    words: Sequence[str]
    environment: Mapping[str, str]
    home: Path
    cwd: Path
    memory: int = 0
    together: int = 0
    farewell: Sequence[str] = ()
    grace_s: float = GRACE_S

    def text(self, channel: int) -> str:
        facts = {
            "words": list(self.words),
            "cwd": str(self.cwd),
            "channel": channel,
            "owner": os.getpid(),
            "grace_s": self.grace_s,
            "memory": self.memory,
            "together": self.together,
            "farewell": list(self.farewell),
            "home": str(self.home),
        }
        return orjson.dumps(facts).decode()


class Refused(Exception):
    """The system did not execute the program; the text is the system's."""


class Kept:
    """`stop` it, whatever happens. Methods may be called from any thread."""

    def __init__(self, job: Job) -> None:
        """Raises Refused."""
        self._grace_s = job.grace_s
        self._channel, other = socket.socketpair()
        with other:
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", str(KEEPER), job.text(other.fileno())],
                env=dict(job.environment),
                pass_fds=[other.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        self._lock = threading.RLock()
        self._held = b""
        self._end: End | None = None
        self._plugin = 0
        self._hear_start()

    @property
    def pid(self) -> int:
        return self._plugin

    @property
    def keeper_pid(self) -> int:
        return self._keeper.pid

    @property
    def streams(self) -> tuple[IO[bytes], IO[bytes]]:
        """Standard output and error."""
        assert self._keeper.stdout is not None
        assert self._keeper.stderr is not None
        return self._keeper.stdout, self._keeper.stderr

    def _hear_start(self) -> None:
        end_s = time.monotonic() + _START_S
        while not self._plugin and not self._end and time.monotonic() < end_s:
            self._hear(end_s - time.monotonic())
        if not self._plugin:
            why = self._refused or (b"".join(self._last_words())).decode("utf-8", "replace")
            self.stop()
            for stream in self.streams:
                stream.close()
            raise Refused(why.strip() or "it did not start, and nobody said why")

    _refused = ""

    def _last_words(self) -> Sequence[bytes]:
        """A bug of the keeper tells itself by its trace."""
        self._keeper.kill()
        self._keeper.wait()
        return self.streams[1].readlines() if self._keeper.stderr else []

    def end(self, timeout_s: float = 0.0) -> End | None:
        """How it ended; None while it lives. Waits for its end so long at most."""
        end_s = time.monotonic() + timeout_s
        while self._end is None:
            left_s = max(0.0, end_s - time.monotonic())
            self._hear(left_s)
            if left_s == 0.0:
                break
        return self._end

    def _hear(self, timeout_s: float) -> None:
        """Take in what the keeper has said, if it says something before the time is over."""
        with self._lock:
            if self._end is not None:
                return
            with contextlib.suppress(OSError, ValueError):
                # The lock is held while waiting: only whoever stops us comes here at the same time.
                if not select.select([self._channel], [], [], min(timeout_s, 0.1))[0]:
                    return
                chunk = self._channel.recv(4096)
                self._held += chunk
                *lines, self._held = self._held.split(b"\n")
                for line in lines:
                    self._take(orjson.loads(line))
                if not chunk and self._end is None:
                    self._end = End(-signal.SIGKILL, "keeper")

    def _take(self, fact: Mapping[str, Any]) -> None:
        if "started" in fact:
            self._plugin = fact["started"]
        elif "refused" in fact:
            self._refused, self._end = fact["refused"], End(127)
        else:
            self._end = End(fact["ended"], fact["why"], fact["bytes"])

    def stop(self) -> None:
        """End it with everything that it started: SIGINT, and SIGKILL when the grace is over. Idempotent."""
        with contextlib.suppress(OSError):
            self._channel.sendall(b"stop")
        try:
            self._keeper.wait(self._grace_s + _FAREWELL_S)
        except subprocess.TimeoutExpired:
            self._keeper.kill()  # the plugin has asked the kernel to follow
            self._keeper.wait()
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._plugin, signal.SIGKILL)
        self._hear(0.0)
        with self._lock:
            self._end = self._end or End(-signal.SIGKILL, "stopped")
            self._channel.close()
