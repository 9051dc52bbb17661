"""Which document means which engine; an engine's module is imported when it is asked for.

`Which` is a destination's document, or the name of a built-in plugin where there is no document.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from pydantic import BaseModel, ValidationError

from contracts.errors import InputError, Permanent
from contracts.plan import Plan
from contracts.spec import Destination
from loader import builtin
from loader.dialect import Dialect
from loader.programs import Wanted
from loader.warehouses.base import Traits, Warehouse

Which = Destination | str

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
    """Of the built-in ones."""
    return tuple(_MODULES)


def is_program(destination: Destination) -> bool:
    """Whether a plugin of CloudQuery's does the writing, a program of its own."""
    return builtin.is_program(destination, _MODULES)


def options(which: Which) -> type[BaseModel]:
    """The model of a destination's nested `spec`. Raises InputError for an unknown plugin."""
    if name := _name(which):
        model: type[BaseModel] = _module(name).Options
        return model
    from loader.warehouses.plugin.options import Options

    return Options


def dialect(which: Which) -> Dialect:
    """Types and spelling of an engine, without its library."""
    if name := _name(which):
        found: Dialect = _module(name).DIALECT
        return found
    from loader.warehouses.plugin.dialect import DIALECT

    return DIALECT


def dialects() -> Mapping[str, Dialect]:
    """Every dialect once, by its name: file destinations share those of their formats."""
    from loader.warehouses.files.dialects import CSV, JSON, PARQUET

    found = [dialect(name) for name in _MODULES if traits(name).lands]
    return {d.name: d for d in (*found, PARQUET, JSON, CSV)}


def traits(which: Which) -> Traits:
    """What the engine promises, without connecting. Raises InputError for an unknown plugin."""
    if name := _name(which):
        module = _module(name)
        found: Traits = getattr(module, module.open.__annotations__["return"]).traits
        return found
    from loader.warehouses.plugin.options import traits as promised

    assert isinstance(which, Destination)
    return promised(which)


def open_warehouse(
    which: Which, spec: BaseModel | Mapping[str, Any], program: Wanted | None = None
) -> Warehouse:
    """Connect. `spec` is the nested `spec`, validated already or not; `program`: what to start, if it is one.

    Raises InputError, MissingExtra, Denied, Unreachable.
    """
    model = options(which)
    try:
        valid = spec if isinstance(spec, model) else model.model_validate(spec)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        what = which if isinstance(which, str) else which.path
        raise InputError(f"destination {what}: {wrong}") from error
    if name := _name(which):
        warehouse: Warehouse = _module(name).open(valid)
        return warehouse
    from loader.warehouses.plugin.warehouse import open_

    assert isinstance(which, Destination)
    if program is None:
        raise Permanent(f"destination '{which.name}' is a program, and nobody said how to start it")
    return open_(which, valid, program)


def admit(options: BaseModel, plan: Plan, destination: str, shown: Callable[[str], str]) -> None:
    """What `Warehouse.admit` would refuse, without connecting. Raises InputError."""
    from loader.warehouses.files import warehouse as files
    from loader.warehouses.files.options import FilesOptions

    if isinstance(options, FilesOptions):
        files.admit(options, plan, destination, shown)


def _name(which: Which) -> str:
    return builtin.builtin(which, _MODULES, "destination")


def _module(name: str) -> ModuleType:
    return import_module(_MODULES[name])
