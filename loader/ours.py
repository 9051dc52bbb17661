"""The tables that Sharder itself keeps in a warehouse: the fence, the two for readers, CloudQuery's state."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from contracts.table import Column, Table
from loader.dialect import Dialect
from loader.shape import PhysicalColumn, PhysicalTable
from loader.sql import OURS

_TIME = pa.timestamp("us")


def _column(name: str, type_: pa.DataType, description: str = "", *, key: bool = False) -> Column:
    return Column(name, type_, nullable=not key, primary_key=key, description=description)


FENCE = Table(
    "fence",
    (
        _column("source", pa.string(), "Name of the source in the spec", key=True),
        _column("table_name", pa.string(), "Top-level table", key=True),
        _column("schema_name", pa.string(), "Schema that the table is in", key=True),
        _column("sync_time", _TIME, "Sync time of the newest load"),
        _column("run", pa.string(), "Its run"),
        _column("round", pa.int64(), "Its round"),
        _column("load_id", pa.string(), "Its id; empty before the first load"),
        _column("rounds", pa.string(), "Every round of that run whose rows are in, as JSON"),
        _column("taken", pa.int64(), "How often the row was locked for a publish"),
    ),
)

LOADS = Table(
    "sharder_loads",
    (
        _column("load_id", pa.string(), "Run, round, source and top-level table of the load"),
        _column("run", pa.string(), "Id of the run"),
        _column("round", pa.int64(), "Round of the run: 1, or more after `retry`"),
        _column("source", pa.string(), "Name of the source in the spec"),
        _column("table_name", pa.string(), "The table"),
        _column("sync_time", _TIME, "`_cq_sync_time` of its rows, UTC"),
        _column("rows", pa.int64(), "Rows inserted or updated by this load"),
        _column("duplicates", pa.int64(), "Rows of the same key within the load, reduced to one"),
        _column("stale", pa.int64(), "Older rows that were removed"),
        _column("copied", pa.int64(), "Rows copied from the stage"),
        _column("cells_ok", pa.int64(), "Cells that are ok after this round"),
        _column("cells_failed", pa.int64(), "Cells that failed"),
        _column("cells_skipped", pa.int64(), "Cells that were skipped"),
        _column("complete", pa.bool_(), "Whether every cell of the run is ok after this round"),
        _column("loaded_at", _TIME, "When the load was published, UTC"),
    ),
)

CELLS = Table(
    "sharder_cells",
    (
        _column("run", pa.string(), "Id of the run"),
        _column("round", pa.int64(), "Round in which the cell ended so"),
        _column("source", pa.string(), "Name of the source in the spec"),
        _column("table_name", pa.string(), "The table"),
        _column("client", pa.string(), "The client, as in `_cq_client_id`"),
        _column("outcome", pa.string(), "`failed` or `skipped`"),
        _column("reason", pa.string(), "denied, throttled, region_off, …"),
        _column("message", pa.string(), "What the source said"),
        _column("sync_time", _TIME, "Sync time of the run, UTC"),
    ),
)

# The cells of one load, copied like rows; the stale scope and `sharder_cells` are read from it.
CELLS_LANDING = Table(
    "cells",
    tuple(
        _column(name, pa.int64() if name == "round" else pa.string())
        for name in ("table_name", "client", "round", "outcome", "reason", "message")
    ),
)


def state(name: str) -> Table:
    """CloudQuery's table of cursors; `name` is `backend_options.table_name`."""
    return Table(
        name,
        (
            _column("key", pa.string(), key=True),
            Column("value", pa.string(), nullable=False),
            Column("version", pa.uint64(), nullable=False),
        ),
    )


def physical(d: Dialect, table: Table, schema: str = "", name: str = "") -> PhysicalTable:
    """A table of ours as the engine has it; it is not subject to `pk_mode` or `write_mode`."""
    columns = tuple(
        PhysicalColumn(c.name, d.map_type(c.type).sql, c.nullable) for c in table.columns
    )
    shape = PhysicalTable(d.name_of(name or table.name), columns, table.primary_key)
    return replace(shape, schema=schema)


def fence(d: Dialect) -> PhysicalTable:
    return physical(d, FENCE, OURS)


def loads(d: Dialect) -> PhysicalTable:
    return physical(d, LOADS)


def cells(d: Dialect) -> PhysicalTable:
    return physical(d, CELLS)
