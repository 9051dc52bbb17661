"""A source that is a plugin of CloudQuery's: a program of its own, in any language."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contracts.errors import missing_extra
from contracts.spec import Source as SourceSpec

if TYPE_CHECKING:
    from worker.sources.base import Context, Source

_NEEDS = frozenset({"grpc", "cloudquery", "google"})


def open(document: SourceSpec, context: Context) -> Source:  # noqa: A001 — as every source module has it
    """Nothing is started yet. Raises MissingExtra, InputError for clients that cannot be found."""
    try:
        from worker.sources.plugin.source import PluginSource
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in _NEEDS:
            raise
        raise missing_extra(package, "plugins", f"the plugin of '{document.name}'") from error
    from contracts.plugin.plugin import Plugin

    plugin = Plugin.of(document, context.settings)
    return PluginSource(plugin, document.spec, context)
