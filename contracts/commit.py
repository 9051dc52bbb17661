"""The commit of a shard: the create-only object that makes one attempt's result *the* result.

It is the manifest: parts, rows per cell, checksums, outcomes, cursors.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from contracts.documents import Document
from contracts.errors import Reason

Outcome = Literal["ok", "failed", "skipped"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class Part(_Model):
    """One data file. `cells` counts its rows per client; clients in `dropped` are never loaded from it.

    `checksum` is `crc32:` and eight hex digits over the object's bytes.
    """

    key: str
    table: str
    rows: int
    bytes: int
    checksum: str
    cells: Mapping[str, int]
    dropped: tuple[str, ...] = ()

    @property
    def loadable(self) -> int:
        """Rows of the cells that may be loaded."""
        return self.rows - sum(self.cells[c] for c in self.dropped)


class Cell(_Model):
    """The end of one cell (or of one slice of it). `rows` counts what may be loaded.

    A failed cell of an incremental table may still have rows: those up to its last checkpoint,
    whose cursor is then `cursor`.
    """

    table: str
    client: str
    outcome: Outcome
    rows: int = 0
    reason: Reason | None = None
    message: str = ""
    cursor: Mapping[str, str] = {}


class Commit(Document):
    """commits/<shard>.json. With a `verdict` every planned cell of the shard has that outcome."""

    kind: ClassVar[str] = "commit"

    run: str
    shard: str
    attempt: str
    worker: str = ""
    started: datetime
    ended: datetime
    parts: tuple[Part, ...] = ()
    cells: tuple[Cell, ...] = ()
    verdict: Cell | None = None

    @property
    def rows(self) -> int:
        return sum(c.rows for c in self.cells)

    @property
    def bytes(self) -> int:
        return sum(p.bytes for p in self.parts)


class Attempt(Document):
    """attempts/<job>/<attempt>.json: an attempt exists once this is written.

    It is written again, with the reason, if the attempt ends without a result and can still say why.
    """

    kind: ClassVar[str] = "attempt"

    run: str
    job: str
    attempt: str
    worker: str = ""
    started: datetime
    error: str = ""
    reason: Reason | None = None  # of the error
