"""What a scripted plugin has to tell: its tables as a Go plugin declares them, and their rows.

Everything follows from (table, account, number of the row), so that a test can say what must arrive:
`rows(script, "things", "a1", 0, 50)`.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pyarrow as pa

# The columns of a table that names none. A column is [name, type, flags…]; flags: key, notnull, unique,
# incremental. Types are Arrow's names and uuid, json, inet, mac.
COLUMNS = [
    ["_cq_id", "uuid", "notnull", "unique"],
    ["_cq_parent_id", "uuid"],
    ["account_id", "string", "key", "notnull"],
    ["id", "int64", "key", "notnull", "incremental"],
    ["name", "string"],
    ["tags", "json"],
    ["address", "inet"],
    ["hardware", "mac"],
    ["created", "timestamp[us, tz=UTC]"],
    ["score", "double"],
    ["enabled", "bool"],
]
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
ADDED = ["added", "string"]  # the column that a `schema_change` brings

_STORAGE = {"uuid": pa.binary(16), "json": pa.binary(), "inet": pa.binary(), "mac": pa.binary()}


def schema(table: dict[str, Any], columns: list[list[str]] | None = None) -> pa.Schema:
    """The table's schema on the wire, with the metadata that Go's SDK sends."""
    facts = {
        "cq:table_name": table["name"],
        "cq:table_title": table.get("title", table["name"].title()),
        "cq:table_description": table.get(
            "description", f"The {table['name']} of a scripted plugin"
        ),
        "cq:extension:constraint_name": f"{table['name']}_cqpk",
        "cq:table_permissions_needed": "null",
        "cq:table_sensitive_columns": json.dumps(table.get("sensitive")),
    }
    facts |= {"cq:table_depends_on": table["parent"]} if table.get("parent") else {}
    facts |= {"cq:extension:incremental": "true"} if table.get("incremental") else {}
    return pa.schema([_field(c) for c in columns or columns_of(table)], metadata=facts)


def columns_of(table: dict[str, Any]) -> list[list[str]]:
    return list(table.get("columns", COLUMNS))


def rows(
    table: dict[str, Any],
    account: str,
    start: int,
    stop: int,
    columns: list[list[str]] | None = None,
) -> pa.RecordBatch:
    """Rows start … stop-1 of one table for one account, with the types of the wire."""
    shape = schema(table, columns)
    arrays = []
    for field, (name, kind, *_) in zip(shape, columns or columns_of(table), strict=True):
        values = [_value(table, account, name, kind, n) for n in range(start, stop)]
        arrays.append(pa.array(values, field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=shape)


def row_id(table: str, account: str, number: int) -> bytes:
    """`_cq_id` of a row: 16 bytes."""
    return hashlib.md5(f"{table}/{account}/{number}".encode()).digest()


def _field(column: list[str]) -> pa.Field:
    name, kind, *flags = column
    facts = {
        f"cq:extension:{key}": "true"
        for flag, key in (
            ("key", "primary_key"),
            ("unique", "unique"),
            ("incremental", "incremental"),
        )
        if flag in flags
    }
    if kind in _STORAGE:
        facts |= {"ARROW:extension:name": kind, "ARROW:extension:metadata": f"{kind}-serialized"}
    facts |= (
        {"cq:extension:type_schema": '{"n":"int64","words":["utf8"]}'} if kind == "json" else {}
    )
    return pa.field(name, _type(kind), "notnull" not in flags, metadata=facts or None)


@cache
def _type(kind: str) -> pa.DataType:
    if kind.startswith("timestamp["):
        unit, _, zone = kind[10:-1].partition(", tz=")
        return pa.timestamp(unit, zone or None)
    if kind.startswith("list<"):
        return pa.list_(_type(kind[5:-1]))
    return _STORAGE.get(kind) or pa.type_for_alias(kind)


def _value(table: dict[str, Any], account: str, name: str, kind: str, n: int) -> Any:
    """Every seventh value of a column that is no key and no id is null."""
    if name == "_cq_id":
        return row_id(table["name"], account, n)
    if name == "_cq_parent_id":
        return row_id(table["parent"], account, n) if table.get("parent") else None
    if name in ("account_id", "_cq_client_id"):
        return account
    if name == "id":
        return n
    if (n + len(name)) % 7 == 0:
        return None
    match kind:
        case "string" | "large_string":
            return f"{account} {name} {n} ü"
        case "json":
            return json.dumps({"n": n, "words": [name, account]}).encode()
        case "inet":
            return f"10.{n % 250}.{n // 250 % 250}.0/24".encode()
        case "mac":
            return bytes([2, 0, *(n % 2**32).to_bytes(4, "big")])
        case "uuid":
            return row_id(name, account, n)
        case "double" | "float":
            return n / 4
        case "bool":
            return n % 2 == 0
        case "binary":
            return f"{n}".encode() * 3
        case "date32":
            return (EPOCH + timedelta(days=n)).date()
        case _ if kind.startswith("timestamp"):
            return EPOCH + timedelta(minutes=n)
        case _ if kind.startswith("list<"):
            return [_value(table, account, "id", kind[5:-1], n)] * (n % 3)
        case _:
            return n
