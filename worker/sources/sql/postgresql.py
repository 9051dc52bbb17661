"""PostgreSQL through ADBC: binary COPY to Arrow, everything in one read-only, repeatable transaction.

The driver hands over numeric, inet, enum and others as opaque bytes, money as cents, oid as a signed
integer and arrays of several dimensions flattened. So every column is selected by an expression that
its catalogue type decides, and only lossless ones are left as they are.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from itertools import groupby
from typing import Any

import pyarrow as pa

from contracts import types
from contracts.errors import missing_extra
from worker.sources.exact import decimal_type, named
from worker.sources.sql.adbc import batches
from worker.sources.sql.engine import (
    ColumnPlan,
    Limits,
    Overrides,
    Relation,
    Where,
    own,
    quote,
    select,
    text_literal,
)

# Types that the driver delivers whole, with the Arrow type in which they arrive.
_DIRECT: Mapping[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int2": pa.int16(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "float4": pa.float32(),
    "float8": pa.float64(),
    "text": pa.string(),
    "varchar": pa.string(),
    "bpchar": pa.string(),
    "name": pa.string(),
    "char": pa.string(),
    "bytea": pa.binary(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timestamp": pa.timestamp("us"),
    "timestamptz": types.TIMESTAMP,
    "interval": pa.month_day_nano_interval(),
    "json": types.JSON,
    "jsonb": types.JSON,
    "uuid": types.UUID,
}

# The text of values must not depend on who set up the role or the database; and a transaction that
# exported a snapshot waits for its readers.
_SETTINGS = (
    "TIME ZONE 'UTC'",
    "DateStyle = 'ISO'",
    "IntervalStyle = 'iso_8601'",
    "standard_conforming_strings = on",
    "extra_float_digits = 1",
    "idle_in_transaction_session_timeout = 0",
)

# A domain's base type, through any number of domains; the innermost modifier wins.
_CATALOGUE = """
WITH RECURSIVE base(oid, root, typmod) AS (
    SELECT oid, oid, -1 FROM pg_type WHERE typtype <> 'd'
    UNION ALL
    SELECT d.oid, b.root, CASE WHEN b.typmod <> -1 THEN b.typmod ELSE d.typtypmod END
    FROM pg_type d JOIN base b ON d.typbasetype = b.oid WHERE d.typtype = 'd'
)
SELECT n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind,
       coalesce(obj_description(c.oid, 'pg_class'), '') AS description,
       c.reltuples::float8 AS rows, pg_relation_size(c.oid)::int8 AS bytes,
       a.attname::text AS column, coalesce(col_description(c.oid, a.attnum), '') AS comment,
       a.attndims::int8 AS dimensions,
       CASE WHEN a.atttypmod <> -1 THEN a.atttypmod ELSE b.typmod END::int8 AS typmod,
       root.typname::text AS type, root.typtype::text AS typtype,
       coalesce(element.typname::text, '') AS element,
       coalesce(element.typtype::text, '') AS element_typtype,
       coalesce(format_type(element.oid, NULL), '') AS element_sql,
       coalesce(position(' ' || a.attnum || ' ' IN ' ' || k.indkey::text || ' '), 0)::int8 AS key,
       EXISTS (SELECT 1 FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid
               JOIN pg_am am ON am.oid = ic.relam AND am.amname = 'btree'
               WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL
                 AND i.indkey[0] = a.attnum) AS leading
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN base b ON b.oid = a.atttypid
JOIN pg_type root ON root.oid = b.root
LEFT JOIN base eb ON eb.oid = root.typelem AND root.typcategory = 'A'
LEFT JOIN pg_type element ON element.oid = eb.root
LEFT JOIN pg_index k ON k.indrelid = c.oid AND k.indisprimary
WHERE c.relkind::text = ANY (string_to_array({kinds}, ',')) AND NOT c.relispartition
  AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' {more}
ORDER BY n.nspname, c.relname, a.attnum
"""


class Postgresql:
    """One connection; `snapshot` is the id of another transaction's, whose view it then shares."""

    # 4713 BC; the driver turns infinity into a value far below it.
    limits = Limits(
        days=(-2440588, (1 << 31) - 2), micros=(-210866803200000000, 9223371331200000000)
    )

    def __init__(
        self,
        connection_string: str,
        *,
        schemas: tuple[str, ...] = (),
        views: bool = False,
        overrides: Overrides | None = None,
        batch_bytes: int = 16 << 20,
        statement_timeout_s: float = 0.0,
        snapshot: str = "",
    ) -> None:
        try:
            from adbc_driver_postgresql import dbapi
        except ImportError as error:
            raise missing_extra("adbc_driver_postgresql", "sql", "PostgreSQL") from error
        self._schemas, self._views = schemas, views
        self._overrides = overrides or {}
        self._batch_bytes = batch_bytes
        self._connection = dbapi.connect(connection_string, autocommit=True)
        try:
            self._begin(snapshot, statement_timeout_s)
        except BaseException:
            self._connection.close()
            raise

    def _begin(self, snapshot: str, timeout_s: float) -> None:
        self._run("SET TIME ZONE 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'iso_8601'")
        self._run("SET standard_conforming_strings = on; SET extra_float_digits = 1")
        self._run(
            "SET idle_in_transaction_session_timeout = 0"
        )  # an exporter waits for its readers
        if timeout_s:
            self._run(f"SET statement_timeout = {int(timeout_s * 1000)}")
        self._run("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        if snapshot:
            self._run(f"SET TRANSACTION SNAPSHOT {text_literal(snapshot)}")

    def _run(self, statement: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.executescript(statement)

    def relations(self, only: str = "") -> list[Relation]:
        kinds = "r,p,f,v,m" if self._views else "r,p,f"
        more = ""
        if only:
            more = f"AND {text_literal(only)} IN (c.relname, n.nspname || '_' || c.relname)"
        sql = _CATALOGUE.format(kinds=text_literal(kinds), more=more)
        rows = [r for batch in self._batches(sql) for r in batch.to_pylist()]
        found = [
            self._relation(list(columns))
            for (schema, _), columns in groupby(rows, lambda r: (r["schema"], r["name"]))
            if not self._schemas or schema in self._schemas
        ]
        return [r for r in found if not only or r.table == only]

    def _relation(self, rows: list[dict[str, Any]]) -> Relation:
        first = rows[0]
        default = first["schema"] == "public"
        table = first["name"] if default else f"{first['schema']}_{first['name']}"
        overrides = self._overrides.get(table, {})
        plain = first["kind"] in ("r", "m")  # others have no blocks of their own
        return Relation(
            schema=first["schema"],
            name=first["name"],
            columns=tuple(column_plan(r, overrides.get(r["column"], "")) for r in rows),
            kind="view" if first["kind"] in ("v", "m") else "table",
            description=first["description"],
            rows=round(first["rows"]) if first["rows"] >= 0 and first["kind"] != "v" else -1,
            bytes=first["bytes"] if plain else -1,
            pages=first["bytes"] // 8192 if plain else 0,
            leading=frozenset(r["column"] for r in rows if r["leading"]),
            default_schema=default,
        )

    def read(
        self, relation: Relation, columns: Sequence[ColumnPlan], where: Where
    ) -> Generator[pa.RecordBatch, None, None]:
        return self._batches(select(relation, columns, where))

    def _batches(self, sql: str) -> Generator[pa.RecordBatch, None, None]:
        return batches(
            self._connection, sql, {"adbc.postgresql.batch_size_hint_bytes": str(self._batch_bytes)}
        )

    def quantiles(self, relation: Relation, column: ColumnPlan, n: int) -> list[str]:
        """From the planner's own histogram: equal numbers of rows, no scan. Empty before ANALYZE."""
        sql = (
            "SELECT unnest(histogram_bounds::text::text[]) AS bound FROM pg_stats "
            f"WHERE schemaname = {text_literal(relation.schema)} AND tablename = {text_literal(relation.name)} "
            f"AND attname = {text_literal(column.name)} ORDER BY inherited"
        )
        bounds = [b for batch in self._batches(sql) for b in batch.column(0).to_pylist()]
        step = len(bounds) / n
        return bounds if step <= 1 else [bounds[int(i * step)] for i in range(1, n)]

    def export_snapshot(self, relation: Relation) -> str:
        """Also keeps VACUUM FULL and the like away: they would move rows to other blocks.

        A lock that is refused must not end the transaction, whose snapshot others may rely on; the
        export itself is not allowed inside a savepoint.
        """
        self._run("SAVEPOINT before_lock")
        try:
            self._run(f"LOCK TABLE {relation.sql} IN ACCESS SHARE MODE")
        except BaseException:
            self._run("ROLLBACK TO SAVEPOINT before_lock")
            raise
        finally:
            self._run("RELEASE SAVEPOINT before_lock")
        (batch,) = self._batches("SELECT pg_export_snapshot() AS id")
        return str(batch.column(0)[0].as_py())

    def close(self) -> None:
        self._connection.close()


def column_plan(row: Mapping[str, Any], override: str = "") -> ColumnPlan:
    """One row of the catalogue → how the column is selected and what arrives. Pure."""
    name = row["column"]
    if override:
        json = override == "json"
        expression = f"to_json({own(name)})" if json else f"{own(name)}::text"
        type_ = named(override)
    elif row["element"]:
        expression, type_ = _array(row, own(name))
    else:
        expression, type_ = _scalar(row["type"], row["typtype"], row["typmod"], own(name))
    key = row["key"] > 0
    return ColumnPlan(name, expression, type_, key, not key, row["comment"])


def _scalar(type_: str, typtype: str, typmod: int, column: str) -> tuple[str, pa.DataType]:
    if typtype == "c":
        return f"to_json({column})", types.JSON
    if typtype == "b" and type_ in _DIRECT:
        return column, _DIRECT[type_]
    match type_:
        case "numeric":
            return _numeric(typmod, column)
        case "oid":
            return f"{column}::int8", pa.int64()
        case "inet" | "cidr":
            return f"{column}::text", types.INET
        case "macaddr":
            return column, types.MAC
        case _:
            return f"{column}::text", pa.string()


def _numeric(typmod: int, column: str) -> tuple[str, pa.DataType]:
    """numeric(p, s) as a decimal; without precision, or wider than 76 digits, as exact text."""
    if typmod >= 4:
        precision = ((typmod - 4) >> 16) & 0xFFFF
        scale = (typmod - 4) & 0x7FF
        scale = scale - 0x800 if scale >= 0x400 else scale  # eleven bits, signed
        if (decimal := decimal_type(precision, scale)) is not None:
            return column, decimal
    return f"{column}::text", pa.string()


def _array(row: Mapping[str, Any], column: str) -> tuple[str, pa.DataType]:
    """A list; as JSON if it is declared with several dimensions or holds composites.

    PostgreSQL does not hold columns to their declared dimensions and the driver flattens them,
    so such a value is made to fail the query, in words.
    """
    if row["dimensions"] > 1 or row["element_typtype"] == "c":
        return f"to_json({column})", types.JSON
    name, kind = row["element"], row["element_typtype"]
    _, element = _scalar(name, kind, row["typmod"], "")
    direct = kind == "b" and (name in _DIRECT or name == "numeric")
    if not direct:
        element = types.INET if element == types.INET else pa.string()
    sql = row["element_sql"] if direct else "text"
    if direct and name == "numeric" and pa.types.is_string(element):
        sql = "text"
    value = column if direct and sql != "text" else f"{column}::{sql}[]"
    says = text_literal(f"column {quote(row['column'])} holds an array of several dimensions")
    guard = f"({says} || left({column}::text, 0))::{sql}[]"
    return f"CASE WHEN array_ndims({column}) > 1 THEN {guard} ELSE {value} END", pa.list_(element)
