"""Which plugins are part of Sharder, and which are programs of their own: what a document's `path` means.

Ours come first: `cloudquery/postgresql` is built in. Any other plugin of CloudQuery's hub, and everything with
another registry, is a program that speaks CloudQuery's plugin protocol.
"""

from __future__ import annotations

from collections.abc import Collection

from contracts.errors import InputError
from contracts.spec import Plugin
from contracts.specfile import nearest

_HUB = frozenset({"cloudquery", "github"})
_OURS = frozenset({"", "cloudquery", "sharder"})  # teams whose plugins may be built in


def is_program(model: Plugin, names: Collection[str]) -> bool:
    """Whether a document names a program of its own; `names` are the built-in plugins of its kind."""
    if model.registry == "python":
        return False  # of sources only
    if model.registry not in _HUB or model.team not in _OURS:
        return True
    # The hub has no plugin without a version, so that a misspelt one of ours is still told.
    return model.team == "cloudquery" and model.plugin not in names and bool(model.version)


def builtin(model: Plugin | str, names: Collection[str], kind: str) -> str:
    """The name of the built-in plugin, empty for a program; a text is a name already.

    Raises InputError for what is neither.
    """
    if not isinstance(model, str):
        if model.registry == "python":
            raise InputError(
                f"`registry: python` is for sources, and {kind} '{model.name}' is none",
                f"built in are: {', '.join(names)}",
            )
        if is_program(model, names):
            return ""
    name = model if isinstance(model, str) else model.plugin
    if name in names:
        return name
    near = nearest(name, names)
    hint = f"did you mean '{near}'? " if near else ""
    hub = (
        "; a plugin of CloudQuery's hub needs its `version`"
        if isinstance(model, Plugin) and model.team == "cloudquery"
        else ""
    )
    raise InputError(
        f"there is no {kind} plugin '{name}'", f"{hint}known are: {', '.join(names)}{hub}"
    )
