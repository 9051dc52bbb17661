"""Reading back what a file destination wrote, with readers of their own: Python's csv and json, pyarrow's Parquet."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.store import Store

OWN = "/_sharder/"


def objects(store: Store, prefix: str = "") -> dict[str, bytes]:
    """Key → content of what readers of a data lake would see, below a prefix."""
    return {
        e.key: store.get(e.key)
        for e in store.list(prefix)
        if OWN not in f"/{e.key.removeprefix(prefix)}"
    }


def rows_of(files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    """The rows of all files, in the order of their names. CSV has texts only; an unquoted empty one is None."""
    return [row for key, data in sorted(files.items()) for row in _rows(key, data)]


def _rows(key: str, data: bytes) -> list[dict[str, Any]]:
    name = key.rsplit("/", 1)[-1]
    if ".gz" in name:
        data = gzip.decompress(data)
    if "parquet" in name:
        table = pq.read_table(io.BytesIO(data))
        for n, field in enumerate(table.schema):
            if str(field.type).startswith("timestamp[ns"):  # Python has no nanoseconds
                table = table.set_column(n, field.name, table.column(n).cast(pa.string()))
        return list(table.to_pylist())
    if "json" in name:
        return [json.loads(line) for line in data.decode().splitlines()]
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))
