"""closed/<round>.json: what a round did, and what it did not. The exit code follows from it alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from contracts.documents import Document


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class CellCounts(_Model):
    """Cells by outcome."""

    ok: int = 0
    failed: int = 0
    skipped: int = 0


class TableSummary(_Model):
    """One top-level table with its descendants."""

    source: str
    table: str
    cells: CellCounts
    rows: int
    bytes: int
    seconds: float


class DestinationSummary(_Model):
    """One load: a top-level table in one destination. `error` is empty when it is complete."""

    destination: str
    source: str
    table: str
    published: int
    stale: int
    guarantee: str
    error: str = ""


class Problem(_Model):
    """Cells that did not end ok, grouped by source, table, reason; `clients` are examples, 10 at most."""

    source: str
    table: str
    outcome: str
    reason: str
    cells: int
    clients: tuple[str, ...]
    message: str


class Summary(Document):
    """The answer of a round."""

    kind: ClassVar[str] = "summary"

    run: str
    round: int
    sync_time: datetime
    started: datetime
    ended: datetime
    exit_code: int
    cells: CellCounts
    tables: tuple[TableSummary, ...]
    destinations: tuple[DestinationSummary, ...]
    problems: tuple[Problem, ...]
    rows: int
    bytes: int
    attempts_lost: int = 0
    warnings: tuple[str, ...] = ()
    cancelled: str = ""
    rows_per_destination: Mapping[str, int] = {}
