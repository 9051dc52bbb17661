"""How much memory a process has, may have, and keeps: read from the kernel, never guessed."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

SHARE = 0.9  # of a cgroup's limit: the rest is for the parent process and for page tables
RECYCLE_BYTES = 700 << 20
RECYCLE = 0.6  # of the cap
_UNLIMITED = 1 << 60  # what cgroup v1 writes where there is no limit is about 2^63


def resident_bytes(pid: int | str = "self") -> int:
    """Resident memory of a process; 0 where the system does not tell, or the process is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def cap_bytes(wanted: int, processes: int, container: int = 0, *, root: Path = Path("/")) -> int:
    """What one process may use: what was asked for, or its share of what the container may, or 0 for no limit.

    `container`: if somebody has told us; 0: as the cgroup says.
    """
    if wanted:
        return wanted
    return int((container or limit_bytes(root)) * SHARE) // max(processes, 1)


def limit_bytes(root: Path = Path("/")) -> int:
    """The smallest memory limit of this process's cgroup and those around it; 0: none."""
    return min((n for d in _groups(root) if 0 < (n := _limit(d)) < _UNLIMITED), default=0)


def recycle_bytes(cap: int = 0) -> int:
    """With so much memory after a job a process is replaced: well below what it may have in the middle of one."""
    return min(RECYCLE_BYTES, int(cap * RECYCLE)) if cap else RECYCLE_BYTES


def oom_kills(root: Path = Path("/")) -> int:
    """How many processes of this cgroup the kernel has ended for lack of memory; 0 where it does not tell."""
    for directory in _groups(root):
        text = _read(directory / "memory.events") or _read(directory / "memory.oom_control")
        for line in text.splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def _groups(root: Path) -> Iterator[Path]:
    """The directories of this process's memory cgroup, innermost first, of version 2 or 1.

    In a container the kernel's path may not exist below the mount; the mount itself is then the group.
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / ("memory" if controllers else "")
        here = mount / path.strip("/")
        while here != mount:
            yield here
            here = here.parent
        yield mount


def _limit(directory: Path) -> int:
    text = _read(directory / "memory.max") or _read(directory / "memory.limit_in_bytes")
    return int(text) if text.strip().isdigit() else 0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def settle() -> None:
    """Spare the collector what stays: to be called once, when everything is imported and warm.

    Pages of dicts are freed by their reference counts; by default the collector looks at all of them
    again and again in vain (docs/design/worker-life.md has the figures).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
