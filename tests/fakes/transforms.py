"""Short words for tests of transformers: options as text would give them, tables and batches by hand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from contracts.table import Column, Table
from loader.transformers import registry
from loader.transformers.base import Shown, Transformer

AT = datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=UTC)


def basic(*transformations: Mapping[str, Any]) -> Transformer:
    options = registry.options("basic").model_validate({"transformations": list(transformations)})
    return registry.open_transformer("basic", options)


def flattener(*tables: str) -> Transformer:
    options = registry.options("jsonflattener").model_validate({"tables": list(tables) or ["*"]})
    return registry.open_transformer("jsonflattener", options)


def one(name: str, type_: pa.DataType, **kwargs: Any) -> Table:
    """A table `t` of one column."""
    return Table("t", (Column(name, type_, **kwargs),))


def batch(table: Table, *columns: Any) -> pa.RecordBatch:
    arrays = [
        c if isinstance(c, pa.Array) else storage(c, column.type)
        for c, column in zip(columns, table.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=table.schema)


def storage(values: Any, type_: pa.DataType) -> pa.Array:
    if isinstance(type_, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(type_, pa.array(values, type_.storage_type))
    return pa.array(values, type_)


def after(shown: Shown, given: pa.RecordBatch) -> dict[str, list[Any]]:
    """The batch as it is shown, column → values; it has exactly the schema of the shown table."""
    found = shown.batch(given) if shown.batch else given
    assert found.schema.equals(shown.table.schema)
    found.validate(full=True)
    return {name: found.column(name).to_pylist() for name in found.schema.names}
