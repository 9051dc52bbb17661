"""Which sources there are: name → module, model of the options, and the extra that brings its library.

A document names one that is built in, somebody's own Python code, or a program that is a plugin.

Nothing is imported before it is asked for; a source's options can be read without its library.
A name with a colon is `module:factory`, a source of somebody else's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from contracts.errors import InputError, missing_extra
from contracts.spec import Source as SourceSpec
from contracts.specfile import nearest
from contracts.specfile.validate import fold
from worker.sources import python

if TYPE_CHECKING:
    from worker.sources.base import Context, Source


@dataclass(frozen=True)
class Entry:
    """A module with `open(spec, context)`, and the module of its `Options`. `needs`: (package, extra).

    team: the first part of its path, besides `cloudquery` and none.
    static: its tables are known without a connection, credentials or files.
    """

    module: str
    options: str
    needs: Mapping[str, str]
    team: str = "sharder"
    static: bool = False


_SQL = Entry(
    "worker.sources.sql",
    "worker.sources.sql.options",
    {
        "adbc_driver_manager": "sql",
        "adbc_driver_postgresql": "sql",
        "adbc_driver_sqlite": "sql",
    },
)

ENTRIES: Mapping[str, Entry] = {
    "aws": Entry(
        "worker.sources.aws",
        "worker.sources.aws.options",
        {"boto3": "aws", "botocore": "aws"},
        static=True,
    ),
    "file": Entry("worker.sources.file", "worker.sources.file.options", {"obstore": "s3"}),
    "hackernews": Entry(
        "worker.sources.hackernews", "worker.sources.hackernews.options", {}, static=True
    ),
    "sql": _SQL,
}


def names() -> list[str]:
    return sorted(ENTRIES)


def entry(plugin: str) -> Entry:
    """Raises InputError for a plugin that is not there, with the nearest name."""
    try:
        return ENTRIES[plugin]
    except KeyError:
        near = nearest(plugin, ENTRIES)
        meant = f"did you mean '{near}'? " if near else ""
        raise InputError(
            f"there is no source plugin '{plugin}'", f"{meant}there are: {', '.join(names())}"
        ) from None


def options(plugin: str) -> type[BaseModel]:
    """The model of the nested spec."""
    if ":" in plugin:
        return python.options(plugin)
    model: type[BaseModel] = import_module(entry(plugin).options).Options
    return model


def open_source(plugin: str, spec: Mapping[str, Any], context: Context) -> Source:
    """The source, ready to be asked. Raises InputError (and MissingExtra) and what the source raises."""
    if ":" in plugin:
        return python.open(plugin, spec, context)
    found = entry(plugin)
    try:
        source: Source = import_module(found.module).open(spec, context)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in found.needs:
            raise
        raise missing_extra(package, found.needs[package], f"the source '{plugin}'") from error
    return source


Home = Literal["built in", "python", "plugin"]


def home(document: SourceSpec) -> Home:
    """Where the code of a source is. What CloudQuery publishes and we have built in is ours."""
    if document.registry == "python":
        return "python"
    if document.registry in {"local", "grpc", "docker"}:
        return "plugin"
    known = ENTRIES.get(document.plugin)
    if document.team in {"", "sharder"} or (known and document.team in {"cloudquery", known.team}):
        return "built in"
    # The Hub has no plugin without a version, so that a misspelt one of ours is still told.
    return "plugin" if document.version or document.team != "cloudquery" else "built in"


def options_of(document: SourceSpec) -> type[BaseModel] | None:
    """The model of the nested spec of a document; None if it is known to the program alone.

    Raises InputError for a source that is not there.
    """
    return None if home(document) == "plugin" else options(_name(document))


def open_document(document: SourceSpec, context: Context) -> Source:
    """The source of a document, ready to be asked. Raises what `open_source` raises."""
    if home(document) == "plugin":
        from worker.sources import plugin

        return plugin.open(document, context)
    name = _name(document)
    return open_source(name, fold(options(name), document.spec), context)


def _name(document: SourceSpec) -> str:
    return document.path if home(document) == "python" else document.plugin
