"""DuckDB through its own Arrow stream: types are what an empty query says they are.

Types that Arrow cannot hold (128-bit integers, bit strings, enums, unions) go as exact text,
decimals of 39 digits or JSON.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa

from contracts import types
from contracts.errors import NotFound, missing_extra
from worker.sources.exact import named, normalise
from worker.sources.sql.engine import (
    ColumnPlan,
    Limits,
    Overrides,
    Relation,
    Where,
    own,
    rows_per_batch,
    select,
)
from worker.sources.sql.literals import encode
from worker.sources.sql.options import file_path

_CATALOGUE = """
SELECT c.schema_name AS schema, c.table_name AS name, t.table_name IS NULL AS is_view,
       coalesce(t.comment, '') AS description, coalesce(t.estimated_size, -1)::BIGINT AS rows,
       c.column_name AS "column", c.data_type AS type, coalesce(c.comment, '') AS comment,
       coalesce(list_contains(k.constraint_column_names, c.column_name), false) AS "key"
FROM duckdb_columns() AS c
LEFT JOIN duckdb_tables() AS t USING (database_oid, schema_oid, table_oid)
LEFT JOIN duckdb_constraints() AS k
  ON k.table_oid = t.table_oid AND k.database_oid = t.database_oid AND k.constraint_type = 'PRIMARY KEY'
WHERE c.database_name = current_database() AND NOT c.internal
ORDER BY c.schema_name, c.table_name, c.column_index
"""
_TEXT = ("BIT", "BIGNUM", "VARINT", "TIME WITH TIME ZONE")
_AWKWARD = ("HUGEINT", "BIT", "BIGNUM", "VARINT", "TIME WITH TIME ZONE", "ENUM(", "UNION(")
_SAMPLE_ROWS = 10_000


class Duckdb:
    """One read-only connection to a file, inside one transaction."""

    limits = Limits()

    def __init__(
        self,
        connection_string: str,
        *,
        schemas: tuple[str, ...] = (),
        views: bool = False,
        overrides: Overrides | None = None,
        batch_rows: int = 65_536,
        batch_bytes: int = 16 << 20,
    ) -> None:
        try:
            import duckdb
        except ImportError as error:
            raise missing_extra("duckdb", "sql", "DuckDB") from error
        path = Path(file_path(connection_string)).absolute()
        if not path.is_file():
            raise NotFound(f"there is no DuckDB file {path}", "check the path in connection_string")
        self._schemas, self._views = schemas, views
        self._overrides = overrides or {}
        self._batch_rows, self._batch_bytes = batch_rows, batch_bytes
        self._connection = duckdb.connect(str(path), read_only=True)
        self._connection.execute("SET arrow_lossless_conversion = true; SET threads = 2")
        self._connection.execute("BEGIN TRANSACTION")

    def relations(self, only: str = "") -> list[Relation]:
        rows = self._connection.sql(_CATALOGUE).to_arrow_table().to_pylist()
        found = []
        for (schema, name), group in groupby(rows, lambda r: (r["schema"], r["name"])):
            columns = list(group)
            table = name if schema == "main" else f"{schema}_{name}"
            if (columns[0]["is_view"] and not self._views) or (only and table != only):
                continue
            if not self._schemas or schema in self._schemas:
                found.append(self._relation(table, columns))
        return found

    def _relation(self, table: str, rows: list[dict[str, Any]]) -> Relation:
        first = rows[0]
        overrides = self._overrides.get(table, {})
        plans = tuple(column_plan(r, overrides.get(r["column"], "")) for r in rows)
        relation = Relation(
            schema=first["schema"],
            name=first["name"],
            columns=plans,
            kind="view" if first["is_view"] else "table",
            description=first["description"],
            rows=first["rows"],
            default_schema=first["schema"] == "main",
        )
        nothing = self._connection.sql(select(relation, plans, Where(("false",)))).to_arrow_table()
        typed = tuple(
            ColumnPlan(p.name, p.expression, p.type or normalise(f.type), p.primary_key, p.nullable, p.description)
            for p, f in zip(plans, nothing.schema, strict=True)
        )  # fmt: skip
        return Relation(**{**relation.__dict__, "columns": typed})

    def read(
        self, relation: Relation, columns: Sequence[ColumnPlan], where: Where
    ) -> Generator[pa.RecordBatch, None, None]:
        # Blocks stay cached up to the limit, whatever the size of the table; a scan pins about half a
        # megabyte per column (measured: 800 columns do not fit into 256 MiB).
        self._connection.execute(f"SET memory_limit = '{128 + len(columns)}MiB'")
        rows = rows_per_batch(
            len(columns), at_most=self._batch_rows, target_bytes=self._batch_bytes
        )
        result = self._connection.sql(select(relation, columns, where))
        with result.to_arrow_reader(rows) as reader:
            yield from reader

    def quantiles(self, relation: Relation, column: ColumnPlan, n: int) -> list[str]:
        """From a random sample: skewed keys are cut where the rows are."""
        sample = (
            f"SELECT {column.expression} AS c FROM (SELECT * FROM {relation.sql} USING SAMPLE {_SAMPLE_ROWS} ROWS "
            f"(reservoir, 0)) AS t WHERE {own(column.name)} IS NOT NULL ORDER BY {own(column.name)}"
        )
        values = self._connection.sql(sample).to_arrow_table().column(0)
        step = len(values) / n
        return [encode(values[int(i * step)]) for i in range(1, n)] if step > 1 else []

    def export_snapshot(self, relation: Relation) -> str:
        del relation
        return ""

    def close(self) -> None:
        self._connection.close()


def column_plan(row: Mapping[str, Any], override: str = "") -> ColumnPlan:
    """One row of the catalogue → how the column is selected; the type is null where a query tells it."""
    name, declared, key = row["column"], row["type"], row["key"]
    column, type_ = own(name), None
    if override:
        type_ = named(override)
        column = f"to_json({column})" if override == "json" else f"CAST({column} AS VARCHAR)"
    elif declared in ("HUGEINT", "UHUGEINT"):
        column, type_ = f"CAST({column} AS VARCHAR)", pa.decimal256(39, 0)
    elif declared in _TEXT or (declared.startswith("ENUM(") and declared.endswith(")")):
        column, type_ = f"CAST({column} AS VARCHAR)", pa.string()
    elif any(word in declared for word in _AWKWARD):
        column, type_ = f"to_json({column})", types.JSON
    return ColumnPlan(name, column, type_, key, not key, row["comment"])
