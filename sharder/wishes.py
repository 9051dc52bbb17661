"""What the command line asks for, over what the environment says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from contracts import settings
from contracts.errors import InputError
from contracts.settings import Settings
from sharder.deal import Part


@dataclass(frozen=True)
class Wishes:
    """Empty means that spec and environment decide. `deadline` is in seconds; `part` is `--shard`."""

    stage: str = ""
    broker: str = ""
    workers: int | None = None
    deadline: float | None = None
    full_refresh: tuple[str, ...] = ()
    migrate: bool = True
    part: Part | None = None
    run_id: str = ""
    summary_location: str = ""
    tables_metrics_location: str = ""
    detach: bool = False
    sources: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()

    def asked(self) -> Mapping[str, tuple[str, ...]]:
        """The flags that shape what a run does, by name: another run id is needed for others."""
        found: Mapping[str, tuple[str, ...]] = {
            "--source": self.sources,
            "--table": self.tables,
            "--client": self.clients,
            "--full-refresh": self.full_refresh,
            "--deadline": () if self.deadline is None else (f"{self.deadline:g}s",),
            "--no-migrate": () if self.migrate else ("",),
        }
        return {flag: values for flag, values in found.items() if values}

    def over(self, environment: Mapping[str, str]) -> Settings:
        """These wishes, and where they are silent the environment. Raises InputError."""
        try:
            base = settings.from_environment(environment)
        except ValueError as error:
            given = environment.get("SHARDER_WORKERS", "")
            raise InputError(f"SHARDER_WORKERS must be a number, not {given!r}") from error
        return replace(
            base,
            stage=self.stage or base.stage,
            broker=self.broker or base.broker,
            workers=self.workers or base.workers,
        )


def now() -> datetime:
    return datetime.now(UTC)
