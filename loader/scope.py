"""Which older rows are known to be stale: a decision from outcomes, made without an engine."""

from __future__ import annotations

from contracts.plan import PlannedTable
from contracts.spec import WriteMode
from contracts.table import Table
from loader.outcomes import Round, Survey
from loader.publication import Counts
from loader.sql import Stale


def stale(table: Table, rounds: list[Round], found: Survey, mode: WriteMode) -> Stale | None:
    """None: nothing may be deleted from the table.

    With an authoritative client list (of a round that this load covers) the older rows of every client go,
    except of those that were planned and did not end ok: so departed accounts go and denied ones stay.
    Without one the scope is exactly the cells that ended ok. Rows without a client id go only when every
    cell of the run is ok. A table declared incremental keeps everything, and so do its descendants:
    they hold what was read in earlier runs. So does a table that is fully refreshed.

    Where `_cq_client_id` is the source's own, no row says which cell it is of: all of them are treated like
    rows without a client id.
    """
    if mode != "overwrite-delete-stale":
        return None
    newest = rounds[-1]
    if _keeps(table, newest.table) or newest.plan.refreshes(newest.table):
        return None
    covered = [r for r in rounds if r.number in found.pending]
    counts = found.counts.get(table.name, Counts())
    every_cell_ok = counts.ok > 0 and not counts.failed and not counts.skipped
    everything = every_cell_ok and any(r.table.authoritative for r in rounds)
    if table.own_client_ids:
        return Stale(others=True, without_client=True, every=True) if everything else None
    return Stale(
        others=any(r.table.authoritative for r in covered),
        without_client=everything,
    )


def _keeps(table: Table, planned: PlannedTable) -> bool:
    """Whether the table or one of its ancestors is declared incremental."""
    by_name = {t.name: t for t in planned.tree}
    at: Table | None = table
    while at is not None:
        if at.incremental:
            return True
        at = by_name.get(at.parent) if at.parent else None
    return False
