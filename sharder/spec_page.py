"""docs/reference/spec.md: every field of every kind of document, from the models that check them."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from contracts.spec import Destination, Fleet, Rate, Seconds, Size, Source, Transformer
from sharder.schemas import plugins, schemas

_HEAD = """\
# The spec, field by field

This page is generated: `python -m sharder.schemas docs/reference`. How a text is read: [design/spec.md](../design/spec.md).

A spec is one or more YAML documents, in one file (split by a line `---`), several files, or a directory. Each has two keys:
`kind` (`source`, `destination`, `transformer` or `fleet`; without it, `source`) and `spec` with the fields below. Keys are read without regard to
case, null is as good as absent, and an unknown key is an error with the nearest known one. Any value may hold `${NAME}`, `${file:PATH}` or
`${time:EXPR|LAYOUT}`.

## In an editor

Schemas (JSON Schema, draft 2020-12) of everything on this page lie in [schemas/](schemas/). An editor that runs the YAML language server completes
and checks a spec with this first line:

```yaml
# yaml-language-server: $schema=docs/reference/schemas/spec.json
```

or, for all files of a project, in VS Code's `settings.json`:

```json
{"yaml.schemas": {"docs/reference/schemas/spec.json": ["*.spec.yml", "specs/*.yml"]}}
```

`spec.json` chooses the fields by `kind`, and the plugin's options by `path`. The other schemas hold for a plugin's own options alone. Keys must be
spelt as here, in lower case. What a schema cannot say (references between documents, tables that match, rules between two options) is said by
`sharder validate-config`.
"""
_INTRO = {
    "source": "Where rows come from. Each source is read by the plugin that `path` names.",
    "destination": "Where rows go: a database, or files.",
    "transformer": "What is done to the rows of the destinations that name it.",
}
_KINDS: Mapping[str, type[BaseModel]] = {
    "source": Source,
    "destination": Destination,
    "transformer": Transformer,
}
_WORDS: Mapping[Any, str] = {
    str: "text",
    bool: "true or false",
    int: "number",
    float: "number",
    Any: "anything",
    Size: "size: `128MiB`",
    Seconds: "duration: `90s`, `7d`",
    Rate: "rate: `20/s`",
}


def page() -> str:
    """The whole page."""
    parts = [_HEAD]
    for kind, model in _KINDS.items():
        parts.append(f"\n## kind: {kind}\n\n{_INTRO[kind]}\n\n")
        parts += _fields(model, f"{kind}")
        for plugin, options in plugins(kind):
            parts.append(f"\n### {kind} `cloudquery/{plugin}`: its own `spec`\n\n")
            parts += _fields(options, f"{kind} {plugin}")
    parts.append(
        "\n## kind: fleet\n\nHow runs are executed; the environment and flags override it.\n\n"
    )
    parts += _fields(Fleet, "fleet")
    parts.append("\n## Schemas\n\n")
    parts += [f"- [{name}](schemas/{name}): {schema['title']}\n" for name, schema in schemas()]
    return "".join(parts)


def _fields(model: type[BaseModel], where: str) -> Iterator[str]:
    """The table of a model's fields, and behind it those of the models inside."""
    yield "| field | type | default | meaning |\n| --- | --- | --- | --- |\n"
    inner: dict[str, type[BaseModel]] = {}
    for name, field in model.model_fields.items():
        key = field.alias or name
        meaning = field.description or ""
        if isinstance(field.json_schema_extra, Mapping) and field.json_schema_extra.get("secret"):
            meaning = f"{meaning}. A secret: write `${{NAME}}`".lstrip(". ")
        cells = [f"`{key}`", _type(_annotation(field)), _default(field), meaning]
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"
        for found in _models(field.annotation):
            inner.setdefault(f"{key}.{found.__name__}", found)
    for path, found in inner.items():
        if found is model:
            continue
        key, _, called = path.partition(".")
        kind = f" with kind {_kind(found)}" if _kind(found) else ""
        about = (found.__doc__ or called).strip().split("\n\n")[0]
        yield f"\n#### {where}: `{key}`{kind}\n\n{' '.join(about.split())}\n\n"
        yield from _fields(found, f"{where} {key}")


def _kind(model: type[BaseModel]) -> str:
    """The one `kind` that chooses a model among several."""
    field = model.model_fields.get("kind")
    if field is None or get_origin(field.annotation) is not Literal:
        return ""
    return ", ".join(f"`{value}`" for value in get_args(field.annotation))


def _annotation(field: FieldInfo) -> Any:
    """The annotation as it was written: pydantic takes its metadata apart."""
    return next(
        (a for a in (Size, Seconds, Rate) if get_args(a)[1] in field.metadata), field.annotation
    )


def _type(annotation: Any) -> str:
    if annotation in _WORDS:
        return _WORDS[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in {Union, types.UnionType}:
        members = dict.fromkeys(_type(a) for a in arguments if a is not type(None))
        return " or ".join(members)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"mapping of {_type(arguments[-1])}" if arguments[-1] is not Any else "mapping"
    if arguments:
        return f"list of {_type(arguments[0])}"
    return (
        "mapping" if isinstance(annotation, type) and issubclass(annotation, BaseModel) else "text"
    )


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value in ("", (), [], {}):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list | tuple):
        return ", ".join(f"`{v}`" for v in value)
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
