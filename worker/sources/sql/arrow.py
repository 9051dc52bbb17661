"""From what a driver delivers to the frozen schema: unwrap, cast exactly, refuse what would be lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from contracts.errors import SchemaChanged
from worker.sources.exact import between, exactly
from worker.sources.sql.engine import ColumnPlan, Limits

Infinity = Literal["fail", "null"]
_DAY_US = 86_400_000_000


def conform(
    batch: pa.RecordBatch,
    columns: Sequence[ColumnPlan],
    *,
    table: str,
    limits: Limits,
    infinity: Infinity = "fail",
) -> pa.RecordBatch:
    """The batch with exactly the planned columns and types. Raises SchemaChanged, naming the column."""
    arrays = []
    for i, column in enumerate(columns):
        try:
            array = _finite(exactly(batch.column(i), column.type), limits, infinity)
        except (pa.ArrowException, ValueError, TypeError) as error:
            raise SchemaChanged(
                f"{table}.{column.name}: {error}",
                f"if the values are right, set column_types: {{{table}: {{{column.name}: text}}}}",
            ) from error
        if not column.nullable and array.null_count:
            raise SchemaChanged(f"{table}.{column.name}: a null in a key column")
        arrays.append(array)
    schema = pa.schema([pa.field(c.name, c.type, c.nullable) for c in columns])
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _finite(array: pa.Array, limits: Limits, infinity: Infinity) -> pa.Array:
    """Drivers turn the engine's `infinity` into arbitrary numbers; those become null or an error."""
    kind = array.type
    if pa.types.is_list(kind):
        if pa.types.is_temporal(
            kind.value_type
        ):  # flattening copies: only where there is something to find
            _finite(array.flatten(), limits, "fail")
        return array
    if pa.types.is_time64(kind) and kind.unit == "us":
        between(array.view(pa.int64()), 0, _DAY_US - 1, "24:00:00, which Arrow has not")
        return array
    if pa.types.is_date32(kind):
        numbers, (low, high) = array.view(pa.int32()), limits.days
    elif pa.types.is_timestamp(kind) and kind.unit == "us":
        numbers, (low, high) = array.view(pa.int64()), limits.micros
    else:
        return array
    if infinity == "fail":
        between(numbers, low, high, "infinity; set infinity: null, or read the column as text")
        return array
    outside = pc.or_(pc.less(numbers, low), pc.greater(numbers, high))
    return pc.if_else(outside, pa.scalar(None, kind), array) if pc.any(outside).as_py() else array
