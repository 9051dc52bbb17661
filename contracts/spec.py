"""The documents of a spec as models: source, destination, transformer and fleet.

Only the outer fields are known here. The nested `spec` of a source or destination belongs to its
plugin and is validated by the plugin's own model; file and line of every message come from `specfile`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, WithJsonSchema

from contracts.units import size_bytes

WriteMode = Literal["overwrite-delete-stale", "overwrite", "append"]
MigrateMode = Literal["safe", "forced"]
PkMode = Literal["default", "cq-id-only"]
Registry = Literal["cloudquery", "github", "local", "grpc", "docker", "python"]
Runtime = Literal["auto", "go", "python", "javascript", "java"]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


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


def _or_text(pattern: str, *examples: str) -> WithJsonSchema:
    """What an editor accepts: the number, or the number in words."""
    text = {"type": "string", "pattern": pattern, "examples": list(examples)}
    return WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, text]})


Size = Annotated[
    int,
    BeforeValidator(size_bytes),
    _or_text(r"^\s*\d+(\.\d+)?\s*([kKmMgGtT][iI]?)?[bB]?\s*$", "128MiB", "5MB"),
]
Seconds = Annotated[
    float,
    BeforeValidator(seconds),
    _or_text(r"^(\d+(\.\d+)?(ms|s|m|h|d|w))+$", "90s", "20m", "1h30m", "7d"),
]
Rate = Annotated[
    float, BeforeValidator(per_second), _or_text(r"^\s*\d+(\.\d+)?\s*/\s*[smh]\s*$", "20/s")
]
Nested = Annotated[Mapping[str, Any], BeforeValidator(_none_is_empty)]


class Model(BaseModel):
    """Frozen; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Plugin(Model):
    """Fields common to source, destination and transformer."""

    kind: ClassVar[str]

    name: str = Field(
        min_length=1, description="What other documents call it; unique per kind over all files"
    )
    path: str = Field(
        min_length=1,
        description="Which plugin: `cloudquery/aws`. For other registries: `org/repo` (github), a program (local),"
        " `host:port` (grpc), an image (docker)",
    )
    registry: Registry = Field("cloudquery", description="Where the plugin comes from")
    version: str = Field(
        "",
        description="`v1.2.3`. Accepted for CloudQuery's sake: built-in plugins come with the release; other"
        " registries than `cloudquery` and `github` ignore it",
    )
    docker_registry_auth_token: str = Field(
        "", description="For `registry: docker`: base64 of a JSON with user name and password"
    )
    spec: Nested = Field(default={}, description="The plugin's own options")

    @property
    def plugin(self) -> str:
        """The last part of the path: `cloudquery/aws` → `aws`."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def team(self) -> str:
        """The first part of a hub path: `cloudquery/aws` → `cloudquery`; empty for `aws`."""
        return self.path.rpartition("/")[0]


class BackendOptions(Model):
    """Where the cursors of incremental tables live; `connection` names a destination."""

    table_name: str = Field(
        min_length=1, description="The table of the cursors; it is made if it is missing"
    )
    connection: str = Field(min_length=1, description="`@@plugins.NAME.connection`")

    @property
    def destination(self) -> str:
        """NAME of `@@plugins.NAME.connection`; empty if it has another form."""
        match = re.fullmatch(r"@@plugins\.(.+)\.connection", self.connection)
        return match[1] if match else ""


class Source(Plugin):
    """kind: source."""

    kind: ClassVar[str] = "source"

    tables: tuple[str, ...] = Field(
        min_length=1, description="Tables to read; only `*` is special. Each must match something"
    )
    skip_tables: tuple[str, ...] = Field(
        (), description="Tables left out, with all below them; wins over `tables`"
    )
    skip_dependent_tables: StrictBool = Field(
        True,
        description="true: child tables come only if `tables` matches them; false: all below the matched ones",
    )
    destinations: tuple[str, ...] = Field(
        min_length=1, description="Names of the destinations that get the rows"
    )
    backend_options: BackendOptions | None = Field(
        None,
        description="Where the cursors of incremental tables live; without it every run is full",
    )
    deterministic_cq_id: StrictBool = Field(
        False, description="`_cq_id` is worked out from the key instead of at random"
    )
    otel_endpoint: str = Field(
        "",
        description="`host:port` of an OpenTelemetry collector (OTLP over HTTP), which gets the traces of this source",
    )
    otel_endpoint_insecure: StrictBool = Field(
        False, description="The collector of `otel_endpoint` speaks HTTP without TLS"
    )


class Destination(Plugin):
    """kind: destination."""

    kind: ClassVar[str] = "destination"

    write_mode: WriteMode = Field(
        "overwrite-delete-stale",
        description="`append`; `overwrite` by key; or that, and delete what the source no longer has",
    )
    migrate_mode: MigrateMode = Field(
        "safe", description="`forced` builds a table anew where its change cannot be made in place"
    )
    pk_mode: PkMode = Field(
        "default", description="`cq-id-only`: `_cq_id` is the only key of every table"
    )
    sync_group_id: str = Field(
        "",
        description="Written to `_cq_sync_group_id`; may hold {{YEAR}} {{MONTH}} {{DAY}} {{HOUR}} {{MINUTE}}"
        " {{SYNC_ID}}. Not with overwrite-delete-stale",
    )
    send_sync_summary: StrictBool = Field(
        False, description="One row per run in the table `cloudquery_sync_summaries`"
    )
    transformers: tuple[str, ...] = Field(
        (),
        description="Names of transformers; they run in the order in which the files declare them",
    )


class Transformer(Plugin):
    """kind: transformer."""

    kind: ClassVar[str] = "transformer"


class SourceLimits(Model):
    """kind: fleet, `sources.NAME`."""

    max_clients_in_flight: int = Field(
        0,
        ge=0,
        description="Clients that are read at once, over all workers; 0: as the source has it",
    )
    rate_limit: Rate = Field(
        0.0,
        description="Calls per client and service, over all workers: `20/s`; 0: as the source has it",
    )
    timeout: Seconds = Field(
        0.0, description="Longest time for one attempt; 0: `shard_timeout` of the fleet"
    )
    attempts: int = Field(0, ge=0, description="Attempts per shard; 0: as the fleet says")


class PluginSettings(Model):
    """kind: fleet, `plugins.NAME`: how the program of a source, destination or transformer is run."""

    runtime: Runtime = Field(
        "auto",
        description="What the program is written with, which decides how it is started; `auto`: found out",
    )
    environment: tuple[str, ...] = Field(
        (),
        description="Variables that the program gets besides the usual ones; `*` stands for anything",
    )
    memory: Size = Field(
        0,
        description="Most memory of the program and its children; 0: what is left of the worker's",
    )
    start_timeout: Seconds = Field(
        60.0, gt=0, description="How long the program may take until it answers"
    )
    idle_timeout: Seconds = Field(
        600.0,
        gt=0,
        description="Longest time in which the program sends no message and logs no line, before it is ended",
    )
    logged_errors: Literal["fail", "warn"] = Field(
        "fail",
        description="What an error is that the program only logs: its table has failed, or a warning."
        " Some programs leave rows out and say so nowhere else",
    )
    clients: str = Field(
        "",
        description="Where the clients stand in the options of a source: `accounts[].id`, `project_ids[]`;"
        " `none`: it is never split by client. Well-known plugins need nothing",
    )
    shards: int = Field(
        1,
        ge=1,
        description="Parts into which the program itself splits a table, if it is known to keep to"
        " the protocol's `shard`",
    )


class Fleet(Model):
    """kind: fleet. Everything has a default; the environment and flags override it."""

    kind: ClassVar[str] = "fleet"

    stage: str = Field(
        "", description="Where runs live: a path or `s3://bucket/prefix`; default: ./.sharder/stage"
    )
    broker: str = Field(
        "", description="`redis://host:6379/0`; default: embedded, on this machine alone"
    )
    format: Literal["parquet", "csv"] = Field("parquet", description="Of the files on the stage")
    part_size: Size = Field(128 << 20, ge=1 << 16, description="Size at which a new file begins")
    shard_seconds: Seconds = Field(60.0, gt=0, description="Duration that a shard is packed for")
    keep: Seconds = Field(7 * 86400.0, description="How long closed runs stay on the stage")
    shard_timeout: Seconds = Field(
        3600.0,
        gt=0,
        description="Longest time for one attempt at a shard, where the source has no `timeout` of its own",
    )
    deadline: Seconds = Field(
        0.0, description="Longest time for a run; what is unfinished then fails. 0: none"
    )
    attempts: int = Field(
        3, ge=1, description="Attempts per shard before it is committed as failed"
    )
    sources: Mapping[str, SourceLimits] = Field({}, description="Limits by the name of a source")
    plugins: Mapping[str, PluginSettings] = Field(
        {},
        description="How the programs of plugins are run, by the name of a source, destination or transformer",
    )


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
