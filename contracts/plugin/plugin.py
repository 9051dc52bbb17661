"""Which program a document of a spec names, and what is around it when it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from contracts import spec
from contracts.spec import PluginSettings, Registry

Kind = Literal["source", "destination", "transformer"]

_USUAL = PluginSettings()


def never() -> bool:
    return False


@dataclass(frozen=True)
class Plugin:
    """`path` is what the registry makes of it: `cloudquery/aws`, a command, `host:port`, an image."""

    kind: Kind
    name: str
    path: str
    registry: Registry
    version: str = ""
    docker_token: str = ""  # base64 of {"username": …, "password": …}
    settings: PluginSettings = _USUAL

    @classmethod
    def of(cls, model: spec.Plugin, settings: PluginSettings | None = None) -> Plugin:
        """The program of a document. `settings`: what `kind: fleet` says under `plugins.NAME`."""
        return cls(
            cast("Kind", type(model).kind),
            model.name,
            model.path,
            model.registry,
            model.version,
            model.docker_registry_auth_token,
            settings or _USUAL,
        )

    def __str__(self) -> str:
        version = f" {self.version}" if self.version else ""
        return f"{self.kind} '{self.name}' (registry {self.registry}: {self.path}{version})"


@dataclass(frozen=True)
class Surroundings:
    """What a program is given by whoever starts it.

    `environment` is that of this process; what the program gets of it is chosen in `environment.chosen`.
    `masked` takes secrets out of a text. `cancelled` ends a start that takes long. `home` holds the cache
    of downloaded plugins. `memory_bytes` is what this process and its programs may have together, 0: no
    limit; it counts where the settings of the plugin name no limit of its own. `level` is what the program
    is told to log from.
    """

    environment: Mapping[str, str]
    masked: Callable[[str], str] = str
    cancelled: Callable[[], bool] = never
    home: Path | None = None
    memory_bytes: int = 0
    level: Literal["debug", "info", "warn", "error"] = "info"
