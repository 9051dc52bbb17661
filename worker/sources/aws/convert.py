"""Rows as dicts → one Arrow batch.

Flat members go through a single struct array (the fastest way pyarrow has for dicts), everything else
column by column; JSON columns are orjson text whose keys are the Go field names. Members that are
absent are left out of JSON, not written as null.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa

from contracts import types
from contracts.errors import SchemaChanged
from worker.sources.aws.locked import LockedColumn, LockedTable, Names
from worker.sources.aws.naming import field_name
from worker.sources.aws.values import getter

_JSON_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS

Column = Callable[[Sequence[Mapping[str, Any]]], pa.Array]


class Converter:
    """Makes batches of one table, with the wanted columns only."""

    def __init__(self, table: LockedTable, wanted: Sequence[str]) -> None:
        columns = [c for c in table.columns if c.name in set(wanted)]
        self._table = table.name
        self.schema = pa.schema([pa.field(c.name, types.decode(c.type)) for c in columns])
        direct = {c.name: c.source for c in columns if _is_direct(c)}
        fields = {
            source: pa.field(source, self.schema.field(name).type)
            for name, source in direct.items()
        }
        self._struct = pa.struct(list(fields.values()))
        self._place = {source: n for n, source in enumerate(fields)}
        self._direct = direct
        known = {c.source for c in table.columns}
        self._others = {
            c.name: _other(c, self.schema.field(c.name).type, known)
            for c in columns
            if c.name not in direct
        }

    def batch(self, rows: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
        """Raises SchemaChanged if a value does not fit its column."""
        flat = self._flat(rows)
        columns = []
        for field in self.schema:
            if other := self._others.get(field.name):
                columns.append(self._checked(field.name, other, rows))
            else:
                columns.append(flat[self._place[self._direct[field.name]]])
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _flat(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[pa.Array]:
        try:
            made: Sequence[pa.Array] = pa.array(rows, type=self._struct).flatten()
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            # JSON services do not check types: find the column, and mend what can be mended.
            made = [
                self._checked(f.name, _mended(f.name, f.type), rows)
                for f in (self._struct.field(n) for n in range(self._struct.num_fields))
            ]
        return made

    def _checked(self, name: str, column: Column, rows: Sequence[Mapping[str, Any]]) -> pa.Array:
        try:
            return column(rows)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise SchemaChanged(
                f"{self._table}.{name}: AWS gave a value of another type: {error}"
            ) from error


def dumps(value: Any) -> bytes:
    """JSON text: times RFC 3339 in UTC, bytes base64."""
    return orjson.dumps(value, _default, _JSON_OPTIONS)


def renamed(value: Any, names: Names | None) -> Any:
    """A value with the keys of its structures capitalised, as `names` says where."""
    if not names:
        return value
    if isinstance(value, list):
        return [renamed(v, names) for v in value]
    if not isinstance(value, dict):
        return value
    if "*" in names:
        return {k: renamed(v, names["*"]) for k, v in value.items()}
    return {
        (field_name(k) if k in names else k): renamed(v, names.get(k)) for k, v in value.items()
    }


def _is_direct(column: LockedColumn) -> bool:
    """Whether the value is a member of the row as it is."""
    plain = column.source[0] not in ".+^@*" and not set(".|{") & set(column.source)
    return plain and not column.transform and column.type != "json"


def _other(column: LockedColumn, type_: pa.DataType, known: set[str]) -> Column:
    if column.source == "*":
        return lambda rows: _json_array(
            [{k: v for k, v in r.items() if k not in known and k[0] not in ".+^@"} for r in rows]
        )
    get = getter(column.source, column.transform)
    if column.type != "json":
        return lambda rows: pa.array([get(r) for r in rows], type=type_)
    names = column.names
    if names:
        return lambda rows: _json_array([renamed(get(r), names) for r in rows])
    return lambda rows: _json_array([get(r) for r in rows])


def _json_array(values: Sequence[Any]) -> pa.Array:
    texts = [None if v is None else dumps(v) for v in values]
    return pa.ExtensionArray.from_storage(types.JSON, pa.array(texts, type=pa.string()))


def _mended(member: str, type_: pa.DataType) -> Column:
    """One flat column by itself; a number where text is due becomes its text."""

    def column(rows: Sequence[Mapping[str, Any]]) -> pa.Array:
        values = [r.get(member) for r in rows]
        if type_ == pa.string():
            values = [v if v is None or isinstance(v, str) else str(v) for v in values]
        return pa.array(values, type=type_)

    return column


def _default(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"no JSON for {type(value).__name__}")
