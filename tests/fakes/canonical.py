"""One form for a value, whatever held it: an engine's own type, Parquet, or the text of a CSV file.

The Arrow type that the source declared says how to read it, so that 'equal contents' means equal values and
not equal representations. The one thing that CSV cannot say is kept apart: see `of_csv`.
"""

from __future__ import annotations

import base64
import csv
import io
import ipaddress
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.types import extension_of

Row = Mapping[str, Any]

_ISO_SPAN = re.compile(r"(-)?P(?:(-?\d+)D)?(?:T(?:(-?\d+)H)?(?:(-?\d+)M)?(?:(-?\d+(?:\.\d+)?)S)?)?")


def canonical(type_: pa.DataType, value: Any) -> Any:
    """Plain values that compare: numbers, text, bytes, naive UTC times, lists and mappings of them."""
    if value is None:
        return None
    match extension_of(type_):
        case "uuid":
            return UUID(bytes=value) if isinstance(value, bytes) else UUID(str(value))
        case "json":
            return json.loads(value) if isinstance(value, str) else value
        case "inet":
            return ipaddress.ip_interface(str(value))
        case "mac":
            return value.hex(":") if isinstance(value, bytes) else str(value).lower()
    t = pa.types
    if t.is_boolean(type_):
        return value == "true" if isinstance(value, str) else bool(value)
    if t.is_integer(type_):
        return int(value)
    if t.is_floating(type_):
        return float(value)
    if t.is_decimal(type_):
        return Decimal(str(value)).normalize()
    if t.is_binary(type_):
        return base64.b64decode(value) if isinstance(value, str) else bytes(value)
    if t.is_date(type_):
        return date.fromisoformat(value) if isinstance(value, str) else value
    if t.is_time(type_):
        return time.fromisoformat(value) if isinstance(value, str) else value
    if t.is_timestamp(type_):
        return _moment(value)
    if t.is_duration(type_):
        return value if isinstance(value, timedelta) else _span(str(value))
    if t.is_list(type_):
        items = json.loads(value) if isinstance(value, str) else value
        return [canonical(type_.value_type, item) for item in items]
    if t.is_struct(type_):
        found = json.loads(value) if isinstance(value, str) else value
        return {f.name: canonical(f.type, found.get(f.name)) for f in type_}
    if t.is_map(type_):
        found = json.loads(value) if isinstance(value, str) else value
        pairs = found.items() if isinstance(found, Mapping) else found
        return {k: canonical(type_.item_type, v) for k, v in pairs}
    return str(value)


def of_rows(types: Mapping[str, pa.DataType], rows: Iterable[Row]) -> list[Row]:
    """Rows by the columns of `types`, in order."""
    return in_order([{c: canonical(t, row[c]) for c, t in types.items()} for row in rows])


def in_order(rows: Iterable[Row]) -> list[Row]:
    """By their key and edition."""
    return sorted(rows, key=lambda row: (row["client"], row["number"], row.get("edition", "")))


def of_duckdb(path: str, table: str, types: Mapping[str, pa.DataType]) -> list[Row]:
    import duckdb

    with duckdb.connect(path, read_only=True) as warehouse:
        rows = warehouse.execute(f'FROM "{table}"')
        names = [c[0] for c in rows.description or ()]
        return of_rows(types, (dict(zip(names, row, strict=True)) for row in rows.fetchall()))


def of_postgresql(dsn: str, table: str, types: Mapping[str, pa.DataType]) -> list[Row]:
    import psycopg
    from psycopg.rows import dict_row
    from psycopg.types.json import set_json_loads

    with psycopg.connect(dsn, row_factory=dict_row) as warehouse:
        set_json_loads(lambda text: text.decode() if isinstance(text, bytes) else text, warehouse)
        rows = warehouse.execute(f'SELECT * FROM "{table}"'.encode())
        return of_rows(types, rows)


def of_parquet(files: Sequence[bytes], types: Mapping[str, pa.DataType]) -> list[Row]:
    tables = [pq.read_table(io.BytesIO(file)) for file in files]
    return of_rows(types, (row for table in tables for row in table.to_pylist()))


def of_csv(files: Sequence[str], types: Mapping[str, pa.DataType]) -> list[Row]:
    """An empty field is read as null: the file does not say whether it was an empty text."""
    rows = (
        {name: text or None for name, text in row.items()}
        for file in files
        for row in csv.DictReader(io.StringIO(file, newline=""))
    )
    return of_rows(types, rows)


def _moment(value: Any) -> datetime:
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    assert isinstance(at, datetime)
    return at.astimezone(UTC).replace(tzinfo=None) if at.tzinfo else at


def _span(text: str) -> timedelta:
    found = _ISO_SPAN.fullmatch(text)
    assert found, text
    days, hours, minutes, seconds = (Decimal(part or 0) for part in found.groups()[1:])
    micros = (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1_000_000
    return timedelta(microseconds=int(micros)) * (-1 if found[1] else 1)
