"""The `sql` source: any database with an ADBC driver; PostgreSQL, SQLite and DuckDB in particular."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from worker.sources.sql.options import Options as Options

if TYPE_CHECKING:
    from worker.sources.base import Context
    from worker.sources.sql.source import SqlSource


def open(spec: Mapping[str, Any], context: Context) -> SqlSource:  # noqa: A001 — the agreed name
    """Nothing is connected to before it is asked for."""
    from worker.sources.sql.source import SqlSource

    return SqlSource(Options.model_validate(dict(spec)), context)
