"""The receipt: the record that a load is done (or has failed for good) in one destination."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from contracts.documents import Document


class LoadedTable(BaseModel):
    """What one load did to one table of the tree. Counts are rows."""

    model_config = ConfigDict(frozen=True)

    table: str
    copied: int = 0  # into the landing table; with `dropped` the manifests' rows of ok cells
    duplicates: int = 0  # rows of the same key within the load, reduced to one
    published: int = 0  # inserted or updated
    stale: int = 0  # older rows that were removed
    dropped: int = 0  # left out by a transformer, or taken back by the source


class Receipt(Document):
    """loads/<destination>/<source>/<table>/<round>.json. `rounds`: the rounds whose commits it covers."""

    kind: ClassVar[str] = "receipt"

    run: str
    destination: str
    source: str
    table: str
    round: int
    rounds: tuple[int, ...]
    load: str
    outcome: Literal["ok", "failed"]
    error: str = ""
    guarantee: str = ""
    started: datetime
    ended: datetime
    tables: tuple[LoadedTable, ...] = ()
    cells_ok: int = 0
    cells_failed: int = 0
    cells_skipped: int = 0
    cursors: Mapping[str, str] = {}
    warnings: tuple[str, ...] = ()

    @property
    def published(self) -> int:
        return sum(t.published for t in self.tables)
