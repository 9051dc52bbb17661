"""The `hackernews` source: every item since a point in time, by id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from worker.sources.hackernews.options import Options

if TYPE_CHECKING:
    from worker.sources.base import Context
    from worker.sources.hackernews.source import HackerNews


def open(spec: Mapping[str, Any], context: Context) -> HackerNews:  # noqa: A001 — the agreed name
    """Nothing is asked before it is needed."""
    from worker.sources.hackernews.source import HackerNews

    return HackerNews(Options.model_validate(dict(spec)), context)
