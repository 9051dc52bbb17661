"""Which older rows a plugin may be told to delete: a decision without a plugin.

The protocol's only deletion by age takes *every* older row of a source from a table. Its deletion by value knows
nothing but equality, so that it would take the rows just written, too (or, sent before them, lose the old ones
if we die in between). So rows go only where all of the older ones are stale; otherwise all of them stay.
"""

from __future__ import annotations

from loader.publication import TablePublication
from loader.sql import Stale


def deletable(stale: Stale | None) -> bool:
    """Every cell of the run is ok now, and one of its rounds knew every client that there is.

    That is when rows without a client may go, too: nothing older of the source is left then.
    """
    return stale is not None and stale.without_client


def kept(t: TablePublication) -> str:
    """Why older rows of a table stay although the write mode deletes; empty if they do not."""
    if t.stale is None or deletable(t.stale):
        return ""
    left = t.cells.failed + t.cells.skipped
    why = (
        f"{left} of its cells did not end ok"
        if left
        else "the list of clients was not whole"
        if t.cells.ok
        else "it has no cells"
    )
    return (
        f"older rows of table '{t.table}' stay in the destination: {why}, and a plugin can only be told to "
        "delete all of them"
    )
