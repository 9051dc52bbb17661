"""What `migrate` did in one destination: per table what was created, altered or refused, and why."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from contracts.cursors import Failure
from contracts.documents import Document

# migrated: left to a plugin, which does not say what it did.
Action = Literal["created", "altered", "rebuilt", "unchanged", "migrated", "refused"]


class MigratedTable(BaseModel):
    """One table of one source. `rows_dropped`: old rows that a rebuild could not take along."""

    model_config = ConfigDict(frozen=True)

    source: str
    table: str
    action: Action
    changes: tuple[str, ...] = ()
    rows_dropped: int = 0
    error: str = ""


class Migrated(Document):
    """migrations/<destination>.json. With an `error` the destination itself could not be worked with."""

    kind: ClassVar[str] = "migration"

    run: str
    destination: str
    tables: tuple[MigratedTable, ...] = ()
    error: Failure | None = None
