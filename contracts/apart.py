"""A shard that several tables share, taken apart: what each of them would have had alone.

Who counts, loads or retries a table looks at its own cells and parts; the seconds of a shared shard are
spread over its tables by what they gave.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from contracts.commit import Cell, Commit, Part
from contracts.plan import Plan, PlannedTable, Shard

# A call that finds nothing takes about as long as fetching so many rows.
ROWS_PER_CALL = 50


def of_table(shard: Shard, commit: Commit, table: PlannedTable) -> tuple[Shard, Commit]:
    """The share of one table: its cells and its parts."""
    if shard.tables == 1:
        return shard, commit
    mine = {t.name for t in table.tree}
    return replace(shard, table=table.name, tables=1), commit.model_copy(
        update={
            "cells": tuple(c for c in commit.cells if c.table in mine),
            "parts": tuple(p for p in commit.parts if p.table in mine),
        }
    )


def apart(shard: Shard, commit: Commit, plan: Plan) -> list[tuple[Shard, Commit]]:
    """One shard and commit per top-level table. Seconds and expected seconds add up to the whole.

    Cells and parts of no table of the shard stay with its first one.
    """
    if shard.tables == 1:
        return [(shard, commit)]
    tables = plan.tables_of(shard)
    top_of = {t.name: n for n, table in enumerate(tables) for t in table.tree}
    cells: list[list[Cell]] = [[] for _ in tables]
    parts: list[list[Part]] = [[] for _ in tables]
    for cell in commit.cells:
        cells[top_of.get(cell.table, 0)].append(cell)
    for part in commit.parts:
        parts[top_of.get(part.table, 0)].append(part)
    spent = _shares([sum(c.rows + ROWS_PER_CALL for c in found) for found in cells])
    expected = _shares([table.cost_s for table in tables])
    seconds = (commit.ended - commit.started).total_seconds()
    return [
        (
            replace(shard, table=table.name, tables=1, cost_s=shard.cost_s * expected[n]),
            commit.model_copy(
                update={
                    "cells": tuple(cells[n]),
                    "parts": tuple(parts[n]),
                    "ended": commit.started + timedelta(seconds=seconds * spent[n]),
                }
            ),
        )
        for n, table in enumerate(tables)
    ]


def _shares(weights: Sequence[float]) -> list[float]:
    """They add up to 1; all alike where nothing has a weight."""
    whole = sum(weights)
    return [w / whole if whole else 1 / len(weights) for w in weights]
