"""A process that tries to create an object whenever it is told to: `racing ROOT NAME`, a key per line on stdin.

For each key it answers `won` or `lost`; before the first it says `ready`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from contracts.store.local import LocalStore


def race(root: Path, names: Iterable[str], keys: Iterable[str]) -> Mapping[str, list[str]]:
    """Key → the names of the processes that won it."""
    processes = {
        name: subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.racing", str(root), name],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        for name in names
    }
    won: dict[str, list[str]] = {}
    for process in processes.values():
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for key in keys:
        for process in processes.values():
            assert process.stdin is not None
            process.stdin.write(f"{key}\n")
        won[key] = [n for n, p in processes.items() if p.stdout and p.stdout.readline() == "won\n"]
    for process in processes.values():
        process.communicate()
    return won


if __name__ == "__main__":
    root, name = sys.argv[1:]
    store = LocalStore(Path(root))
    print("ready", flush=True)
    for line in sys.stdin:
        print("won" if store.create(line.strip(), name.encode()) else "lost", flush=True)
