"""How a table lies in Parquet: as it is, where Parquet can, else as text; both directions.

Parquet has no place for intervals, structs without fields, decimals with a negative scale,
fixed-size binary of no bytes, and dictionaries of anything but strings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from contracts import types
from contracts.errors import Permanent
from contracts.stagefile.text import from_text, to_text

BATCH_BYTES = 8 << 20  # Arrow memory of one batch when reading, roughly


def holds(type_: pa.DataType, *, nested: bool = False) -> bool:
    """Whether Parquet stores values of the type such that they come back exactly."""
    test = pa.types
    if test.is_interval(type_):
        return False
    if test.is_decimal(type_):
        return bool(0 <= type_.scale <= type_.precision)
    if test.is_fixed_size_binary(type_):
        return bool(type_.byte_width > 0)
    if test.is_dictionary(type_):
        return bool(test.is_string(type_.value_type))
    coarse = test.is_date64(type_) or getattr(type_, "unit", "") == "s"
    view = test.is_string_view(type_) or test.is_binary_view(type_)
    if nested and (coarse or view or type_ in (types.INET, types.MAC)):
        # These come back in the next finer unit or as their storage: undone for a column by a cast,
        # which Arrow does not know inside of every nested type. And it cannot slice nested views.
        return False
    if test.is_struct(type_):
        fields = [type_.field(i) for i in range(type_.num_fields)]
        names = {f.name for f in fields}
        distinct = bool(fields) and len(names) == len(fields)
        return distinct and all(holds(f.type, nested=True) for f in fields)
    if test.is_map(type_):
        return all(holds(t, nested=True) for t in (type_.key_type, type_.item_type))
    if test.is_nested(type_):
        return holds(type_.value_type, nested=True)
    return True


def physical(schema: pa.Schema) -> pa.Schema:
    """The schema as the file has it."""
    return pa.schema([f if holds(f.type) else f.with_type(pa.string()) for f in schema])


def encode(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A table of the frozen schema, ready for a file of the `physical` schema."""
    if all(f.type == g.type for f, g in zip(table.schema, schema, strict=True)):
        return table
    columns = [
        c if f.type == c.type else pa.chunked_array([to_text(k) for k in c.chunks], pa.string())
        for c, f in zip(table.columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def decode(file: BinaryIO | str, schema: pa.Schema, *, where: str) -> Iterator[pa.RecordBatch]:
    """Batches of the frozen schema; at most one row group is in memory.

    Raises Permanent if the file is not Parquet, is damaged, or has other columns.
    """
    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
            names = parquet.schema_arrow.names
            if names != schema.names:
                raise Permanent(f"{where} has the columns {names}, not {schema.names}")
            for batch in parquet.iter_batches(_rows_per_batch(parquet.metadata)):
                yield _to_frozen(batch, schema)
    except (pa.ArrowException, ValueError, OSError) as error:
        raise Permanent(f"{where} is not a Parquet part of this table: {error}") from error


def _rows_per_batch(metadata: pq.FileMetaData) -> int:
    size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    return int(min(65_536, max(64, BATCH_BYTES * metadata.num_rows // max(size, 1))))


def _to_frozen(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    columns = [_column(c, f.type) for c, f in zip(batch.columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _column(column: pa.Array, type_: pa.DataType) -> pa.Array:
    if column.type == type_:
        return column
    return column.cast(type_) if holds(type_) else from_text(column, type_)
