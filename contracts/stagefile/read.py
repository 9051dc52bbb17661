"""`read_part`: one part of a shard as batches of the rows that may be loaded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from contracts.errors import Permanent
from contracts.table import CLIENT_ID, Table

if TYPE_CHECKING:
    from contracts.commit import Part
    from contracts.store import Store


def read_part(store: Store, part: Part, table: Table, format_: str) -> Iterator[pa.RecordBatch]:
    """Batches in the table's schema, streamed in bounded memory; rows of `part.dropped` are left out.

    `table` is the planned table, `_cq_*` columns included; `format_` is the plan's: parquet or csv.
    Raises NotFound, and Permanent if the object is not what the manifest says: its columns, its
    checksum (CSV: of the object, Parquet: of its pages) or its number of rows.
    """
    where = f"{store.url}/{part.key}"
    rows = 0
    for batch in _batches(store, part, table.schema, format_, where):
        rows += batch.num_rows
        kept = _kept(batch, part)
        if kept.num_rows:
            yield kept
    if rows != part.rows:
        raise Permanent(f"{where} has {rows} rows; the manifest says {part.rows}")


def _batches(
    store: Store, part: Part, schema: pa.Schema, format_: str, where: str
) -> Iterator[pa.RecordBatch]:
    if format_ == "csv":
        from contracts.stagefile import quoted

        with store.open_read(part.key) as file:
            yield from quoted.decode(file, schema, where=where, checksum=part.checksum)
        return
    from contracts.stagefile import parquet

    with store.open_read(part.key) as file:
        yield from parquet.decode(file, schema, where=where)


def _kept(batch: pa.RecordBatch, part: Part) -> pa.RecordBatch:
    if not part.dropped:
        return batch
    dropped = pc.is_in(batch.column(CLIENT_ID), pa.array(part.dropped, pa.string()))
    return filtered(batch, pc.invert(dropped))


def filtered(batch: pa.RecordBatch, mask: pa.Array) -> pa.RecordBatch:
    """The rows for which the mask, which has no nulls, is true; of columns of every type."""
    columns = [_filtered(column, mask) for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _filtered(array: pa.Array, mask: pa.Array) -> pa.Array:
    try:
        return array.filter(mask)
    except pa.ArrowNotImplementedError:  # views of strings and bytes, at any depth, in Arrow 26
        found = pc.indices_nonzero(mask).to_pylist()
        return pa.concat_arrays([array.slice(i, 1) for i in found] or [array.slice(0, 0)])
