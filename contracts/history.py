"""How long the cells of a table took last time: an aggregate plus the heaviest clients."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

from contracts.documents import Document


class History(Document):
    """history/<source>/<table>.json. Seconds are a worker's time per cell; rows include descendants."""

    kind: ClassVar[str] = "history"

    source: str
    table: str
    updated: datetime
    cells: int
    mean_s: float
    mean_rows: float
    heavy: Mapping[str, tuple[float, int]] = {}  # client → (seconds, rows), at most 1,000
