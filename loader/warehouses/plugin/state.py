"""Cursors in CloudQuery's state table, through the plugin: key, value, version; the highest version is in force.

A destination that appends may hold a key several times, and one that merges holds it once; reading takes
both. The table keeps its key in every write mode, as it does for CloudQuery's own plugins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import pyarrow as pa

from loader import ours


class Entry(NamedTuple):
    """Of two entries of a key the greater one is in force."""

    version: int
    value: str


Entries = Mapping[str, Entry]


def read(batches: Iterable[pa.RecordBatch]) -> dict[str, Entry]:
    """A table without versions is one of an older plugin: all of them are 0."""
    found: dict[str, Entry] = {}
    for batch in batches:
        keys, values = (batch.column(name).to_pylist() for name in ("key", "value"))
        has = "version" in batch.schema.names
        versions = batch.column("version").to_pylist() if has else [0] * batch.num_rows
        for key, value, version in zip(keys, values, versions, strict=True):
            if key is not None:
                entry = Entry(int(version or 0), value or "")
                found[key] = max(entry, found.get(key, entry))
    return found


def changed(found: Entries, cursors: Mapping[str, str]) -> dict[str, Entry]:
    """What must be written so that the cursors are in force; nothing if they are already."""
    nothing = Entry(0, "")
    return {
        key: Entry(found.get(key, nothing).version + 1, value)
        for key, value in sorted(cursors.items())
        if key not in found or found[key].value != value
    }


def batch(table: str, entries: Entries) -> pa.RecordBatch:
    schema = ours.state(table).schema
    rows = ([*entries], [e.value for e in entries.values()], [e.version for e in entries.values()])
    arrays = [pa.array(column, field.type) for column, field in zip(rows, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
