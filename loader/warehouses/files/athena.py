"""Keys of JSON values as Athena can read them: what is no letter, digit or underscore becomes one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson
import pyarrow as pa

_ODD = re.compile(r"[^A-Za-z0-9_]")


def cleaned(batch: pa.RecordBatch, columns: frozenset[str]) -> pa.RecordBatch:
    """The batch with clean keys in its columns of JSON; no value is lost where two keys become one."""
    if not columns & {*batch.schema.names}:
        return batch
    arrays = [
        _column(array) if name in columns else array
        for name, array in zip(batch.schema.names, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=batch.schema)


def _column(array: pa.Array) -> pa.Array:
    texts = [None if v is None else text(v) for v in array.cast(pa.string()).to_pylist()]
    return pa.array(texts, pa.string()).cast(array.type)


def text(value: str) -> str:
    """One JSON text; one that is no JSON stays as it is."""
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError:
        return value
    return orjson.dumps(_clean(found)).decode()


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return dict(_keys(value))
    if isinstance(value, list):
        return [_clean(v) for v in value]
    return value


def _keys(value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """A key that is taken gets a number, in the order of the object: `a-b` and `a.b` are `a_b` and `a_b_2`."""
    taken: set[str] = {k for k in value if not _ODD.search(k)}
    for key, inner in value.items():
        clean = _ODD.sub("_", key)
        if clean != key:
            number, base = 2, clean
            while clean in taken:
                clean, number = f"{base}_{number}", number + 1
            taken.add(clean)
        yield clean, _clean(inner)
