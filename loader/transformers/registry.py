"""Which document means which transformer."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from pydantic import BaseModel

from contracts.errors import Permanent
from contracts.spec import Transformer as Document
from loader import builtin
from loader.programs import Wanted
from loader.transformers.base import Transformer

__all__ = ["Transformer", "is_program", "names", "open_transformer", "options"]

Which = Document | str  # a document, or the name of a built-in plugin

# Each module has `Options` (a pydantic model) and `open(options)`.
_MODULES: Mapping[str, str] = {
    "basic": "loader.transformers.basic",
    "jsonflattener": "loader.transformers.jsonflattener",
}


def names() -> tuple[str, ...]:
    """Of the built-in ones."""
    return tuple(_MODULES)


def is_program(document: Document) -> bool:
    """Whether a plugin of CloudQuery's does the work, a program of its own."""
    return builtin.is_program(document, _MODULES)


def options(which: Which) -> type[BaseModel]:
    """The model of a transformer's nested `spec`. Raises InputError for an unknown plugin."""
    if name := _name(which):
        model: type[BaseModel] = import_module(_MODULES[name]).Options
        return model
    from loader.transformers.plugin import Options

    return Options


def open_transformer(which: Which, spec: BaseModel, program: Wanted | None = None) -> Transformer:
    """`spec` is an instance of `options(which)`; `program`: what to start, if it is one.

    Raises InputError for an unknown plugin.
    """
    if name := _name(which):
        transformer: Transformer = import_module(_MODULES[name]).open(spec)
        return transformer
    from loader.transformers.plugin import open_

    if program is None:
        raise Permanent("a transformer is a program, and nobody said how to start it")
    return open_(spec, program)


def _name(which: Which) -> str:
    return builtin.builtin(which, _MODULES, "transformer")
