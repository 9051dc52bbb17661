"""A source of somebody else's that is written in Python against our protocol (`registry: python`).

`path: module:factory` names it; it runs in the worker's own process. To write one, `author` helps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel

    from worker.sources.base import Context, Source


def open(path: str, spec: Mapping[str, Any], context: Context) -> Source:  # noqa: A001 — the agreed name
    """The source that the factory makes. Raises InputError: nothing there, or it makes no source."""
    from worker.sources.python import find

    return find.source(path, spec, context)


def options(path: str) -> type[BaseModel]:
    """The model of the nested spec: the factory's `Options`, or its module's, or anything goes."""
    from worker.sources.python import find

    return find.options(find.factory(path))
