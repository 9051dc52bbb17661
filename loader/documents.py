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
from contracts.errors import InputError, Permanent
from contracts.spec import BackendOptions, Destination, Fleet, PluginSettings, Transformer
from contracts.specfile import SpecDocument, expand_document, validate, yaml11
from contracts.specfile.pasted import VARIABLE
from contracts.specfile.validate import fold
from contracts.stage import Stage
from loader.programs import Wanted
from loader.transformers import registry as transformers
from loader.transformers.chain import Chain
from loader.warehouses import registry

SWAPPED = "\ue002"  # in an outline, what stands for each character of a variable


@dataclass(frozen=True)
class OpenDestination:
    """A destination with its plugin's options and its transformers, all validated.

    `program`: what to start, if it is a plugin of CloudQuery's. Close it: transformers may be programs, too.
    """

    destination: Destination
    options: BaseModel
    masked: Callable[[str], str] = str  # keeps secrets of the document out of messages
    chain: Chain = field(default_factory=Chain)
    program: Wanted | None = None

    def close(self) -> None:
        """The warehouse is not closed by this: it outlives a load."""
        self.chain.close()


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
        registry.options(model), model.spec, document, ("spec", "spec"), document.what
    )
    program = None
    if registry.is_program(model):
        program = _program(stage, run, model, document, environment)
    chain = _chain(stage, run, model, environment)
    return OpenDestination(effective(model), options, document.expanded.masked, chain, program)


def effective(model: Destination) -> Destination:
    """As it is carried out: files are only ever added to, whatever write mode is written there."""
    if registry.traits(model).merges:
        return model
    return model.model_copy(update={"write_mode": "append"})


def _program(
    stage: Stage,
    run: str,
    model: Destination | Transformer,
    document: SpecDocument,
    environment: Mapping[str, str],
) -> Wanted:
    settings = plugin_settings(stage, run, model.name, environment)
    return Wanted(model, settings, environment, document.expanded.masked)


def plugin_settings(
    stage: Stage, run: str, name: str, environment: Mapping[str, str]
) -> PluginSettings:
    """What the run's fleet document says under `plugins.NAME`; the defaults if it says nothing.

    Its other fields may hold variables that only the submitter has: they are not looked at. Raises InputError.
    """
    for number, kind, body in outlines(stage, run):
        found = _get(body, "plugins") if kind == Fleet.kind else None
        own = found.get(name) if isinstance(found, dict) else None
        if not isinstance(own, dict):
            continue
        key = layout.spec(run, number)
        if SWAPPED in str(own):
            fleet = expand_document(stage.text(key), environment, key).model
            assert isinstance(fleet, Fleet)  # its kind was read from the same text
            return fleet.plugins[name]
        try:
            return PluginSettings.model_validate(fold(PluginSettings, own))
        except ValidationError as error:
            raise InputError(f"{key}: plugins: {name}: {error}") from error
    return PluginSettings()


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
    options = validate(
        transformers.options(model), model.spec, document, ("spec", "spec"), document.what
    )
    program = None
    if transformers.is_program(model):
        program = _program(stage, run, model, document, environment)
    return transformers.open_transformer(model, options, program)


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
    return SWAPPED * len(variable[0])


def _get(mapping: Mapping[str, Any], key: str) -> Any:
    """Keys of a spec are read without regard to case."""
    return next((v for k, v in mapping.items() if k.lower() == key), None)
