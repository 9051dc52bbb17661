"""Chunks of dicts → Arrow, a column at a time.

What can be read without loss is (ISO times and numbers in text), everything else is an error that says
which column, which row and which value.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa

from contracts import types
from contracts.errors import SchemaChanged
from contracts.table import Column, Table
from worker.sources.exact import exactly

_WRONG = (pa.ArrowException, ValueError, TypeError, OverflowError)


class Shape:
    """The columns of a table that its source fills."""

    def __init__(self, table: Table) -> None:
        self._table = table.name
        self._columns = tuple(c for c in table.columns if not c.name.startswith("_cq_"))
        self._names = frozenset(c.name for c in self._columns)
        self._schema = pa.schema([c.field for c in self._columns])

    def batch(self, rows: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
        """Missing keys are null, keys that are no columns are left out. Raises SchemaChanged."""
        if not isinstance(rows, list | tuple) or not all(isinstance(r, Mapping) for r in rows):
            raise SchemaChanged(
                f"{self._table}: a chunk is a list of rows, and a row a dict; this one is "
                f"{type(rows).__name__}: {rows!r:.60}",
                "yield [row], or an Arrow batch",
            )
        arrays = [self._array(c, [row.get(c.name) for row in rows]) for c in self._columns]
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)

    def of(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """A batch of the source's own without columns that the table does not have."""
        return batch.select([name for name in batch.schema.names if name in self._names])

    def _array(self, column: Column, values: list[Any]) -> pa.Array:
        try:
            return _converted(column.type, values)
        except _WRONG as error:
            row, value = next(
                ((i, v) for i, v in enumerate(values) if not _fits(column.type, v)), (0, values)
            )
            raise SchemaChanged(
                f"{self._table}: {column.name} of row {row} of a chunk is no {column.type}: {value!r:.60}",
                str(error)[:200],
            ) from error


def _fits(type_: pa.DataType, value: Any) -> bool:
    try:
        _converted(type_, [value])
    except _WRONG:
        return False
    return True


def _converted(type_: pa.DataType, values: list[Any]) -> pa.Array:
    if type_ == types.JSON:
        texts = [None if v is None else _json(v) for v in values]
        return pa.ExtensionArray.from_storage(type_, pa.array(texts, pa.string()))
    if type_ == types.UUID:
        return exactly(pa.array([v if v is None else str(v) for v in values], pa.string()), type_)
    if _is_safe(type_):
        try:
            return pa.array(values, type_)
        except _WRONG:
            pass
    return exactly(pa.array(values), type_)


def _is_safe(type_: pa.DataType) -> bool:
    """Whether Arrow makes an array of this type or fails: given floats it cuts integers (1.5 → 1), and
    given times it cuts what is finer than the unit, without a word.
    """
    test = pa.types
    if test.is_struct(type_):
        return all(_is_safe(f.type) for f in type_)
    if test.is_list(type_):
        return _is_safe(type_.value_type)
    kinds = (test.is_string, test.is_boolean, test.is_floating, test.is_decimal, test.is_binary)
    return any(kind(type_) for kind in kinds)


def _json(value: Any) -> str:
    """JSON text of a value; a text becomes a JSON string. What JSON does not have is its `str`."""
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except orjson.JSONEncodeError:  # an integer above 64 bits
        return json.dumps(value, default=str)
