"""What warehouses share that only take rows: nothing lands, nothing is described, nothing is recorded beside them.

The receipts on the stage say which rounds are in (`Traits.fenced` False), and tables come with their rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from contracts.errors import Permanent
from contracts.receipt import LoadedTable
from loader.migrate import Change, Rebuild
from loader.publication import Fence
from loader.shape import PhysicalTable
from loader.warehouses.base import Rows


class Sink:
    """The part of the Warehouse protocol that has no answer there."""

    def describe(self, table: str) -> PhysicalTable | None:
        """None: what is there is not known, so that nothing has to be migrated by us."""
        del table
        return None

    def apply(self, changes: Sequence[Change]) -> None:
        """Nothing: a table comes with its rows."""

    def rebuild(self, plan: Rebuild, *, may_drop: bool) -> int:
        """0: no old table is known."""
        del plan, may_drop
        return 0

    def copy(self, landing: PhysicalTable, rows: Rows) -> int:
        raise Permanent(f"there are no landing tables here ({landing.name}, {rows.schema})")

    def drop_landings(self, prefix: str) -> None:
        """Nothing: there are none."""

    def fence(self, source: str, top: str) -> Fence | None:
        """None: the receipts on the stage say which rounds were loaded."""
        del source, top
        return None

    def recorded(self, load: str) -> tuple[LoadedTable, ...]:
        """Nothing is recorded beside the rows."""
        del load
        return ()

    def about(self) -> None:
        """No engine tells what it is."""

    def last_syncs(self) -> Mapping[str, datetime]:
        """Nothing is recorded beside the rows."""
        return {}
