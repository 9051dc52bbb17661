"""Values as text and back as SQL: cursors in the state table, bounds of slices in the plan.

The text of a value is Arrow's own (`2024-01-31 10:00:00.123456Z`), the same for every engine.
"""

from __future__ import annotations

from uuid import UUID

import pyarrow as pa

from contracts import types
from worker.sources.sql.engine import text_literal


def encode(value: pa.Scalar) -> str:
    """A value that is not null, as text."""
    if value.type == types.UUID:
        return str(UUID(bytes=value.value.as_py()))
    if isinstance(value, pa.ExtensionScalar):
        return encode(value.value)
    if pa.types.is_string(value.type) or pa.types.is_large_string(value.type):
        return str(value.as_py())
    if pa.types.is_floating(value.type):
        return repr(value.as_py())  # the shortest text that reads back as the same number
    return str(value.cast(pa.string()).as_py())


def literal(text: str, type_: pa.DataType) -> str:
    """The SQL of a value that `encode` wrote. Raises ValueError if the text is not such a value."""
    if pa.types.is_integer(type_):
        return str(int(text))
    if type_ == types.UUID:
        return f"CAST({text_literal(str(UUID(text)))} AS UUID)"
    if pa.types.is_date(type_):
        return f"DATE {text_literal(text)}"
    if pa.types.is_timestamp(type_):
        return f"{'TIMESTAMPTZ' if type_.tz else 'TIMESTAMP'} {text_literal(text)}"
    if pa.types.is_decimal(type_) or pa.types.is_floating(type_):
        kind = "DOUBLE PRECISION" if pa.types.is_floating(type_) else "NUMERIC"
        if pa.types.is_decimal(type_):
            kind += f"({type_.precision},{type_.scale})"
        return f"CAST({text_literal(text)} AS {kind})"
    return text_literal(text)
