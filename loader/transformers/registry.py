"""Which plugin name means which transformer."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import ModuleType

from pydantic import BaseModel

from contracts.errors import InputError
from contracts.specfile import nearest
from loader.transformers.base import Transformer

__all__ = ["Transformer", "names", "open_transformer", "options"]

# Each module has `Options` (a pydantic model) and `open(options)`.
_MODULES: Mapping[str, str] = {
    "basic": "loader.transformers.basic",
    "jsonflattener": "loader.transformers.jsonflattener",
}


def names() -> tuple[str, ...]:
    return tuple(_MODULES)


def options(plugin: str) -> type[BaseModel]:
    """The model of a transformer's nested `spec`. Raises InputError for an unknown plugin."""
    model: type[BaseModel] = _module(plugin).Options
    return model


def open_transformer(plugin: str, spec: BaseModel) -> Transformer:
    """`spec` is an instance of `options(plugin)`. Raises InputError for an unknown plugin."""
    transformer: Transformer = _module(plugin).open(spec)
    return transformer


def _module(plugin: str) -> ModuleType:
    if plugin not in _MODULES:
        near = nearest(plugin, _MODULES)
        hint = f"did you mean '{near}'? " if near else ""
        raise InputError(
            f"there is no transformer plugin '{plugin}'", f"{hint}known are: {', '.join(_MODULES)}"
        )
    return import_module(_MODULES[plugin])
