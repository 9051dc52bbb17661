"""Which plugin name means which engine; an engine's module is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from pydantic import BaseModel, ValidationError

from contracts.errors import InputError
from contracts.plan import Plan
from contracts.specfile import nearest
from loader.dialect import Dialect
from loader.warehouses.base import Traits, Warehouse

# Each module has `Options` (a pydantic model, importable without the engine's library) and `open(options)`.
_MODULES: Mapping[str, str] = {
    "duckdb": "loader.warehouses.duckdb",
    "postgresql": "loader.warehouses.postgresql",
    "s3": "loader.warehouses.files.s3",
    "gcs": "loader.warehouses.files.gcs",
    "azblob": "loader.warehouses.files.azblob",
    "file": "loader.warehouses.files.file",
    "csv": "loader.warehouses.files.csv",
}


def names() -> tuple[str, ...]:
    return tuple(_MODULES)


def options(plugin: str) -> type[BaseModel]:
    """The model of a destination's nested `spec`. Raises InputError for an unknown plugin."""
    model: type[BaseModel] = _module(plugin).Options
    return model


def dialect(plugin: str) -> Dialect:
    """Types and spelling of an engine, without its library."""
    found: Dialect = _module(plugin).DIALECT
    return found


def dialects() -> Mapping[str, Dialect]:
    """Every dialect once, by its name: file destinations share those of their formats."""
    from loader.warehouses.files.dialects import CSV, JSON, PARQUET

    found = [dialect(name) for name in _MODULES if traits(name).lands]
    return {d.name: d for d in (*found, PARQUET, JSON, CSV)}


def open_warehouse(plugin: str, spec: BaseModel | Mapping[str, Any]) -> Warehouse:
    """Connect. `spec` is the nested `spec`, validated already or not.

    Raises InputError, MissingExtra, Denied, Unreachable.
    """
    model = options(plugin)
    try:
        valid = spec if isinstance(spec, model) else model.model_validate(spec)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InputError(f"destination {plugin}: {wrong}") from error
    warehouse: Warehouse = _module(plugin).open(valid)
    return warehouse


def _module(plugin: str) -> ModuleType:
    if plugin not in _MODULES:
        near = nearest(plugin, _MODULES)
        hint = f"did you mean '{near}'? " if near else ""
        raise InputError(
            f"there is no destination plugin '{plugin}'", f"{hint}known are: {', '.join(_MODULES)}"
        )
    return import_module(_MODULES[plugin])


def admit(options: BaseModel, plan: Plan, destination: str, shown: Callable[[str], str]) -> None:
    """What `Warehouse.admit` would refuse, without connecting. Raises InputError."""
    from loader.warehouses.files import warehouse as files
    from loader.warehouses.files.options import FilesOptions

    if isinstance(options, FilesOptions):
        files.admit(options, plan, destination, shown)


def traits(plugin: str) -> Traits:
    """What the engine promises, without connecting. Raises InputError for an unknown plugin."""
    module = _module(plugin)
    found: Traits = getattr(module, module.open.__annotations__["return"]).traits
    return found
