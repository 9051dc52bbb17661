"""Programs that were downloaded: one directory per version and platform, written once, checked at every start.

    plugins/<registry>/<team>/<kind>/<name>/<version>/<os>_<arch>/plugin      the program
                                                                  plugin.json the record, written last

The record has the SHA-256 of the program, or the image that stands for it. A version that is here is used
without asking anybody.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import orjson

from contracts.errors import Permanent, Transient
from contracts.observe.log import event
from contracts.plugin.plugin import Plugin, Surroundings

SETTING = "SHARDER_PLUGIN_CACHE"
_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_CHUNK = 1 << 20
_LOOK_S = 0.2


@dataclass(frozen=True)
class Target:
    """A platform, in the words of Go."""

    os: str
    arch: str

    @classmethod
    def here(cls) -> Target:
        machine = platform.machine().lower()
        return cls(sys.platform.replace("win32", "windows"), _ARCHITECTURES.get(machine, machine))

    @property
    def suffix(self) -> str:
        return ".exe" if self.os == "windows" else ""

    def __str__(self) -> str:
        return f"{self.os}_{self.arch}"


@dataclass(frozen=True)
class Kept:
    """What is kept of a version: a program, or the name of an image."""

    program: Path | None = None
    image: str = ""
    team: str = ""  # that may have the image


@dataclass(frozen=True)
class Slot:
    """The place of one version."""

    directory: Path

    @property
    def program(self) -> Path:
        return self.directory / "plugin"

    @property
    def record(self) -> Path:
        return self.directory / "plugin.json"

    def found(self) -> Kept | None:
        """None if there is nothing, or not what was put there."""
        try:
            facts = orjson.loads(self.record.read_bytes())
            if image := facts.get("image"):
                return Kept(image=image, team=facts.get("team", ""))
            if sha256(self.program) == facts["sha256"]:
                return Kept(self.program)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, KeyError, orjson.JSONDecodeError):
            pass
        event("plugin_cache_damaged", 30, program=self.program)
        return None

    @contextmanager
    def locked(self, cancelled: Callable[[], bool]) -> Iterator[None]:
        """One process at a time fills it. Raises Transient when it is not needed any more."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            lock = (self.directory / "lock").open("ab")
        except OSError as error:
            raise Permanent(
                f"plugins cannot be kept in {self.directory}: {error.strerror}",
                f"set {SETTING} to a directory that this process may write to",
            ) from error
        with lock:
            while not _takes(lock):
                if cancelled():
                    raise Transient(
                        "the plugin was not needed any more while another process fetched it"
                    )
                time.sleep(_LOOK_S)
            yield

    @contextmanager
    def beside(self) -> Iterator[Path]:
        """A temporary directory in the same file system."""
        with tempfile.TemporaryDirectory(dir=self.directory, prefix="fetch-") as path:
            yield Path(path)

    def keep(self, program: Path, facts: Mapping[str, str]) -> Kept:
        """Put a finished program there; a crash in between leaves a slot that is filled again."""
        program.chmod(0o755)
        self._write(
            {**facts, "sha256": sha256(program)}, before=lambda: program.replace(self.program)
        )
        return Kept(self.program)

    def keep_image(self, image: str, team: str) -> Kept:
        self._write({"image": image, "team": team})
        return Kept(image=image, team=team)

    def _write(self, facts: Mapping[str, str], before: Callable[[], object] = lambda: None) -> None:
        fresh = self.directory / f"record-{os.getpid()}"
        fresh.write_bytes(orjson.dumps(facts))
        before()
        fresh.replace(self.record)


def slot(plugin: Plugin, around: Surroundings, target: Target, *names: str) -> Slot:
    """`names`: team, name, of which nobody makes a path that leads elsewhere (they are checked before)."""
    team, name = names
    kind_of_place = (plugin.registry, team, plugin.kind, name, plugin.version, str(target))
    return Slot(home(around).joinpath("plugins", *kind_of_place))


def home(around: Surroundings) -> Path:
    """Where downloads are kept: as the caller says, or the environment, or the user's cache directory."""
    found = around.environment
    if around.home:
        return around.home
    if set_ := found.get(SETTING):
        return Path(set_)
    if cache := found.get("XDG_CACHE_HOME"):
        return Path(cache, "sharder")
    return Path(found["HOME"], ".cache", "sharder") if found.get("HOME") else Path(tempfile.gettempdir(), f"sharder-cache-{os.getuid()}")  # fmt: skip


def sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _takes(lock: IO[bytes]) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
