"""The commit of a shard: the create-only object that makes one attempt's result *the* result.

It is the manifest: parts, rows per cell, checksums, outcomes, cursors.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from contracts.documents import Document
from contracts.errors import Reason
from contracts.table import Table, TableDocument

Outcome = Literal["ok", "failed", "skipped"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class Part(_Model):
    """One data file. `cells` counts its rows per client; clients in `dropped` are never loaded from it.

    `checksum` is `crc32:` and eight hex digits over the object's bytes. `form`: the schema of the file; 0: as
    planned, n: the n-th of the commit's `tables`.
    """

    key: str
    table: str
    rows: int
    bytes: int
    checksum: str
    cells: Mapping[str, int]
    dropped: tuple[str, ...] = ()
    form: int = 0

    @property
    def loadable(self) -> int:
        """Rows of the cells that may be loaded."""
        return self.rows - sum(self.cells[c] for c in self.dropped)


class Value(_Model):
    """A value of a column: the name of its type in our documents, and its text as the stage's CSV has it."""

    type: Any
    text: str


class Tombstone(_Model):
    """Rows of the cell that the source knows to be gone: those whose columns have the values of `where`.

    `relations`: (child, parent) of tables whose rows go with those of their parents. `before`: how many rows of
    the cell, and of the client's cells of those children, had been written; what is written later stays.
    """

    where: Mapping[str, Value]
    relations: tuple[tuple[str, str], ...] = ()
    before: Mapping[str, int]


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
    deletes: tuple[Tombstone, ...] = ()

    @property
    def gives(self) -> bool:
        """Whether there is something of it to load."""
        return self.outcome == "ok" or bool(self.rows or self.cursor)


class Commit(Document):
    """commits/<shard>.json. With a `verdict` every planned cell of the shard has that outcome.

    `tables`: the schemas of parts that are not as the plan has them. A commit with any, or with tombstones, is of
    version 2, all others of version 1: a reader of version 1 can read them.
    """

    kind: ClassVar[str] = "commit"
    current: ClassVar[int] = 2

    run: str
    shard: str
    attempt: str
    worker: str = ""
    started: datetime
    ended: datetime
    parts: tuple[Part, ...] = ()
    cells: tuple[Cell, ...] = ()
    verdict: Cell | None = None
    tables: tuple[TableDocument, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _versioned(cls, data: Any) -> Any:
        """The version follows from what is in it."""
        if not isinstance(data, dict):
            return data
        cells = data.get("cells")
        deletes = (
            c.get("deletes") if isinstance(c, dict) else getattr(c, "deletes", ())
            for c in (cells if isinstance(cells, list | tuple) else ())
        )
        return {**data, "version": 2} if data.get("tables") or any(deletes) else data

    @model_validator(mode="after")
    def _forms_exist(self) -> Self:
        for part in self.parts:
            if not 0 <= part.form <= len(self.tables) or (
                part.form and self.tables[part.form - 1].name != part.table
            ):
                raise ValueError(f"part {part.key} has a form that the commit does not name")
        return self

    def form(self, part: Part) -> Table | None:
        """The schema of a part; None: as planned."""
        return self.tables[part.form - 1] if part.form else None

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
