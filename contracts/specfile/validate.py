"""A mapping and a pydantic model → an instance, or an error with file, line and the nearest key.

Keys are matched without regard to case and null means absent, as Go's JSON decoder has it.
"""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Protocol, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from contracts.errors import InputError
from contracts.spec import Destination, Plugin, Source
from contracts.specfile.origin import nearest

M = TypeVar("M", bound=BaseModel)
Path = tuple[str | int, ...]

# Options that CloudQuery once had directly under `spec`.
MOVED = {
    "concurrency": "it moved into the plugin's own options, one level deeper under `spec`",
    "table_concurrency": "CloudQuery removed it; leave it out",
    "resource_concurrency": "CloudQuery removed it; leave it out",
    "scheduler": "it moved into the plugin's own options, one level deeper under `spec`",
    "backend": "CloudQuery replaced it by `backend_options`",
    "backend_spec": "CloudQuery replaced it by `backend_options`",
}


# Fields that one kind of document has and others do not.
_OWNERS = {
    field: model.kind
    for model in (Source, Destination)
    for field in model.model_fields
    if field not in Plugin.model_fields
}
# Plugins that CloudQuery publishes itself: a document of such a name lacks this path.
_PUBLISHED = {
    "aws", "azure", "azblob", "basic", "bigquery", "clickhouse", "duckdb", "file", "gcp", "gcs", "github",
    "gitlab", "googleanalytics", "hackernews", "jsonflattener", "k8s", "mongodb", "mssql", "mysql", "okta",
    "postgresql", "s3", "snowflake", "sqlite", "stripe", "xkcd",
}  # fmt: skip
_EXAMPLES = {
    "name": "write a name of your own, for example name: aws",
    "path": "write for example path: cloudquery/aws",
    "tables": 'write for example tables: ["aws_ec2_instances"], or ["*"]',
    "destinations": "write for example destinations: [postgresql]",
    "table_name": "write for example table_name: cq_state",
    "connection": 'write connection: "@@plugins.NAME.connection"',
}


class Places(Protocol):
    """Whatever can say where a value stands: a `SpecDocument`."""

    def error(self, message: str, hint: str, path: Path, *, key: bool = False) -> InputError: ...


def validate(model: type[M], mapping: Any, places: Places, path: Path = (), what: str = "") -> M:
    """An instance of the model. `path` leads from the document's root to the mapping.

    Raises InputError for the first thing that is wrong, in the order of the text.
    """
    folded = fold(model, {} if mapping is None else mapping)
    try:
        return model.model_validate(folded)
    except ValidationError as error:
        first = min(error.errors(include_url=False, include_context=True), key=_unknown_first)
        raise _explain(model, first, places, path, what) from error


def _unknown_first(error: ErrorDetails) -> int:
    """A misspelt key explains the missing one, so it is told first."""
    return {"extra_forbidden": 0, "missing": 2}.get(error["type"], 1)


def fold(annotation: Any, value: Any) -> Any:
    """The value with the keys of every model in it spelt as the model spells them, nulls left out."""
    annotation = _inner(annotation, value)
    if _is_model(annotation) and isinstance(value, Mapping):
        return _fold_model(annotation, value)
    arguments = get_args(annotation)
    if not arguments:
        return value
    if isinstance(value, list):
        element = arguments[0]
        if element is str:
            return ["" if v is None else v for v in value]
        return [fold(element, v) for v in value]
    if isinstance(value, Mapping) and len(arguments) == 2:
        return {k: fold(arguments[1], v) for k, v in value.items()}
    return value


def _fold_model(model: type[BaseModel], value: Mapping[str, Any]) -> dict[str, Any]:
    names = _names(model)
    folded: dict[str, Any] = {}
    for key, item in value.items():
        name = key if key in names else _by_case(key, names)
        if item is None and name in names:
            continue
        folded[name] = fold(names[name], item) if name in names else item
    return folded


def _by_case(key: str, names: Mapping[str, Any]) -> str:
    return next((n for n in names if n.lower() == key.lower()), key)


def _names(model: type[BaseModel]) -> dict[str, Any]:
    """Keys that the model accepts → their annotations."""
    return {f.alias or name: f.annotation for name, f in model.model_fields.items()}


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _inner(annotation: Any, value: Any = None) -> Any:
    """Without Annotated, and of a union the member that suits the value."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) not in {Union, types.UnionType}:
        return annotation
    members = [_inner(a) for a in get_args(annotation) if a is not type(None)]
    return next((a for a in members if _suits(a, value)), members[0] if members else annotation)


def _suits(annotation: Any, value: Any) -> bool:
    match value:
        case dict():
            return _is_model(annotation) or _is_mapping(annotation)
        case list():
            return bool(get_args(annotation)) and not _is_mapping(annotation)
        case _:
            return False


def _is_mapping(annotation: Any) -> bool:
    origin = get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _model_at(annotation: Any, loc: Sequence[str | int]) -> type[BaseModel] | None:
    """The model whose key is the last element of `loc`."""
    for step in loc[:-1]:
        annotation = _inner(annotation, {} if isinstance(step, str) else [])
        if _is_model(annotation):
            annotation = _names(annotation).get(str(step))
        elif arguments := get_args(annotation):
            annotation = arguments[-1] if _is_mapping(annotation) else arguments[0]
    annotation = _inner(annotation, {})
    return annotation if _is_model(annotation) else None


def _explain(
    model: type[BaseModel], error: ErrorDetails, places: Places, path: Path, what: str
) -> InputError:
    loc: Path = tuple(error["loc"])
    at = (*path, *loc)
    dotted = ".".join(str(step) for step in loc)
    within = f" of {what}" if what else ""
    match error["type"]:
        case "extra_forbidden":
            owner = _model_at(model, loc)
            known = list(_names(owner)) if owner else []
            key = str(loc[-1])
            message = f"unknown key '{key}'{within if len(loc) == 1 else f' in {dotted}'}"
            hint = (_belongs(model, key) if len(loc) == 1 else "") or _suggest(key, known)
            return places.error(message, hint, at, key=True)
        case "missing":
            message = f"'{dotted}'{within} is missing"
            return places.error(message, _example(model, loc, error["input"]), at[:-1])
        case "too_short" | "string_too_short":
            message = f"'{dotted}'{within} must not be empty"
            return places.error(message, _example(model, loc, None), at)
        case "bool_type" | "bool_parsing":
            message = f"'{dotted}'{within} must be true or false"
            return places.error(message, "write it without quotes", at)
        case "literal_error" | "enum":
            expected = str(error.get("ctx", {}).get("expected", "")).replace("'", "")
            message = f"'{dotted}'{within} must be one of {expected}"
            near = nearest(str(error["input"]), expected.replace(" or ", ", ").split(", "))
            return places.error(message, f"did you mean '{near}'?" if near else "", at)
        case "string_type" if isinstance(error["input"], int | float):
            message = f"'{dotted}'{within} must be a text, but YAML reads a number or boolean here"
            return places.error(message, "put the value in quotes", at)
        case "string_type":
            kind = "list" if isinstance(error["input"], list) else "mapping"
            message = f"'{dotted}'{within} must be a text, but YAML reads a {kind} here"
            return places.error(message, "put the value in quotes", at)
        case "tuple_type" | "list_type":
            message = f"'{dotted}'{within} must be a list"
            return places.error(message, "write it between brackets: […]", at)
        case "dict_type" | "mapping_type" | "model_type" | "model_attributes_type":
            message = f"'{dotted}'{within} must be a mapping"
            return places.error(message, "write `key: value` lines below it", at)
        case _:
            reason = error["msg"].removeprefix("Value error, ")
            reason = (
                reason if error["type"] == "value_error" else f"{reason[:1].lower()}{reason[1:]}"
            )
            message = (
                f"'{dotted}'{within}: {reason}" if dotted else f"{what or 'options'}: {reason}"
            )
            return places.error(message, "", at)


def _belongs(model: type[BaseModel], key: str) -> str:
    if not issubclass(model, Plugin):
        return ""
    if key.lower() in MOVED:
        return MOVED[key.lower()]
    owner = _OWNERS.get(key.lower())
    return f"a {owner} has it; for one, write kind: {owner}" if owner else ""


def _example(model: type[BaseModel], loc: Path, mapping: Any) -> str:
    """What to write for a field that is missing or empty."""
    key = str(loc[-1])
    if loc == ("path",) and isinstance(mapping, Mapping) and mapping.get("name") in _PUBLISHED:
        return f"write path: cloudquery/{mapping['name']}"
    ours = issubclass(model, Plugin) and not (key == "name" and len(loc) > 1)
    return _EXAMPLES.get(key, f"write {key}: …") if ours else f"write {key}: …"


def _suggest(key: str, known: Sequence[str]) -> str:
    if near := nearest(key, known):
        return f"did you mean '{near}'?"
    return f"known keys: {', '.join(sorted(known))}" if known else ""
