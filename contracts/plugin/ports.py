"""Ports for programs that know no unix sockets.

Two Python plugins bind the same port without an error (SO_REUSEPORT), and whoever connects may reach somebody
else's: so it is looked up who listens, where the kernel tells.
"""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

from contracts.plugin.keeper import descendants

_LISTENS = "0A"


def free() -> int:
    """A port that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_foreign(port: int, keeper: int) -> bool:
    """Whether all who listen on the port are no descendants of `keeper`; False where it is not known."""
    listening = _inodes(port)
    if not listening:
        return False
    return not any(_opened(pid) & listening for pid in descendants(keeper))


def _inodes(port: int) -> set[str]:
    found = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path("/proc/net", table).read_text().splitlines()[1:]:
                _, local, _, state, *rest = line.split()
                if state == _LISTENS and int(local.rpartition(":")[2], 16) == port:
                    found.add(f"socket:[{rest[5]}]")
    return found


def _opened(pid: int) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(entry.readlink()))
    return found
