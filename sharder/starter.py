"""A first spec for a source and a destination: what must be asked, and the text that is written.

Options that need no answer stand in the text as comments, made from the models of the plugins, so that
they are never out of date. Secrets are never written: only the name of the variable that holds them is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

import orjson
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from loader.warehouses import registry as warehouses
from worker.sources import registry as sources

Kind = Literal["source", "destination"]

_COMMON = 6  # options per plugin that are shown as comments
_WIDTH = 100
# Of these CloudQuery has a plugin of the same name and options.
_CLOUDQUERY = frozenset({"aws", "hackernews"})
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN = re.compile(r"[A-Za-z_./*][A-Za-z0-9_./*-]*")
_RESERVED = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


@dataclass(frozen=True)
class Question:
    """A required option. Of a `secret` one the default and the answer are names of variables."""

    key: str
    ask: str
    default: str
    secret: bool = False


@dataclass(frozen=True)
class Choice:
    """What was chosen: a plugin and the answers to its questions."""

    kind: Kind
    plugin: str
    answers: Mapping[str, str]


_PATH = Question("path", "Template of the files' names", "{{TABLE}}/{{UUID}}.{{FORMAT}}")
_FORMAT = Question("format", "Format of the files (parquet, csv, json)", "parquet")
_BUCKET = Question("bucket", "Name of the bucket", "my-bucket")

# Where a plugin's model does not say enough: what it needs together, and a default that works.
_QUESTIONS: Mapping[tuple[Kind, str], tuple[Question, ...]] = {
    ("source", "file"): (Question("path", "File, directory or glob to read", "data/*.csv"),),
    ("source", "sql"): (
        Question(
            "connection_string", "Variable with the database's URL or path", "SQL_CONNECTION_STRING", secret=True
        ),
    ),
    ("destination", "duckdb"): (
        Question("connection_string", "Path of the database file", "./warehouse.duckdb"),
    ),
    ("destination", "postgresql"): (
        Question(
            "connection_string", "Variable with the URL of the database", "POSTGRESQL_CONNECTION_STRING", secret=True
        ),
    ),
    ("destination", "s3"): (_BUCKET, Question("region", "Its region", "us-east-1"), _PATH, _FORMAT),
    ("destination", "gcs"): (_BUCKET, _PATH, _FORMAT),
    ("destination", "azblob"): (
        Question("storage_account", "Name of the storage account", "mystorageaccount"),
        Question("container", "Name of the container", "my-container"),
        _PATH, _FORMAT,
    ),
    ("destination", "file"): (
        Question("path", _PATH.ask, f"./files/{_PATH.default}"), _FORMAT,
    ),
    ("destination", "csv"): (Question("path", _PATH.ask, f"./files/{_PATH.default}"),),
}  # fmt: skip
_TABLES: Mapping[str, tuple[str, ...]] = {
    "aws": ("aws_ec2_instances", "aws_iam_users", "aws_s3_buckets"),
}


def plugins(kind: Kind) -> list[str]:
    return sorted(sources.names() if kind == "source" else warehouses.names())


def model_of(kind: Kind, plugin: str) -> type[BaseModel]:
    """Raises InputError for an unknown plugin, with the nearest name."""
    return sources.options(plugin) if kind == "source" else warehouses.options(plugin)


def tables_of(plugin: str) -> tuple[str, ...]:
    """The tables that a first spec selects."""
    return _TABLES.get(plugin, ("*",))


def questions(kind: Kind, plugin: str) -> tuple[Question, ...]:
    """What the plugin cannot do without; of one that is not listed here, the model's required fields."""
    if (kind, plugin) in _QUESTIONS:
        return _QUESTIONS[kind, plugin]
    fields = model_of(kind, plugin).model_fields
    return tuple(
        _question(plugin, f.alias or name, f) for name, f in fields.items() if f.is_required()
    )


def _question(plugin: str, key: str, field: FieldInfo) -> Question:
    if _marked(field, "secret"):
        return Question(key, f"Variable with {key}", f"{plugin}_{key}".upper(), secret=True)
    literal = get_origin(field.annotation) is Literal
    default = str(get_args(field.annotation)[0]) if literal else f"my-{key.replace('_', '-')}"
    return Question(key, field.description or key, default)


def default(kind: Kind, plugin: str) -> Choice:
    return Choice(kind, plugin, {q.key: q.default for q in questions(kind, plugin)})


def is_variable(text: str) -> bool:
    """Whether a text is the name of a variable: what else is typed may be the secret itself."""
    return bool(_VARIABLE.fullmatch(text))


def variables(choices: Sequence[Choice]) -> Iterator[tuple[str, str]]:
    """(name, what it holds) of the variables that must be set before the spec can run."""
    for choice in choices:
        for q in questions(choice.kind, choice.plugin):
            if q.secret:
                yield choice.answers[q.key], f"{q.key} of the {choice.kind} {choice.plugin}"


def file_name(source: str, destination: str) -> str:
    """CloudQuery's name for it, with our suffix."""
    return f"{source}_to_{destination}.yml"


def spec(source: Choice, destination: Choice, tables: Sequence[str]) -> str:
    """The text of the spec: two documents, with comments."""
    # Two plugins of one name are still a source and a destination: names are unique per kind.
    name = destination.plugin
    body = [
        "kind: source",
        "spec:",
        f"  name: {source.plugin}",
        f"  path: {_path(source)}",
        f"  tables: [{', '.join(map(_value, tables))}]",
        "  # skip_tables: []",
        f"  destinations: [{name}]",
        *_state(source, destination),
        *_options(source),
        "---",
        "kind: destination",
        "spec:",
        f"  name: {name}",
        f"  path: {_path(destination)}",
        *_write_mode(destination),
        "  # migrate_mode: safe  # or forced: rebuild a table whose columns changed their types",
        *_options(destination),
    ]
    return "\n".join(body) + "\n"


def _path(choice: Choice) -> str:
    ours = choice.kind == "source" and choice.plugin not in _CLOUDQUERY
    return f"{'sharder' if ours else 'cloudquery'}/{choice.plugin}"


def _lands(choice: Choice) -> bool:
    return warehouses.traits(choice.plugin).lands


def _write_mode(destination: Choice) -> Iterator[str]:
    if _lands(destination):
        yield "  write_mode: overwrite-delete-stale  # or overwrite, append"
    else:
        yield "  write_mode: append  # files are only ever added"


def _state(source: Choice, destination: Choice) -> Iterator[str]:
    """Where cursors live: written where the source has incremental tables and the destination can keep them."""
    if source.plugin not in ("hackernews", "sql") or not _lands(destination):
        return
    yield "  # Incremental tables go on where the last run ended:"
    yield "  backend_options:"
    yield f"    table_name: cq_state_{source.plugin}"
    yield f'    connection: "@@plugins.{destination.plugin}.connection"'


def _options(choice: Choice) -> Iterator[str]:
    asked = {q.key: q for q in questions(choice.kind, choice.plugin)}
    lines = [
        f"    {key}: ${{{answer}}}" if asked[key].secret else f"    {key}: {_value(answer)}"
        for key, answer in choice.answers.items()
    ]
    # Without a value it is an empty mapping, into which a comment can be turned into an option.
    yield "  spec:"
    yield from lines
    yield from _comments(choice, set(asked))


def _comments(choice: Choice, asked: set[str]) -> Iterator[str]:
    """The first options that have a default worth showing, each below a sentence about it."""
    shown = 0
    for name, field in model_of(choice.kind, choice.plugin).model_fields.items():
        key, about = field.alias or name, field.description or ""
        value = field.get_default(call_default_factory=True) if not field.is_required() else None
        if key in asked or not about or shown == _COMMON or not _worth(field, value):
            continue
        shown += 1
        text = f"    # {' '.join(about.split())}"
        yield text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1].rsplit(' ', 1)[0]} …"
        yield f"    # {key}: {_plain(value)}"


def _worth(field: FieldInfo, value: Any) -> bool:
    about = field.description or ""
    if about.startswith(("Accepted", "Not ", "Old place")) or _marked(field, "moot"):
        return False
    if _marked(field, "secret") or value is PydanticUndefined:
        return False
    return isinstance(value, bool | int | float | str | list | tuple)


def _marked(field: FieldInfo, mark: str) -> bool:
    extra = field.json_schema_extra
    return isinstance(extra, Mapping) and bool(extra.get(mark))


def _plain(value: Any) -> str:
    return _value(value) if isinstance(value, str) else orjson.dumps(value).decode()


def _value(text: str) -> str:
    """A text as YAML: bare where every reader sees the same text, else quoted as JSON."""
    if _PLAIN.fullmatch(text) and text.lower() not in _RESERVED and not text.startswith("*"):
        return text
    return orjson.dumps(text).decode()
