"""Columns that join the primary key."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pyarrow as pa

from contracts.errors import InputError, Permanent
from contracts.table import Table
from loader.transformers.base import Shown
from loader.transformers.basic.options import Transformation
from loader.transformers.basic.targets import with_columns


def add(t: Transformation, table: Table, at: datetime) -> Shown:
    """No column is unique by itself any more: a row is told from others by the longer key."""
    del at
    for name in t.columns:
        if name not in table:
            raise InputError(
                f"add_primary_keys: table '{table.name}' has no column '{name}'",
                f"its columns are {', '.join(c.name for c in table.columns)}; or narrow `tables`",
            )
    result = with_columns(
        table,
        (
            replace(c, unique=False, primary_key=c.primary_key or c.name in t.columns)
            for c in table.columns
        ),
    )

    def check(batch: pa.RecordBatch) -> pa.RecordBatch:
        for name in t.columns:
            if batch.column(name).null_count:
                raise Permanent(
                    f"add_primary_keys: column '{name}' of table '{table.name}' is null in some rows, "
                    "and no key can hold that; nothing was loaded",
                    "take the column out of the key, or leave such rows out before: kind: drop_rows",
                )
        return batch

    return Shown(result, check)
