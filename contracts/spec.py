"""The documents of a spec as models: source, destination, transformer and fleet.

Only the outer fields are known here. The nested `spec` of a source or destination belongs to its
plugin and is validated by the plugin's own model; file and line of every message come from `specfile`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

WriteMode = Literal["overwrite-delete-stale", "overwrite", "append"]
MigrateMode = Literal["safe", "forced"]
PkMode = Literal["default", "cq-id-only"]
Registry = Literal["cloudquery", "github", "local", "grpc", "docker", "python"]

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*((?:[kmgt]i?)?b?)\s*", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def size_bytes(value: Any) -> int:
    """`128MiB`, `5 MB`, `1024` → bytes; binary with `i`, decimal without. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise ValueError(f"not a size: {value!r}; write for example 128MiB")
    unit = match[2].lower().removesuffix("b")
    base = 1024 if unit.endswith("i") else 1000
    number = float(match[1]) * base ** ("kmgt".index(unit[0]) + 1 if unit else 0)
    if not math.isfinite(number):
        raise ValueError(f"too large a size: {value[:20]}…")
    return int(number)


def seconds(value: Any) -> float:
    """`90`, `20m`, `1h30m`, `7d` → seconds. Raises ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _finite(value)
    found = _DURATION.findall(value) if isinstance(value, str) else []
    if found and "".join(n + u for n, u in found) == value.strip():
        return _finite(sum(float(n) * _SECONDS[u] for n, u in found))
    raise ValueError(f"not a duration: {value!r}; write for example 90s, 20m or 7d")


def per_second(value: Any) -> float:
    """`20/s`, `100/m`, `5` → calls per second. Raises ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _finite(value)
    match = (
        re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*/\s*(s|m|h)\s*", value)
        if isinstance(value, str)
        else None
    )
    if not match:
        raise ValueError(f"not a rate: {value!r}; write for example 20/s")
    return _finite(float(match[1]) / _SECONDS[match[2]])


def _finite(value: float) -> float:
    if not 0 <= value < 1e15:
        raise ValueError(f"out of range: {value!s:.20}")
    return float(value)


def _none_is_empty(value: Any) -> Any:
    return {} if value is None else value


Size = Annotated[int, BeforeValidator(size_bytes)]
Seconds = Annotated[float, BeforeValidator(seconds)]
Rate = Annotated[float, BeforeValidator(per_second)]
Nested = Annotated[Mapping[str, Any], BeforeValidator(_none_is_empty)]


class Model(BaseModel):
    """Frozen; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Plugin(Model):
    """Fields common to source, destination and transformer."""

    kind: ClassVar[str]

    name: str = Field(min_length=1, description="Unique per kind over all files")
    path: str = Field(min_length=1, description="Which plugin, for example `cloudquery/aws`")
    registry: Registry = "cloudquery"
    version: str = Field(
        "", description="Accepted for CloudQuery's sake; native plugins have one version"
    )
    docker_registry_auth_token: str = ""
    spec: Nested = Field(default={}, description="The plugin's own options")

    @property
    def plugin(self) -> str:
        """The last part of the path: `cloudquery/aws` → `aws`."""
        return self.path.rsplit("/", 1)[-1]


class BackendOptions(Model):
    """Where the cursors of incremental tables live; `connection` names a destination."""

    table_name: str = Field(min_length=1)
    connection: str = Field(min_length=1, description="`@@plugins.NAME.connection`")

    @property
    def destination(self) -> str:
        """NAME of `@@plugins.NAME.connection`; empty if it has another form."""
        match = re.fullmatch(r"@@plugins\.(.+)\.connection", self.connection)
        return match[1] if match else ""


class Source(Plugin):
    """kind: source."""

    kind: ClassVar[str] = "source"

    tables: tuple[str, ...] = Field(min_length=1, description="Globs; only `*` is special")
    skip_tables: tuple[str, ...] = ()
    skip_dependent_tables: bool = True
    destinations: tuple[str, ...] = Field(min_length=1)
    backend_options: BackendOptions | None = None
    deterministic_cq_id: bool = False
    otel_endpoint: str = ""
    otel_endpoint_insecure: bool = False


class Destination(Plugin):
    """kind: destination."""

    kind: ClassVar[str] = "destination"

    write_mode: WriteMode = "overwrite-delete-stale"
    migrate_mode: MigrateMode = "safe"
    pk_mode: PkMode = "default"
    sync_group_id: str = ""
    send_sync_summary: bool = False
    transformers: tuple[str, ...] = ()


class Transformer(Plugin):
    """kind: transformer."""

    kind: ClassVar[str] = "transformer"


class SourceLimits(Model):
    """kind: fleet, `sources.NAME`."""

    max_clients_in_flight: int = Field(0, ge=0)
    rate_limit: Rate = 0.0
    timeout: Seconds = 0.0
    attempts: int = Field(0, ge=0, description="0: as the fleet says")
    queue: str = ""


class Fleet(Model):
    """kind: fleet. Everything has a default; the environment and flags override it."""

    kind: ClassVar[str] = "fleet"

    stage: str = ""
    broker: str = ""
    format: Literal["parquet", "csv"] = "parquet"
    part_size: Size = Field(128 << 20, ge=1 << 16)
    shard_seconds: Seconds = Field(60.0, gt=0)
    keep: Seconds = 7 * 86400.0
    deadline: Seconds = 0.0
    attempts: int = Field(
        3, ge=1, description="Attempts per shard before it is committed as failed"
    )
    sources: Mapping[str, SourceLimits] = {}


class Spec(BaseModel):
    """All documents of one command, in the order of the files."""

    model_config = ConfigDict(frozen=True)

    sources: tuple[Source, ...] = ()
    destinations: tuple[Destination, ...] = ()
    transformers: tuple[Transformer, ...] = ()
    fleet: Fleet = Fleet()
    warnings: tuple[str, ...] = ()

    def source(self, name: str) -> Source:
        return next(s for s in self.sources if s.name == name)

    def destination(self, name: str) -> Destination:
        return next(d for d in self.destinations if d.name == name)
