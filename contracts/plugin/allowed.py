"""Which plugins a machine runs: a document is written by one person, the machine belongs to another.

SHARDER_ALLOWED_PLUGINS of the process that starts a plugin: patterns with commas between them, each
`registry:path`, or a path alone, which means registry cloudquery. Without the variable everything is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from contracts.errors import Permanent
from contracts.plugin.plugin import Plugin

SETTING = "SHARDER_ALLOWED_PLUGINS"


class NotAllowed(Permanent):
    """The machine does not run this plugin; the document may be fine elsewhere."""

    reason = "denied"


def refuse(plugin: Plugin, environment: Mapping[str, str], words: Sequence[str] = ()) -> None:
    """Raises NotAllowed. words: what is executed for registry local, its first word an absolute path."""
    setting = environment.get(SETTING)
    if setting is None or is_allowed(plugin, setting, words):
        return
    raise NotAllowed(
        f"{plugin} is not among the plugins that this machine runs ({SETTING}={setting})",
        f"use another plugin, or have the machine's owner add {_shown(plugin, words)} to {SETTING}",
    )


def is_allowed(plugin: Plugin, setting: str, words: Sequence[str] = ()) -> bool:
    for pattern in filter(None, map(str.strip, setting.split(","))):
        registry, colon, path = pattern.partition(":")
        if not colon or "/" in registry:
            registry, path = "cloudquery", pattern
        if fnmatchcase(plugin.registry, registry) and _is_meant(plugin, path, words):
            return True
    return False


def _is_meant(plugin: Plugin, pattern: str, words: Sequence[str]) -> bool:
    if plugin.registry != "local":
        return fnmatchcase(plugin.path, pattern)
    # Of a command the program counts, as it is executed: `/opt/plugins/../../bin/sh` is in no directory of
    # plugins. A command as it is written has to be the pattern, letter by letter.
    return plugin.path == pattern or (bool(words) and fnmatchcase(words[0], pattern))


def _shown(plugin: Plugin, words: Sequence[str]) -> str:
    path = words[0] if plugin.registry == "local" and words else plugin.path
    return f"'{path}'" if plugin.registry == "cloudquery" else f"'{plugin.registry}:{path}'"
