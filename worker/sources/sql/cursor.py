"""Incremental tables: which rows are new, and what the next run starts from.

The newest value is read once, when the cell (or its slicing) begins; rows up to it are read and it
becomes the cursor. The boundary decides what happens to rows that equal the cursor but were committed
later, so that none is lost: `again` reads them once more (a key merges them), `hold` leaves the newest
value to the next run, `once` trusts that no two rows share a value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from worker.sources.sql.engine import own
from worker.sources.sql.literals import literal

Boundary = Literal["again", "hold", "once"]


@dataclass(frozen=True)
class Window:
    """Rows of one cell: from `lower` (the last cursor, may be absent) to `upper` (the next one)."""

    column: str
    type: pa.DataType
    boundary: Boundary
    lower: str | None
    upper: str

    def conditions(self) -> list[str]:
        column = own(self.column)
        high = (
            f"{column} {'<' if self.boundary == 'hold' else '<='} {literal(self.upper, self.type)}"
        )
        if self.boundary == "again":
            # Nulls have no place in the order: they come with every run, and the key merges them.
            return [f"({high}{self._lower()}) OR {column} IS NULL"]
        return [f"{high}{self._lower()}"]

    def _lower(self) -> str:
        if self.lower is None:
            return ""
        sign = ">" if self.boundary == "once" else ">="
        return f" AND {own(self.column)} {sign} {literal(self.lower, self.type)}"


def not_before(column: str, lower: str | None, type_: pa.DataType) -> list[str]:
    """Conditions under which the newest value is looked for: a cursor never goes back."""
    found = [f"{own(column)} IS NOT NULL"]
    return found if lower is None else [*found, f"{own(column)} >= {literal(lower, type_)}"]


def newer(lower: str | None, upper: str, type_: pa.DataType) -> str:
    """The later of two cursors. Text is compared by the database only: its order may be any."""
    if lower is None or pa.types.is_string(type_) or isinstance(type_, pa.BaseExtensionType):
        return upper
    values = [pa.scalar(text).cast(type_).as_py() for text in (lower, upper)]
    return upper if values[1] >= values[0] else lower
