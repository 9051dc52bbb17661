"""A table of state, as checkpoints and state backends carry it: key, value, and with Go a version."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from contracts.plugin.errors import Malformed

KEY, VALUE, VERSION = "key", "value", "version"


def cursor_of(batches: Iterable[pa.RecordBatch]) -> dict[str, tuple[str, int]]:
    """Key → (value, version); of a key that comes again the highest version counts, else the last.

    Raises Malformed for a record that is no table of state.
    """
    found: dict[str, tuple[str, int]] = {}
    for batch in batches:
        if missing := {KEY, VALUE} - set(batch.schema.names):
            raise Malformed(f"state without column {sorted(missing)}: {batch.schema.names[:8]}")
        keys = batch.column(KEY).cast(pa.string()).to_pylist()
        values = batch.column(VALUE).cast(pa.string()).to_pylist()
        versioned = VERSION in batch.schema.names
        versions = (
            batch.column(VERSION).cast(pa.int64()).to_pylist() if versioned else [0] * len(keys)
        )
        for key, value, version in zip(keys, values, versions, strict=True):
            if key is None:
                raise Malformed("state whose key is null")
            if key not in found or (version or 0) >= found[key][1]:
                found[key] = (value or "", version or 0)
    return found


def values_of(batches: Iterable[pa.RecordBatch]) -> dict[str, str]:
    """Key → value, as `cursor_of`."""
    return {key: value for key, (value, _) in cursor_of(batches).items()}
