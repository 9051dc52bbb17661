"""The few values that come from the environment. Nothing else in the project reads it,
except the expansion of `${NAME}` in a spec, which is handed the same mapping.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

STAGE = "./.sharder/stage"


@dataclass(frozen=True)
class Settings:
    """`SHARDER_*` variables; empty means: not set, the spec or the default decides."""

    broker: str = ""  # SHARDER_BROKER, redis://… ; empty: embedded
    stage: str = ""  # SHARDER_STAGE, a directory or a bucket (docs/reference/stage.md)
    log_level: str = "info"  # SHARDER_LOG_LEVEL
    log_format: str = "text"  # SHARDER_LOG_FORMAT, or json
    log_file: str = ""  # SHARDER_LOG_FILE, appended to by commands; empty: none
    log_console: bool = False  # SHARDER_LOG_CONSOLE, log lines on stderr instead of a display
    workers: int = 0  # SHARDER_WORKERS, embedded worker processes; 0: as many as cores

    @property
    def stage_url(self) -> str:
        return self.stage or STAGE


_OFF = frozenset({"", "0", "f", "false", "n", "no", "off"})


def is_on(value: str) -> bool:
    """Of a variable that says yes or no."""
    return value.strip().lower() not in _OFF


_LEVELS = {name: name for name in ("debug", "info", "warning", "error", "critical")}
_LEVELS |= {"trace": "debug", "warn": "warning"}  # CloudQuery's


def _level(name: str) -> str:
    """What is no level is the default: a log must not stop a worker."""
    return _LEVELS.get(name.strip().lower(), "info")


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    return Settings(
        broker=environment.get("SHARDER_BROKER", ""),
        stage=environment.get("SHARDER_STAGE", ""),
        log_level=_level(environment.get("SHARDER_LOG_LEVEL", "info")),
        log_format=environment.get("SHARDER_LOG_FORMAT", "text").lower(),
        log_file=environment.get("SHARDER_LOG_FILE", ""),
        log_console=is_on(environment.get("SHARDER_LOG_CONSOLE", "")),
        workers=int(environment.get("SHARDER_WORKERS", "0") or 0),
    )
