"""The scripted plugin as a program of its own, for what ends a process. Others start plugins by `contracts.plugin`."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.errors import Permanent, SharderError
from tests.fakes.plugins.server import program


@dataclass
class Started:
    target: str
    process: subprocess.Popen[bytes]

    def death(self) -> SharderError | None:
        code = self.process.poll()
        return None if code is None else Permanent(f"the program ended with {code}")


@contextmanager
def started(script: dict[str, Any]) -> Iterator[Started]:
    """Killed at the end. Its lines go nowhere."""
    with tempfile.TemporaryDirectory(prefix="plugin") as name:
        socket = Path(name) / "x.sock"
        command = [program(Path(name), script), "serve", "--network", "unix", "--address", socket]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield Started(f"unix://{socket}", process)
        finally:
            process.kill()
            process.wait()
