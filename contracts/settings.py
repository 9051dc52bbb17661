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
    stage: str = ""  # SHARDER_STAGE, a directory or s3://bucket/prefix
    log_level: str = "info"  # SHARDER_LOG_LEVEL
    workers: int = 0  # SHARDER_WORKERS, embedded worker processes; 0: as many as cores

    @property
    def stage_url(self) -> str:
        return self.stage or STAGE


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    return Settings(
        broker=environment.get("SHARDER_BROKER", ""),
        stage=environment.get("SHARDER_STAGE", ""),
        log_level=environment.get("SHARDER_LOG_LEVEL", "info").lower(),
        workers=int(environment.get("SHARDER_WORKERS", "0") or 0),
    )
