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


class MemberSummary(_Model):
    """One table of a tree: the top-level table itself, or a descendant. `lost` cells are among the failed."""

    table: str
    cells: CellCounts
    rows: int
    lost: int = 0  # cells of which every attempt died


class TableSummary(_Model):
    """One top-level table with its descendants; `members` counts each of its selected tables apart."""

    source: str
    table: str
    cells: CellCounts
    rows: int
    bytes: int
    seconds: float  # of workers, over all shards
    members: tuple[MemberSummary, ...] = ()


class LoadedSummary(_Model):
    """Rows of one table of a load."""

    table: str
    published: int
    duplicates: int = 0
    stale: int = 0


class DestinationSummary(_Model):
    """One load: a top-level table in one destination. `error` is empty when it is complete."""

    destination: str
    source: str
    table: str
    published: int
    stale: int
    guarantee: str
    error: str = ""
    seconds: float = 0.0
    duplicates: int = 0  # rows of the same key within the load, reduced to one
    cells: CellCounts = CellCounts()  # that the load found, over all rounds so far
    warnings: int = 0
    members: tuple[LoadedSummary, ...] = ()


class ClientSummary(_Model):
    """A client of which not every cell ended ok. `reason` is that of the first such cell."""

    source: str
    client: str
    failed: int
    skipped: int
    reason: str


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
    release: str = ""  # of the program that closed the round
    clients: tuple[ClientSummary, ...] = ()  # the worst, 100 at most; who is not here ended ok …
    clients_not_ok: int = 0  # … if there are not more of them than that
