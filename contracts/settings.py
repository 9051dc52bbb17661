"""The few values that come from the environment. Nothing else in the project reads it,
except the expansion of `${NAME}` in a spec, which is handed the same mapping.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from contracts import memory
from contracts.errors import InputError
from contracts.units import size_bytes

STAGE = "./.sharder/stage"
PROCESSES = "SHARDER_PROCESSES"
LIMITS_FD = "SHARDER_LIMITS_FD"
_OTLP = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


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
    worker_memory: int = 0  # SHARDER_WORKER_MEMORY, bytes for one process; 0: by the cgroup
    container_memory: int = 0  # SHARDER_CONTAINER_MEMORY, bytes for all; 0: the limit of the cgroup
    processes: int = 1  # SHARDER_PROCESSES, that share the cgroup; set by the programs themselves
    limits_fd: int = -1  # SHARDER_LIMITS_FD, what embedded workers share; set by the program itself
    traces: bool = False  # OTEL_EXPORTER_OTLP_ENDPOINT or …_TRACES_ENDPOINT is set

    def cap_bytes(self, processes: int = 0) -> int:
        """Memory that one process may have; 0: no limit."""
        return memory.cap_bytes(
            self.worker_memory, processes or self.processes, self.container_memory
        )

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
        worker_memory=_size("SHARDER_WORKER_MEMORY", environment),
        container_memory=_size("SHARDER_CONTAINER_MEMORY", environment),
        processes=int(environment.get(PROCESSES, "1") or 1),
        limits_fd=int(environment.get(LIMITS_FD, "-1") or -1),
        traces=any(environment.get(name) for name in _OTLP)
        and not is_on(environment.get("OTEL_SDK_DISABLED", "")),
    )


def _size(name: str, environment: Mapping[str, str]) -> int:
    """Raises InputError for what is no size: a limit that is not kept is worse than none."""
    try:
        return size_bytes(environment.get(name, "") or 0)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from error
