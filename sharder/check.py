"""What is checked of a spec before anything starts: every plugin's own options, and where secrets are.

A literal in a secret field would end up on a stage that many can read. On a fleet it is refused, with
the line to write instead; embedded, the stage gets a placeholder that is resolved from the user's file.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from contracts.errors import InputError
from contracts.spec import Destination, Plugin, Source, Transformer
from contracts.specfile import (
    LoadedSpec,
    SpecDocument,
    conceal,
    line_to_write,
    literals,
    nearest,
    seal,
    validate,
)
from contracts.specfile.suspects import suspects
from contracts.specfile.variables import unset
from worker.sources import registry as sources


def check(loaded: LoadedSpec) -> tuple[str, ...]:
    """Validate the nested options of every document; warnings about those that mean nothing here.

    What stands in their secret fields is not told from here on.

    Raises InputError for the first wrong one.
    """
    warnings: list[str] = []
    for document in loaded.documents:
        options = options_model(document)
        conceal(document, secret_paths(document))
        # With a variable that only the loader has, a value may not yet be what it will be.
        if options and not document.expanded.left:
            spec = getattr(document.model, "spec", None)
            found = validate(options, spec, document, ("spec", "spec"), document.what)
            warnings += _moot(found, document)
        warnings += _twice(document)
        warnings += _misspelt(document)
    return tuple(warnings)


def _misspelt(document: SpecDocument) -> Iterator[str]:
    """A source that is looked for elsewhere, although its name is nearly that of one of ours."""
    model = document.model
    if not isinstance(model, Source) or (model.registry, model.team) != ("cloudquery",) * 2:
        return
    if foreign(document) and (near := nearest(model.plugin, sources.names())):
        yield document.warning(
            f"{document.what} is not built in, and is looked for at CloudQuery's Hub; "
            f"did you mean 'cloudquery/{near}'?",
            ("spec", "path"),
        )


def _moot(options: BaseModel, document: SpecDocument) -> Iterator[str]:
    """Options that are accepted for CloudQuery's sake; the model says why they do nothing."""
    given = options.model_fields_set
    for name in sorted(given, key=lambda name: document.at(("spec", "spec", name))):
        extra = type(options).model_fields[name].json_schema_extra
        if isinstance(extra, Mapping) and (why := extra.get("moot")):
            yield document.warning(f"`{name}` does nothing: {why}", ("spec", "spec", name))


def _twice(document: SpecDocument) -> Iterator[str]:
    """What the protocol of plugins cannot promise."""
    model = document.model
    if isinstance(model, Destination) and model.write_mode == "append" and foreign(document):
        yield document.warning(
            f"{document.what} appends through a plugin, which has neither transactions nor keys then: after a "
            "crash it may hold rows twice; with `write_mode: overwrite` it does not",
            ("spec", "write_mode"),
        )


def foreign(document: SpecDocument) -> bool:
    """Whether a document names a plugin that is a program of its own, of which the options are not known."""
    from loader.transformers import registry as transformers
    from loader.warehouses import registry as warehouses

    match document.model:
        case Source():
            return sources.home(document.model) == "plugin"
        case Destination():
            return warehouses.is_program(document.model)
        case Transformer():
            return transformers.is_program(document.model)
        case _:
            return False


def refuse_unset(loaded: LoadedSpec) -> None:
    """For embedded runs, where nobody else has other variables. Raises InputError for the first."""
    for document in loaded.documents:
        for name, offset in document.expanded.left:
            raise unset(name, offset, document.origin)


def options_model(document: SpecDocument) -> type[BaseModel] | None:
    """The model of a document's nested options; None if it has none that are known here.

    Raises InputError for an unknown plugin, with its place.
    """
    from loader.transformers import registry as transformers
    from loader.warehouses import registry as warehouses

    if foreign(document):
        return None
    try:
        match document.model:
            case Source():
                return sources.options_of(document.model)
            case Destination():
                return warehouses.options(document.model)
            case Transformer():
                return transformers.options(document.model)
            case _:
                return None
    except InputError as error:
        raise document.error(error.message, error.hint, ("spec", "path")) from error


def refuse_literals(loaded: LoadedSpec) -> None:
    """For a fleet. Raises InputError for the first literal in a secret field."""
    for document in loaded.documents:
        for path, _ in literals(document.text, secret_paths(document), document.file):
            steps = ("spec", *(int(s) if s.isdecimal() else s for s in path.split(".")))
            name = getattr(document.model, "name", "") or document.kind
            raise document.error(
                f"{document.what} has a secret written out, which would be stored on the stage",
                f"write instead: {line_to_write(path, name)}",
                steps,
            )


def texts(loaded: LoadedSpec, *, sealed: bool) -> Iterator[str]:
    """What goes to the stage, in the order of the documents' numbers."""
    for d in loaded.documents:
        yield seal(d.text, secret_paths(d), f"{d.file}#{d.number}") if sealed else d.text


def secret_paths(document: SpecDocument) -> list[str]:
    """Dotted paths below `spec:` of the fields that hold secrets; `*` is any one step."""
    options = options_model(document)
    model = document.model
    own = [*marked(options)] if options else []
    if isinstance(model, Plugin) and foreign(document):
        own = suspects(model.spec)
    return [
        *marked(type(model)),
        "docker_registry_auth_token",
        *(f"spec.{path}" for path in own),
    ]


def marked(model: type[BaseModel], above: frozenset[type] = frozenset()) -> Iterator[str]:
    """Paths of the fields that a model marks with `json_schema_extra={"secret": True}`."""
    if model in above:
        return
    for name, field in model.model_fields.items():
        key, extra = field.alias or name, field.json_schema_extra
        if isinstance(extra, Mapping) and extra.get("secret"):
            yield key
        for steps, inner in _models(field.annotation):
            yield from (".".join((key, *steps, path)) for path in marked(inner, above | {model}))


def _models(annotation: Any) -> Iterator[tuple[tuple[str, ...], type[BaseModel]]]:
    """Models inside of an annotation, with the steps that lead there: `*` into a list or mapping."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield (), annotation
        return
    origin = get_origin(annotation)
    arguments = [a for a in get_args(annotation) if a is not Ellipsis]
    if origin is Annotated:
        yield from _models(arguments[0])
    elif origin in {Union, types.UnionType}:
        for member in arguments:
            yield from _models(member)
    elif isinstance(origin, type):
        for member in arguments[-1:] if issubclass(origin, Mapping) else arguments:
            yield from ((("*", *steps), model) for steps, model in _models(member))
