"""JSON Schemas (draft 2020-12) of a spec, made from the models that check it: for editors and linters.

`spec.json` holds for a whole document of any kind, with the options of every built-in plugin; one more file per
plugin holds for its nested `spec` alone. Every value may also be a `${VARIABLE}`, and every field that
may be left out may be null.

python -m sharder.schemas docs/reference
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from contracts.spec import Destination, Fleet, Plugin, Source, Transformer
from loader.transformers import registry as transformers
from loader.warehouses import registry as warehouses
from worker.sources import registry as sources

Schema = dict[str, Any]

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_VARIABLE: Schema = {"$ref": "#/$defs/variable"}
_VARIABLE_ITSELF: Schema = {
    "description": "A value with a variable: `${NAME}`, `${file:PATH}`, `${time:now}`",
    "type": "string",
    "pattern": r"\$\{[^}]+\}",
}
_NAMED = ("title", "description", "default", "examples", "deprecated", "writeOnly")
_KINDS: Mapping[str, type[Plugin]] = {
    "source": Source,
    "destination": Destination,
    "transformer": Transformer,
}


def schemas() -> Iterator[tuple[str, Schema]]:
    """(file name, schema) of every schema there is."""
    yield "spec.json", document()
    yield "fleet.json", _alone("`spec` of a document of kind fleet", Fleet)
    for kind in _KINDS:
        for plugin, options in plugins(kind):
            yield (
                f"{kind}-{plugin}.json",
                _alone(f"`spec` of the {kind} cloudquery/{plugin}", options),
            )


def plugins(kind: str) -> list[tuple[str, type[BaseModel]]]:
    """(name, model of the options) of every built-in plugin of a kind, by name."""
    match kind:
        case "source":
            return [(name, sources.options(name)) for name in sorted(sources.names())]
        case "destination":
            return [(name, warehouses.options(name)) for name in sorted(warehouses.names())]
        case _:
            return [(name, transformers.options(name)) for name in sorted(transformers.names())]


def document() -> Schema:
    """The schema of a whole document."""
    defs: Schema = {"variable": _VARIABLE_ITSELF}
    for kind, model in _KINDS.items():
        defs[kind] = _outer(kind, model, defs)
    defs["fleet"] = _adopted("fleet", Fleet, defs)
    chosen = [
        {
            "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
            "then": {"properties": {"spec": {"$ref": f"#/$defs/{kind}"}}},
        }
        for kind in defs
        if kind in {*_KINDS, "fleet"}
    ]
    untold = {
        "if": {"not": {"required": ["kind"]}},
        "then": {"properties": {"spec": {"$ref": "#/$defs/source"}}},
    }
    return {
        "$schema": DRAFT,
        "title": "A document of a spec",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "kind": {
                "description": "What the document describes; without it, a source",
                "enum": [*_KINDS, "fleet"],
            },
            "spec": {"description": "The fields of this kind"},
        },
        "allOf": [*chosen, untold],
        "$defs": defs,
    }


def _outer(kind: str, model: type[Plugin], defs: Schema) -> Schema:
    """A kind's own fields, and below `spec` the options of the plugin that `path` names."""
    own = _adopted(kind, model, defs)
    own["allOf"] = []
    for plugin, options in plugins(kind):
        name = f"{kind}.{plugin}"
        inner = _adopted(name, options, defs)
        defs[name] = inner
        needed = bool(inner.get("required"))
        choices = [{"$ref": f"#/$defs/{name}"}, _VARIABLE, *([] if needed else [{"type": "null"}])]
        then: Schema = {"properties": {"spec": {"anyOf": choices}}}
        if needed:
            then["required"] = ["spec"]
        paths = [f"cloudquery/{plugin}", f"sharder/{plugin}", plugin]
        registry = {"enum": ["cloudquery", "github", None]}
        condition = {"path": {"enum": paths}, "registry": registry}
        own["allOf"].append({"if": {"properties": condition, "required": ["path"]}, "then": then})
    return own


def _alone(title: str, model: type[BaseModel]) -> Schema:
    defs: Schema = {"variable": _VARIABLE_ITSELF}
    found = _adopted("", model, defs)
    return {"$schema": DRAFT, **found, "title": title, "$defs": defs}


def _adopted(name: str, model: type[BaseModel], defs: Schema) -> Schema:
    """A model's schema as we publish it; the models inside of it go to `defs`, under its name."""
    prefix = f"{name}." if name else ""
    found = model.model_json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
    for inner, schema in found.pop("$defs", {}).items():
        defs[f"{prefix}{inner}"] = _published(schema)
    published: Schema = _published(found)
    return published


def _published(schema: Any) -> Any:
    """The schema with variables and nulls let in, and our own marks put in words that editors know."""
    if not isinstance(schema, dict):
        return schema
    found = {key: value for key, value in schema.items() if key not in {"discriminator", "title"}}
    if found.pop("secret", False):
        found["writeOnly"] = True
    if found.pop("moot", ""):
        found["deprecated"] = True
    if (
        "oneOf" in found
    ):  # of which a variable in the place of the discriminator would match several
        found["anyOf"] = found.pop("oneOf")
    for key in ("anyOf", "allOf", "prefixItems"):
        if key in found:
            found[key] = [_published(inner) for inner in found[key]]
    for key in ("items", "additionalProperties"):
        if isinstance(found.get(key), dict):
            found[key] = _or_variable(_published(found[key]))
    if "properties" in found:
        required = found.get("required", [])
        found["properties"] = {
            name: _or_variable(_published(inner), null=name not in required)
            for name, inner in found["properties"].items()
        }
    return found


def _or_variable(schema: Schema, *, null: bool = False) -> Schema:
    """The schema, or a text with a variable, or null; what is said about the field stays outside."""
    named = {key: schema[key] for key in _NAMED if key in schema}
    rest = {key: value for key, value in schema.items() if key not in named}
    if not rest:
        return schema
    choices: Sequence[Schema] = rest["anyOf"] if rest.keys() == {"anyOf"} else [rest]
    any_text = any(choice == {"type": "string"} for choice in choices)
    extra = [*([] if any_text else [_VARIABLE]), *([{"type": "null"}] if null else [])]
    added = [choice for choice in extra if choice not in choices]
    return {**named, "anyOf": [*choices, *added]} if added else schema


def main(arguments: Sequence[str]) -> None:
    from sharder import spec_page

    place = Path(arguments[0])
    folder = place / "schemas"
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in schemas():
        (folder / name).write_text(text(schema))
    (place / "spec.md").write_text(spec_page.page())


def text(schema: Schema) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    main(sys.argv[1:])
