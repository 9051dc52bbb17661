"""`module:factory` → what it names, and where it was looked for if it is not there.

Modules are found as Python finds them: on `sys.path`, which is what is installed and `PYTHONPATH`, of the
process that looks. A spec's own directory is not searched: a fleet does not have it, and a laptop should
not run code because it lies beside a text.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from contracts.errors import InputError
from contracts.plugin import allowed
from contracts.plugin.plugin import Plugin
from contracts.specfile import nearest
from worker.sources.base import Context, Source

Factory = Callable[[Mapping[str, Any], Context], Source]

EXAMPLE = "write it as module:factory, for example path: acme.shop:Shop"
_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_METHODS = ("tables", "clients", "read", "close")
_SHOWN = 5  # places in a message


class FreeForm(BaseModel):
    """Options of a source without a model: any keys."""

    model_config = ConfigDict(frozen=True, extra="allow")


def factory(path: str, environment: Mapping[str, str] = os.environ) -> Factory:
    """What the path names. Raises InputError if there is no such module or attribute, and NotAllowed
    before anything is imported, if the list of this machine does not have it.
    """
    module, attribute = parts(path)
    allowed.refuse(Plugin("source", attribute, path, "python"), environment)
    found: Any = _module(module, path)
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise _missing(module, attribute, name, found)
        found = getattr(found, name)
    if not callable(found):
        raise InputError(
            f"'{path}' is no factory: it is of type {type(found).__name__}",
            "name a class or a function that takes (spec, context) and returns a source",
        )
    made: Factory = found
    return made


def parts(path: str) -> tuple[str, str]:
    """Module and attribute. Raises InputError for another form, and for the standard library."""
    if not _NAME.fullmatch(path):
        raise InputError(f"'{path}' does not name a source in Python", EXAMPLE)
    module, _, attribute = path.partition(":")
    if module.partition(".")[0] in sys.stdlib_module_names:
        # It has no source, but callables that do things when they are given a mapping.
        raise InputError(f"'{module}' is a module of Python itself and has no source", EXAMPLE)
    return module, attribute


def source(path: str, spec: Mapping[str, Any], context: Context) -> Source:
    """Raises InputError if what the factory returns is no source, and whatever the factory raises."""
    made = factory(path)(spec, context)
    lacking = [name for name in _METHODS if not callable(getattr(made, name, None))]
    if lacking:
        raise InputError(
            f"'{path}' made a {type(made).__name__}, which is no source: it lacks {', '.join(lacking)}",
            "the protocol is worker.sources.base.Source; worker.sources.python.author has a base class",
        )
    return made


def options(made: Any) -> type[BaseModel]:
    """The `Options` of a factory, or of the module that it is defined in, if that is a pydantic model."""
    places = (made, sys.modules.get(getattr(made, "__module__", "")))
    for place in places:
        found = getattr(place, "Options", None)
        if isinstance(found, type) and issubclass(found, BaseModel):
            return found
    return FreeForm


def _module(name: str, path: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        absent = error.name or ""
        if name == absent or name.startswith(f"{absent}."):
            raise _unfound(absent, path) from error
        raise InputError(
            f"the source '{path}' needs the module '{absent}', which is not installed here",
            f"install it beside Sharder, on every machine that runs this source ({sys.executable})",
        ) from error
    except Exception as error:
        raise InputError(
            f"the module '{name}' of the source '{path}' cannot be imported: "
            f"{type(error).__name__}: {error} ({place_of(error)})"
        ) from error


def place_of(error: Exception) -> str:
    """`file:line`: the innermost line of code that an exception passed, or of which the text is wrong."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""


def _unfound(absent: str, path: str) -> InputError:
    searched = [place or "." for place in sys.path]
    shown = ", ".join(searched[:_SHOWN]) + (", …" if len(searched) > _SHOWN else "")
    beside = Path.cwd() / absent.partition(".")[0]
    here = beside.is_dir() or beside.with_suffix(".py").is_file()
    hint = f"it is in this directory, which is not searched: set PYTHONPATH={Path.cwd()}" if here else (
        "install its package, or set PYTHONPATH to the directory that has it; "
        "workers of a fleet need it as well"
    )  # fmt: skip
    return InputError(
        f"there is no module '{absent}' for the source '{path}'; looked for in {shown}", hint
    )


def _missing(module: str, attribute: str, name: str, place: Any) -> InputError:
    there = [
        n
        for n, value in getattr(place, "__dict__", {}).items()
        if callable(value) and not n.startswith("_")
    ]
    near = nearest(name, there)
    file = getattr(sys.modules[module], "__file__", None) or module
    meant = (
        f"did you mean '{near}'?" if near else f"it has: {', '.join(sorted(there)) or 'nothing'}"
    )
    return InputError(f"{file} has no '{attribute}'", meant)
