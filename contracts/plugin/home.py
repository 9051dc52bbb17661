"""The private directory of a running plugin: its socket and its temporary files. Only its user may enter.

It is removed with the plugin. What a worker leaves behind that was killed together with the keeper of its
plugins is removed by the next one that starts a plugin: the directory, and processes that were given it as
their TMPDIR, which nobody else has.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson

from contracts.observe.log import event

PREFIX = "sharder-plugin-"
_SOCKET = "s.sock"
_MOST_PATH = 100  # bytes: the kernel takes 107 for the path of a socket
_HALF_MADE_S = 3600.0


def make(farewell: Sequence[str] = ()) -> Path:
    """A fresh one, below the temporary directory, or /tmp where that has too long a name for a socket.

    farewell: the command that the sweep runs if nobody else could (the removal of a container).
    """
    base = tempfile.gettempdir()
    if len(f"{base}/{PREFIX}12345678/{_SOCKET}".encode()) > _MOST_PATH:
        base = "/tmp"  # noqa: S108 — a directory of its own is made in it, with mode 0700
    home = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    temporary(home).mkdir()
    _file(home).write_bytes(
        orjson.dumps({"owner": _me(), "space": _space(), "farewell": list(farewell)})
    )
    return home


def socket(home: Path) -> str:
    return str(home / _SOCKET)


def temporary(home: Path) -> Path:
    return home / "tmp"


def remove(home: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)


def sweep() -> int:
    """Remove what dead workers of this user have left on this machine; how many directories."""
    removed = 0
    for home in _homes():
        with contextlib.suppress(OSError, orjson.JSONDecodeError):
            if _is_abandoned(home):
                _clear(home)
                removed += 1
    return removed


def _homes() -> Iterator[Path]:
    """Also those in the temporary directories that our own programs give to their children."""
    base = Path(tempfile.gettempdir())
    for directory in {base, *base.glob("sharder-*"), *base.parent.glob("sharder-*"), Path("/tmp")}:  # noqa: S108
        with contextlib.suppress(OSError):
            yield from directory.glob(f"{PREFIX}*")


def _is_abandoned(home: Path) -> bool:
    stat = home.lstat()
    if stat.st_uid != os.getuid():
        return False
    file = _file(home)
    if not file.exists():
        return time.time() - stat.st_mtime > _HALF_MADE_S
    facts = orjson.loads(file.read_bytes())
    # In another container a process of the same number is another one.
    return facts["space"] == _space() and not _lives(facts["owner"]) and not _has_keeper(home)


def _clear(home: Path) -> None:
    killed = 0
    for pid in _inhabitants(home):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
            killed += 1
    with contextlib.suppress(OSError, orjson.JSONDecodeError, subprocess.TimeoutExpired):
        if farewell := orjson.loads(_file(home).read_bytes())["farewell"]:
            subprocess.run(farewell, capture_output=True, check=False, timeout=20.0)
    remove(home)
    event("plugin_leftovers_removed", directory=home, processes=killed)


def _inhabitants(home: Path) -> Iterator[int]:
    """Processes of ours that have the directory for their temporary files."""
    mark = b"\0TMPDIR=" + os.fsencode(temporary(home)) + b"\0"
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in b"\0" + (entry / "environ").read_bytes() + b"\0":
                yield int(entry.name)


def _has_keeper(home: Path) -> bool:
    """Whether somebody is about to do all this anyway."""
    for pid in _inhabitants(home):
        with contextlib.suppress(OSError):
            if b"keeper.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return True
    return False


def _file(home: Path) -> Path:
    return home / "home.json"


def _me() -> list[int]:
    return [os.getpid(), _started(os.getpid())]


def _lives(owner: Sequence[int]) -> bool:
    pid, started = owner
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return False  # somebody else's: the number was given again
    return _started(pid) == started


def _started(pid: int) -> int:
    """Ticks since the machine started; 0 where the system does not tell."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return 0


def _space() -> str:
    """Which numbers of processes are meant: of this start of this machine, and of this container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""
