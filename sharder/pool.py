"""The embedded queue: spawned worker processes and exactly one loader process on this machine.

The same messages and handlers as on a fleet, JSON bytes over pipes, one message at a time each. The
processes start when there is something to do. One that dies is replaced by the next message, and
its job simply has no heartbeat any more: the watcher sends it again. All of them end with the parent,
however it ends, because the pipe does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection, Pipe, wait
from typing import Literal

import orjson

from contracts import memory, settings
from contracts.errors import Permanent
from contracts.queue import Message
from contracts.settings import LIMITS_FD, PROCESSES

Role = Literal["worker", "loader"]

STARTS = 3  # processes of a role that may end one after the other before they could serve
JOBS = 1000  # after so many a child is replaced by a fresh one, or when it has grown (`contracts.memory`)
SILENT_S = 30.0  # a child whose attempt does not beat for so long is stuck, and replaced when asked
HANDLERS: Mapping[Role, str] = {
    "worker": "worker.handle:handle",
    "loader": "loader.handle:handle",
}


def cores() -> int:
    """Processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")


class _Child:
    """One process, its pipe, and the job that it works on."""

    def __init__(
        self,
        role: Role,
        handler: str,
        environment: Mapping[str, str],
        log: Callable[[str], None],
        shared: int,
    ) -> None:
        self.role = role
        self.job: tuple[str, str] | None = None  # run, job
        self._last = ""  # the same as text, kept for lines that are read after the job's end
        self.serves = False  # it has imported its handler
        self.jobs = 0  # that it has done
        self.leaves = False  # it was told to end, and takes no more jobs
        self.beat_s = 0.0
        self.pipe, other = Pipe()
        with other:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "sharder.child", handler, str(other.fileno())],
                env={
                    **environment,
                    "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
                    LIMITS_FD: str(shared),
                },
                pass_fds=[other.fileno(), shared],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the parent, which ends its children in its own way, and theirs with them.
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._forward, args=(log,), daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _forward(self, log: Callable[[str], None]) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                log(self._named(line.decode("utf-8", "replace").rstrip()))

    def _named(self, line: str) -> str:
        """The line with what its process works on, unless it says so itself."""
        return line if " run=" in line or not line else f"{line}{self._last}"

    def take(self, message: Message) -> None:
        self.job, self.beat_s = (message.run, message.job), time.monotonic()
        self._last = f" run={message.run} job={orjson.dumps(message.job).decode()}"
        self.pipe.send_bytes(message.to_bytes())

    def leave(self) -> None:
        """Have it end in its own time, closing what it holds."""
        self.leaves = True
        with contextlib.suppress(OSError):
            self.pipe.send_bytes(b"")

    def post_mortem(self) -> str:
        """What is to be told of a child that ended in the middle of a job; empty if it said so itself."""
        try:
            code = self._process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            return ""
        if not self.job or code != -signal.SIGKILL:
            return ""
        kills = memory.oom_kills()
        known = (
            f" (the kernel has ended {kills} processes of this container for that)" if kills else ""
        )
        return (
            f"warning: the {self.role} process {self.pid} was killed in the middle of {self.job[1]} of run "
            f"{self.job[0]}, probably for lack of memory{known}"
        )

    def end(self) -> None:
        """Kill it with all that it started, and reap; nothing that it holds is worth a farewell."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        self.pipe.close()


class Pool:
    """A Queue whose other side is here. A thread hands out messages as processes become free."""

    def __init__(
        self,
        workers: int = 0,
        environment: Mapping[str, str] | None = None,
        log: Callable[[str], None] = to_stderr,
        handlers: Mapping[Role, str] = HANDLERS,
        jobs: int = JOBS,
    ) -> None:
        """`workers`: 0 means one per core. `environment` is all that the children get of their settings.
        After `jobs` a child is replaced.
        """
        self._size: Mapping[Role, int] = {"worker": workers or cores(), "loader": 1}
        # Temporary files of the children, which are killed in the end, go with it.
        self._home = tempfile.TemporaryDirectory(prefix="sharder-", ignore_cleanup_errors=True)
        given = dict(os.environ if environment is None else environment)
        self._environment = {**given, "TMPDIR": self._home.name}
        self._jobs = jobs
        found = settings.from_environment(given)
        self._full: Mapping[Role, int] = {
            role: memory.recycle_bytes(found.cap_bytes(size)) for role, size in self._size.items()
        }
        self._log, self._handlers = log, handlers
        self._queued: Mapping[Role, deque[Message]] = {"worker": deque(), "loader": deque()}
        self._children: list[_Child] = []
        self._changed = threading.Condition()
        self._stillborn: dict[Role, int] = dict.fromkeys(self._size, 0)
        self._ended = 0  # jobs that ended, in whatever way: what `wait` waits for
        self._seen = 0
        self._bell, self._ear = Pipe()
        # Rates and places that the workers share (worker/limits/machine.py); it goes with the last of us.
        self._shared = tempfile.TemporaryFile()  # noqa: SIM115 — closed by `close`
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="pool", daemon=True)
        self._thread.start()

    def put(self, messages: Sequence[Message]) -> None:
        """A job that is queued or that a live child works on is not taken twice; a stuck child is killed.

        Raises Permanent if the processes do not even start.
        """
        with self._changed:
            self._check()
            for message in messages:
                role: Role = "worker" if message.kind == "shard" else "loader"
                child = self._child_of(message)
                if child and time.monotonic() - child.beat_s < SILENT_S:
                    continue
                if child:
                    self._drop(child)
                if message not in self._queued[role]:
                    self._queued[role].append(message)
        self._ring()

    def waiting(self) -> int:
        with self._changed:
            self._check()
            return sum(map(len, self._queued.values()))

    def beats(self, run: str, jobs: Sequence[str]) -> Mapping[str, str]:
        """A child that has not beaten yet counts from the moment at which it was given the job."""
        with self._changed:
            wanted = set(jobs)
            return {
                c.job[1]: f"{c.pid} {c.beat_s}"
                for c in self._children
                if c.job and c.job[0] == run and c.job[1] in wanted
            }

    def workers(self) -> int:
        return self._size["worker"]

    def pids(self, role: Role) -> Sequence[int]:
        """The processes of a role that are there now."""
        with self._changed:
            return [c.pid for c in self._children if c.role == role]

    def warm(self) -> None:
        """Start a loader and one worker now, so that their imports run beside the planning."""
        with self._changed:
            for role in self._size:
                self._idle(role)

    def wait(self, timeout_s: float) -> None:
        """Return when a job has ended since the last call and little is left to do, or after `timeout_s`.

        While much is queued nobody has to hurry: ends are taken in many at a time.
        """
        with self._changed:
            self._changed.wait_for(self._wants_more, timeout_s)
            self._seen = self._ended

    def _wants_more(self) -> bool:
        queued = sum(map(len, self._queued.values()))
        return self._ended != self._seen and queued <= 2 * self._size["worker"]

    def close(self) -> None:
        """End everything at once; the watcher of the next run sends again what was going on."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
        self._ring()
        self._thread.join()
        for child in self._children:
            child.end()
        self._children = []
        self._bell.close()
        self._ear.close()
        self._home.cleanup()
        self._shared.close()

    def _ring(self) -> None:
        self._bell.send_bytes(b"")

    def _serve(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
                self._hand_out()
                pipes: dict[Connection, _Child] = {c.pipe: c for c in self._children}
            for ready in wait([self._ear, *pipes]):
                if ready is self._ear:
                    self._ear.recv_bytes()
                elif isinstance(ready, Connection):
                    self._hear(pipes[ready])

    def _hear(self, child: _Child) -> None:
        with self._changed:
            if child not in self._children:
                return  # dropped by `put` in the meantime
            try:
                event = orjson.loads(child.pipe.recv_bytes())
            except (EOFError, OSError):
                why = child.post_mortem()
                self._drop(child)
                if why:
                    self._log(why)
                return
            if event == "ready":
                child.serves, self._stillborn[child.role] = True, 0
            elif event == "done":
                self._finish(child)
                child.jobs += 1
                grown = memory.resident_bytes(child.pid) > self._full[child.role]
                if child.jobs >= self._jobs or grown:
                    child.leave()
            else:
                child.beat_s = time.monotonic()

    def _check(self) -> None:
        for role, count in self._stillborn.items():
            if count >= STARTS:
                raise Permanent(
                    f"the {role} process ends as soon as it is started",
                    "what it said is above; is the installation whole?",
                )

    def _hand_out(self) -> None:
        for role, queued in self._queued.items():
            while queued and self._stillborn[role] < STARTS and (child := self._idle(role)):
                try:
                    child.take(queued[0])
                except OSError:  # it died idle; the message is still ours
                    self._drop(child)
                    continue
                queued.popleft()

    def _idle(self, role: Role) -> _Child | None:
        mine = [c for c in self._children if c.role == role]
        for child in mine:
            if not child.job and not child.leaves:
                return child
        if len(mine) >= self._size[role]:
            return None
        shared = self._shared.fileno()
        environment = {**self._environment, PROCESSES: str(self._size[role])}
        child = _Child(role, self._handlers[role], environment, self._log, shared)
        self._children.append(child)
        return child

    def _child_of(self, message: Message) -> _Child | None:
        job = (message.run, message.job)
        return next((c for c in self._children if c.job == job), None)

    def _finish(self, child: _Child) -> None:
        child.job = None
        self._ended += 1
        self._changed.notify_all()

    def _drop(self, child: _Child) -> None:
        self._children.remove(child)
        self._stillborn[child.role] += not child.serves
        child.end()
        self._finish(child)
