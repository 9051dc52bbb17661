"""The spec documents of a run, as the loader may read them: destinations expanded, sources never.

Of a source only its outer fields are read, as they are written: its credentials are not the loader's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

from contracts import layout
from contracts.errors import Permanent
from contracts.spec import BackendOptions, Destination, Transformer
from contracts.specfile import expand_document, validate, yaml11
from contracts.specfile.pasted import VARIABLE
from contracts.stage import Stage
from loader.transformers import registry as transformers
from loader.transformers.chain import Chain
from loader.warehouses import registry


@dataclass(frozen=True)
class OpenDestination:
    """A destination with its plugin's options and its transformers, all validated."""

    destination: Destination
    options: BaseModel
    masked: Callable[[str], str] = str  # keeps secrets of the document out of messages
    chain: Chain = field(default_factory=Chain)


def destination(
    stage: Stage, run: str, name: str, environment: Mapping[str, str], number: int | None = None
) -> OpenDestination:
    """The document of a destination; `number` if the plan says which one it is. Raises InputError."""
    if number is None:
        number = _number(stage, run, name)
    key = layout.spec(run, number)
    document = expand_document(stage.text(key), environment, f"destination '{name}'")
    model = document.model
    if not isinstance(model, Destination):
        raise Permanent(f"{key} is not the document of a destination")
    options = validate(
        registry.options(model.plugin), model.spec, document, ("spec", "spec"), document.what
    )
    return OpenDestination(
        effective(model), options, document.expanded.masked, _chain(stage, run, model, environment)
    )


def effective(model: Destination) -> Destination:
    """As it is carried out: files are only ever added to, whatever write mode is written there."""
    if registry.traits(model.plugin).lands:
        return model
    return model.model_copy(update={"write_mode": "append"})


def _chain(stage: Stage, run: str, model: Destination, environment: Mapping[str, str]) -> Chain:
    """In the order in which they are declared, whatever the order of the destination's list."""
    if not model.transformers:
        return Chain()
    found = {
        number: str(_get(body, "name"))
        for number, kind, body in outlines(stage, run)
        if kind == "transformer" and _get(body, "name") in model.transformers
    }
    for name in model.transformers:
        if name not in found.values():
            raise Permanent(f"run {run} has no document of a transformer '{name}'")
    return Chain(
        tuple(_transformer(stage, run, n, name, environment) for n, name in sorted(found.items()))
    )


def _transformer(
    stage: Stage, run: str, number: int, name: str, environment: Mapping[str, str]
) -> transformers.Transformer:
    text = stage.text(layout.spec(run, number))
    document = expand_document(text, environment, f"transformer '{name}'")
    model = document.model
    assert isinstance(model, Transformer)  # its kind was read from the same text
    model_of_options = transformers.options(model.plugin)
    options = validate(model_of_options, model.spec, document, ("spec", "spec"), document.what)
    return transformers.open_transformer(model.plugin, options)


def state_tables(stage: Stage, run: str, destination: str) -> dict[str, str]:
    """Source → name of the state table, for the sources whose cursors live in the destination."""
    found = {}
    for _, kind, body in outlines(stage, run):
        if kind != "source" or not isinstance(options := _get(body, "backend_options"), dict):
            continue
        try:
            backend = BackendOptions.model_validate({k.lower(): v for k, v in options.items()})
        except ValidationError as error:
            raise Permanent(f"run {run}: backend_options of a source are none: {error}") from error
        if backend.destination == destination:
            found[str(_get(body, "name"))] = backend.table_name
    return found


def sources_of(stage: Stage, run: str, destination: str) -> list[str]:
    """Names of the sources that are written to the destination."""
    return [
        str(_get(body, "name"))
        for _, kind, body in outlines(stage, run)
        if kind == "source" and destination in (_get(body, "destinations") or ())
    ]


def _number(stage: Stage, run: str, name: str) -> int:
    for number, kind, body in outlines(stage, run):
        if kind == "destination" and _get(body, "name") == name:
            return number
    raise Permanent(f"run {run} has no document of a destination '{name}'")


def outlines(stage: Stage, run: str) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """(number, kind, body) of every document, its variables as they are written."""
    prefix = f"{layout.run_prefix(run)}spec/"
    for entry in stage.store.list(prefix):
        # Inside of `{…}` a variable is no YAML before it is expanded, and none is in what is read here.
        text = VARIABLE.sub(_swapped, stage.text(entry.key))
        try:
            document = yaml11.parse(text).value
        except yaml11.YamlError as error:
            raise Permanent(f"{entry.key} is not a document of a spec: {error.message}") from error
        body = _get(document, "spec") if isinstance(document, dict) else None
        if isinstance(body, dict):
            number = int(entry.key[len(prefix) :].removesuffix(".yml"))
            yield number, str(_get(document, "kind") or "source"), body


def _swapped(variable: re.Match[str]) -> str:
    """A plain text of the same length."""
    return "\ue002" * len(variable[0])


def _get(mapping: Mapping[str, Any], key: str) -> Any:
    """Keys of a spec are read without regard to case."""
    return next((v for k, v in mapping.items() if k.lower() == key), None)
