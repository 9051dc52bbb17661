"""Our programs as processes around one stage: a whole fleet, or embedded commands, in one directory.

Each program has a process group of its own, so that `kill` ends it with everything that it started, as a
node does that loses its power. One more source is installed, `tree` (tests/fakes/tree.py).
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self

from tests.fakes.servers import ROOT

Program = Literal["sharder", "worker", "loader"]

SITE = ROOT / "tests" / "fakes" / "site"  # its sitecustomize.py installs the source
_OURS = ("SHARDER_", "AWS_")


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err


class Fleet:
    """`start` and `sharder` run in `home`, with this machine's environment and what is given."""

    def __init__(self, home: Path, environment: Mapping[str, str] | None = None) -> None:
        self.home = home
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(_OURS)}
        self.environment = {
            **inherited,
            "PYTHONPATH": f"{SITE}{os.pathsep}{ROOT}",
            "NO_COLOR": "1",
            **(environment or {}),
        }
        self.processes: list[subprocess.Popen[str]] = []
        self.within: list[str] = []  # a command that runs ours, in surroundings of its own

    def start(
        self, program: Program, *words: str, code: str = "", **more: str
    ) -> subprocess.Popen[str]:
        """Start a program (or other `code` in its place), with more environment variables.

        What a worker or loader says goes to `home/<program>.log`.
        """
        code = code or f"from {program}.cli import main; main()"
        log: IO[Any] | int = subprocess.PIPE
        if program != "sharder":
            log = (self.home / f"{program}.log").open("ab")
        process = subprocess.Popen(
            [*self.within, sys.executable, "-c", code, *words],
            cwd=self.home,
            env={**self.environment, **more},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        if not isinstance(log, int):
            log.close()
        self.processes.append(process)
        return process

    def run(self, *words: str, **more: str) -> Ended:
        """A `sharder` command, until it ends."""
        return ended(self.start("sharder", *words, **more))

    def sharder(self, *words: str, expect: int = 0) -> Ended:
        """A `sharder` command that must end with this exit code, and without a trace."""
        done = self.run(*words)
        assert done.code == expect, done.said + self.logs()
        assert "Traceback" not in done.said
        return done

    def logs(self) -> str:
        """What workers and loaders have said."""
        return "".join(p.read_text(errors="replace") for p in sorted(self.home.glob("*.log")))

    def stop(self) -> None:
        for process in self.processes:
            kill(process)
            process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def ended(process: subprocess.Popen[str]) -> Ended:
    out, err = process.communicate()
    return Ended(process.returncode, out or "", err or "")


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL for the process and all that it started in its group."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def until(condition: Callable[[], object]) -> None:
    """Poll real processes; the test's own timeout ends what never happens."""
    while not condition():
        select.select([], [], [], 0.01)
