"""What one document says that means something else, or nothing, to CloudQuery or to us.

Nothing here refuses a document that CloudQuery accepts, except for a path that names no plugin.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from contracts.spec import Destination, Plugin, Source
from contracts.specfile.document import SpecDocument
from contracts.specfile.validate import Path

_HUB = frozenset({"cloudquery", "github"})
_TEAMS = frozenset({"", "cloudquery", "sharder"})  # whose plugins may be built in
_FILES = frozenset({"s3", "file", "gcs", "azblob", "csv"})  # destinations that hold files
_CONNECTION: Path = ("spec", "backend_options", "connection")
_GROUP: Path = ("spec", "sync_group_id")
_PLACEHOLDER = re.compile(r"\{\{([^{}]*)\}\}")
_IN_GROUPS = frozenset({"YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SYNC_ID"})
_TIMES = frozenset({"now", "time", "date", "today", "year", "month", "day", "hour", "minute"})


def surprises(document: SpecDocument) -> Iterator[str]:
    """Warnings about one document. Raises InputError for a plugin's path that cannot be one."""
    model = document.model
    if isinstance(model, Plugin):
        yield from _plugin(document, model)
    if isinstance(model, Source):
        yield from _source(document, model)
    if isinstance(model, Destination):
        yield from _destination(document, model)
    for path, value in _leaves(document.parsed.value, ()):
        yield from _value(document, path, value)


def _plugin(document: SpecDocument, model: Plugin) -> Iterator[str]:
    version = ("spec", "version")
    if model.registry in _HUB:
        _hub_path(document, model)
        # A missing version is accepted, unlike by CloudQuery: our own plugins come with the release.
        if model.version and not model.version.startswith("v"):
            message = f"the version of {document.what} must start with v"
            raise document.error(message, f"write version: v{model.version}", version)
    elif model.version:
        yield document.warning(f"`registry: {model.registry}` ignores the version", version)
    if model.registry == "github":
        message = "`registry: github` is deprecated; write cloudquery"
        yield document.warning(message, ("spec", "registry"))
    if model.registry == "grpc" and ":" not in model.path:
        message = f"the path of {document.what} must be the address of a running plugin"
        raise document.error(message, "write path: host:port", ("spec", "path"))
    if model.docker_registry_auth_token and model.registry != "docker":
        message = "`docker_registry_auth_token` is read with `registry: docker` only"
        yield document.warning(message, ("spec", "docker_registry_auth_token"))


def _hub_path(document: SpecDocument, model: Plugin) -> None:
    parts = model.path.split("/")
    short = len(parts) == 1 and model.registry == "cloudquery"  # one of our own: `path: sql`
    if all(parts) and "." not in parts[0] and ":" not in model.path and (short or len(parts) == 2):
        return
    form = "org/repo" if model.registry == "github" else "team/plugin"
    hint = f"write path: cloudquery/{parts[-1] or document.name}"
    if model.path.startswith((".", "/")):
        hint = "a program on this machine needs `registry: local`"
    elif re.fullmatch(r"[^/]+:\d+", model.path):
        hint = "a running plugin needs `registry: grpc`"
    elif len(parts) > 2 or ":" in model.path:
        hint = "an image needs `registry: docker`"
    raise document.error(f"the path of {document.what} is not {form}", hint, ("spec", "path"))


def _source(document: SpecDocument, source: Source) -> Iterator[str]:
    tables: Path = ("spec", "tables")
    if "*" in source.tables and len(source.tables) > 1:
        yield document.warning("'*' selects every table; the other patterns add none", tables)
    explicit = "skip_dependent_tables" in source.model_fields_set and source.skip_dependent_tables
    if explicit and any("*" in pattern for pattern in source.tables):
        message = "`skip_dependent_tables: true` does not keep out child tables that a `*` matches"
        yield document.warning(message, ("spec", "skip_dependent_tables"))


def _destination(document: SpecDocument, destination: Destination) -> Iterator[str]:
    ours = destination.registry in _HUB and destination.team in _TEAMS
    if ours and destination.plugin in _FILES:
        explicit = "write_mode" in destination.model_fields_set
        path: Path = ("spec", "write_mode") if explicit else ("spec", "path")
        if destination.write_mode == "overwrite-delete-stale":
            how = "`write_mode: overwrite-delete-stale`" if explicit else "the default `write_mode`"
            yield document.warning(
                f"CloudQuery writes all files and then fails with {how}; here they are appended."
                " Write write_mode: append",
                path,
            )
        elif destination.write_mode == "overwrite":
            message = (
                "files are never overwritten by key; rows are appended. Write write_mode: append"
            )
            yield document.warning(message, path)
    for match in _PLACEHOLDER.finditer(destination.sync_group_id):
        if match[1] not in _IN_GROUPS:
            known = " ".join(f"{{{{{name}}}}}" for name in sorted(_IN_GROUPS))
            yield document.warning(f"{match[0]} stays as it is; there are {known}", _GROUP)


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """Every list and scalar below a value with its path, keys in lower case."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key.lower()))
        return
    yield path, value
    if isinstance(value, list):
        for n, inner in enumerate(value):
            yield from _leaves(inner, (*path, n))


def _value(document: SpecDocument, path: Path, value: Any) -> Iterator[str]:
    if isinstance(value, list) and None in value and any(isinstance(v, str) for v in value):
        yield document.warning(
            "an empty entry of this list is read as an empty text", (*path, value.index(None))
        )
    if not isinstance(value, str):
        return
    if "@@plugins." in value and (document.kind, path) != ("source", _CONNECTION):
        message = "`@@plugins.` is filled in at `backend_options.connection` of a source only"
        yield document.warning(message, path)
    if path == _GROUP or "{{" not in value:
        return
    for match in _PLACEHOLDER.finditer(value):
        name = match[1].strip().lstrip(".").split("(")[0]
        # A destination's own options have placeholders of their own, in capitals.
        ours = name.isupper() and document.kind == "destination"
        if name.lower() in _TIMES and not ours:
            yield document.warning(f"{match[0]} stays as it is; write ${{time:now}}", path)
