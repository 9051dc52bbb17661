"""JSON, one object per line: columns become Python values, rows become objects, nulls are kept.

A text that is JSON (its column says so) stands in the line as it is, so that no digit of a number is lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
import pyarrow as pa

from contracts import types
from contracts.stagefile.text import to_values


def encode(batch: pa.RecordBatch) -> bytes:
    """The rows as lines, each with its line break."""
    names = batch.schema.names
    columns = [_values(column) for column in batch.columns]
    rows: Iterable[tuple[Any, ...]] = (
        zip(*columns, strict=True) if columns else (() for _ in range(batch.num_rows))
    )
    dumps, option = orjson.dumps, orjson.OPT_APPEND_NEWLINE
    return b"".join([dumps(dict(zip(names, row, strict=True)), option=option) for row in rows])


def _values(column: pa.Array) -> list[Any]:
    if types.extension_of(column.type) == "json":
        return [None if v is None else _json(v) for v in column.storage.to_pylist()]
    return to_values(column)


def _json(text: str) -> Any:
    """The text itself; a text that is no JSON is a text. Line breaks can only stand between its tokens."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    if "\n" in text or "\r" in text:
        text = text.replace("\n", " ").replace("\r", " ")
    return orjson.Fragment(text)
