"""A small process between us and a plugin: it ends the plugin when we end, however we end.

Executed as a script, `python -I -S keeper.py JSON`, and never imported by a program of ours for its work: it
knows the standard library alone and takes 20 ms to start. A plugin would otherwise outlive a worker that is
killed. `PR_SET_PDEATHSIG` of the plugin would not do by itself: the kernel means the *thread* that started the
process, sources are read in threads, and setting it between fork and exec is not safe where threads are.
Here there is one thread, so it is set as well, for the case that this process is killed itself.

It talks through a socket of which the other end is ours: lines of JSON. To us: {"started": pid}, {"refused":
why}, {"ended": code, "why": …, "bytes": …}. From us: nothing but the word "stop", or the end of the
connection, which means that we are gone. Descendants that the plugin lost are its children (a subreaper), and
end with it.
"""

# Importing pathlib would take as long as everything else here.
# ruff: noqa: PTH112, PTH123, PTH208

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
LOOK_S = 0.5  # between two looks at the memory
LOOK_AROUND_S = 5.0  # between two looks whether the owner is still there
FAREWELL_S = 20.0  # for a command at the end (the removal of a container)
NOTHING, PLUGIN = 0, 1


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _start(words: list[str], cwd: str) -> int:
    """Fork and execute, in a session of its own, with the signals of a fresh process. Raises OSError."""
    keeper = os.getpid()
    heard, said = os.pipe()  # both close when the program is executed
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != keeper:
                os._exit(1)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD):  # fmt: skip
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            os.chdir(cwd)
            os.execv(words[0], words)  # noqa: S606 — there is no shell, and there shall be none
        except OSError as error:
            os.write(said, str(error.errno).encode())
        finally:
            os._exit(127)
    os.close(said)
    with os.fdopen(heard, "rb") as answer:
        failed = answer.read()
    if failed:
        os.waitpid(pid, 0)
        raise OSError(int(failed), os.strerror(int(failed)), words[0])
    return pid


def descendants(root: int) -> list[int]:
    """Every process below `root`, found by the kernel's table; nearest first."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc") if os.path.isdir("/proc/self") else []:
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as stat:
                    # The name in brackets may hold anything; what follows it are state and parent.
                    parent = int(stat.read().rpartition(b")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
            children.setdefault(parent, []).append(int(entry))
    found = list(children.get(root, ()))
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def resident(pid: int) -> int:
    """Bytes; 0 where the system does not tell, or the process is gone."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


class Keeper:
    """`job`: words, cwd, channel (file descriptor), owner (pid), grace_s, memory, together (bytes or 0),
    farewell (command or empty), home (directory to remove, or empty).
    """

    def __init__(self, job: dict[str, Any]) -> None:
        self._job = job
        self._channel = socket.socket(fileno=job["channel"])
        self._wake, bell = socket.socketpair()
        self._wake.setblocking(False)
        bell.setblocking(False)
        self._bell = bell  # kept: the signal handler writes to it
        signal.set_wakeup_fd(bell.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._heard)
        self._asked = False  # to end the program
        self._why = ""
        self._bytes = 0
        self._plugin = 0
        self._status: int | None = None

    def _heard(self, number: int, _frame: object) -> None:
        self._asked |= number != signal.SIGCHLD

    def _say(self, **fact: Any) -> None:
        try:
            self._channel.sendall(json.dumps(fact).encode() + b"\n")
        except OSError:
            self._asked = True  # nobody is there any more

    def run(self) -> None:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        try:
            self._plugin = _start(self._job["words"], self._job["cwd"])
        except OSError as error:
            self._say(refused=error.strerror or str(error))
        else:
            _let_go_of_output()
            self._say(started=self._plugin)
            self._watch()
            self._end_all()
            self._say(ended=self._status, why=self._why, bytes=self._bytes)
        self._leave()

    def _watch(self) -> None:
        """Until the program has ended: by itself, or because we made it end."""
        kill_s: float | None = None
        while not self._reaped():
            if self._asked and kill_s is None:
                kill_s = time.monotonic() + self._job["grace_s"]
                self._signal(signal.SIGINT)
            if kill_s is not None and time.monotonic() >= kill_s:
                self._why = self._why or "stopped"
                self._signal(signal.SIGKILL)
                self._reaped(os.WNOHANG, wait=True)
                return
            if self._too_big():
                self._why = "memory"
                self._signal(signal.SIGKILL)
                self._reaped(os.WNOHANG, wait=True)
                return
            self._listen(kill_s)

    def _listen(self, kill_s: float | None) -> None:
        if not self._asked and os.getppid() != self._job["owner"]:
            # Seen by the connection, unless the owner has a child that was forked and holds the other end too.
            self._asked, self._why = True, self._why or "owner"
            return
        limits = self._job["memory"] or self._job["together"]
        wait_s = LOOK_S if limits else LOOK_AROUND_S
        if kill_s is not None:
            left_s = max(0.0, kill_s - time.monotonic())
            wait_s = min(wait_s, left_s)
        ears = [self._wake] if self._asked else [self._wake, self._channel]
        ready, _, _ = select.select(ears, [], [], wait_s)
        for ear in ready:
            try:
                heard = ear.recv(4096)
            except BlockingIOError:
                continue
            except OSError:
                heard = b""
            if ear is self._channel:
                self._asked = True
                self._why = self._why or ("stopped" if heard else "owner")

    def _reaped(self, flags: int = os.WNOHANG, *, wait: bool = False) -> bool:
        """Take in every process that has ended; whether the program is one of them."""
        if wait and self._status is None:
            _, status = os.waitpid(self._plugin, 0)
            self._status = os.waitstatus_to_exitcode(status)
        while True:
            try:
                pid, status = os.waitpid(-1, flags)
            except ChildProcessError:
                return self._status is not None
            if pid == 0:
                return self._status is not None
            if pid == self._plugin:
                self._status = os.waitstatus_to_exitcode(status)

    def _signal(self, number: signal.Signals) -> None:
        """To the program with its group; SIGKILL to everything below us."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._plugin, number)
        if number == signal.SIGKILL:
            self._kill_descendants()

    def _kill_descendants(self) -> bool:
        found = descendants(os.getpid())
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        return bool(found)

    def _end_all(self) -> None:
        """What the program leaves behind ends, too. A process that cannot be killed is not waited for long."""
        end_s = time.monotonic() + 2.0
        while self._kill_descendants() and time.monotonic() < end_s:
            self._reaped()
            select.select([self._wake], [], [], 0.02)
            self._drain_wake()
        self._reaped()

    def _drain_wake(self) -> None:
        try:
            self._wake.recv(4096)
        except BlockingIOError:
            return

    def _too_big(self) -> bool:
        own, together = self._job["memory"], self._job["together"]
        if not own and not together:
            return False
        self._bytes = sum(map(resident, descendants(os.getpid())))
        if own and self._bytes > own:
            return True
        return bool(together) and self._bytes + resident(self._job["owner"]) > together

    def _leave(self) -> None:
        if self._job["farewell"]:
            try:
                quiet = subprocess.DEVNULL
                subprocess.run(
                    self._job["farewell"], stdin=quiet, stdout=quiet, stderr=quiet,
                    timeout=FAREWELL_S, check=False,
                )  # fmt: skip
            except (OSError, subprocess.TimeoutExpired):
                pass
        if self._job["home"]:
            shutil.rmtree(self._job["home"], ignore_errors=True)


def _let_go_of_output() -> None:
    """Whoever reads what the program says shall see its end when it is there."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (1, 2):
        os.dup2(nowhere, number)
    os.close(nowhere)


if __name__ == "__main__":
    keep: Callable[[], None] = Keeper(json.loads(sys.argv[1])).run
    keep()
