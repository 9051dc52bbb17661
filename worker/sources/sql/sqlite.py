"""SQLite through ADBC: any value may stand in any column, so declared types are enforced, not trusted.

The driver derives a column's type from the first batch and refuses values that do not fit it. A first
row with one value of each declared type fixes the types; it is dropped again.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote as percent

import pyarrow as pa

from contracts import types
from contracts.errors import NotFound, missing_extra
from worker.sources.exact import named
from worker.sources.sql.adbc import batches
from worker.sources.sql.engine import (
    ColumnPlan,
    Limits,
    Overrides,
    Relation,
    Where,
    own,
    quote,
    rows_per_batch,
    select,
)
from worker.sources.sql.options import file_path

_CATALOGUE = r"""
SELECT m.name AS name, m.type AS kind, m.sql AS sql, c.name AS "column", upper(c.type) AS type,
       c.pk AS "key"
FROM sqlite_schema AS m JOIN pragma_table_xinfo(m.name) AS c
WHERE m.type IN ('table', 'view') AND m.name NOT LIKE 'sqlite\_%' ESCAPE '\' AND c.hidden <> 1
ORDER BY m.name, c.cid
"""
_LEADING = "SELECT DISTINCT i.name FROM pragma_index_list({table}) AS l, pragma_index_info(l.name) AS i WHERE l.partial = 0 AND i.seqno = 0"


class Sqlite:
    """One read-only connection to a file, inside one transaction."""

    limits = Limits()

    def __init__(
        self,
        connection_string: str,
        *,
        views: bool = False,
        overrides: Overrides | None = None,
        batch_rows: int = 65_536,
        batch_bytes: int = 16 << 20,
    ) -> None:
        try:
            from adbc_driver_sqlite import dbapi
        except ImportError as error:
            raise missing_extra("adbc_driver_sqlite", "sql", "SQLite") from error
        path = Path(file_path(connection_string)).absolute()
        if not path.is_file():
            raise NotFound(f"there is no SQLite file {path}", "check the path in connection_string")
        self._kinds = ("table", "view") if views else ("table",)
        self._overrides = overrides or {}
        self._batch_rows, self._batch_bytes = batch_rows, batch_bytes
        # Without mode=ro a file that is not there would be created.
        self._connection = dbapi.connect(f"file:{percent(str(path))}?mode=ro")

    def relations(self, only: str = "") -> list[Relation]:
        rows = self._rows(_CATALOGUE)
        groups = ((name, list(columns)) for name, columns in groupby(rows, lambda r: r["name"]))
        return [
            self._relation(name, columns)
            for name, columns in groups
            if columns[0]["kind"] in self._kinds and (not only or name == only)
        ]

    def _relation(self, name: str, rows: list[dict[str, Any]]) -> Relation:
        overrides = self._overrides.get(name, {})
        table = rows[0]["kind"] == "table"
        leading = (
            [r["name"] for r in self._rows(_LEADING.format(table=quote(name)))] if table else []
        )
        alias = [r["column"] for r in rows if r["key"] and r["type"] == "INTEGER"]
        return Relation(
            schema="main",
            name=name,
            columns=tuple(column_plan(r, overrides.get(r["column"], "")) for r in rows),
            kind=rows[0]["kind"],
            rows=self._largest_rowid(name)
            if table and "ROWID" not in _tail(rows[0]["sql"])
            else -1,
            leading=frozenset(leading + (alias if sum(r["key"] > 0 for r in rows) == 1 else [])),
        )

    def _largest_rowid(self, name: str) -> int:
        """Instant, and about the number of rows unless many were deleted."""
        return int(self._rows(f"SELECT coalesce(max(rowid), 0) AS n FROM {quote(name)}")[0]["n"])

    def _rows(self, sql: str) -> list[dict[str, Any]]:
        return [r for b in batches(self._connection, sql, {}) for r in b.to_pylist()]

    def read(
        self, relation: Relation, columns: Sequence[ColumnPlan], where: Where
    ) -> Generator[pa.RecordBatch, None, None]:
        # A subquery keeps its order inside a UNION ALL only if it has a limit.
        unlimited = " LIMIT -1" if where.order_by and not where.limit else ""
        samples = ", ".join(_sample(c.type) for c in columns)
        names = ", ".join(quote(c.name) for c in columns)
        sql = f"WITH s({names}) AS (VALUES ({samples})) SELECT * FROM s UNION ALL SELECT * FROM ({select(relation, columns, where)}{unlimited})"
        rows = rows_per_batch(
            len(columns), at_most=self._batch_rows, target_bytes=self._batch_bytes
        )
        stream = batches(self._connection, sql, {"adbc.sqlite.query.batch_rows": str(rows)})
        for n, batch in enumerate(stream):
            yield batch if n else batch.slice(1)

    def quantiles(self, relation: Relation, column: ColumnPlan, n: int) -> list[str]:
        """None: an even cut between the smallest and the largest key costs nothing."""
        del relation, column, n
        return []

    def export_snapshot(self, relation: Relation) -> str:
        del relation
        return ""

    def close(self) -> None:
        self._connection.close()


def _tail(sql: str) -> str:
    """What stands behind the columns of a CREATE TABLE: WITHOUT ROWID, STRICT."""
    return sql.rpartition(")")[2].upper()


def column_plan(row: Mapping[str, Any], override: str = "") -> ColumnPlan:
    """One row of the catalogue → how the column is selected and what arrives. Pure.

    Affinity follows SQLite's own rules. Dates and decimals have no storage of their own there:
    their text is exact, and `column_types` turns it into more.
    """
    name, key = row["column"], row["key"] > 0
    type_ = named(override) if override else _type(row["type"] or "")
    raw = type_ in (pa.int64(), pa.bool_(), pa.float64(), pa.binary())
    expression = own(name) if raw else f"CAST({own(name)} AS TEXT)"
    return ColumnPlan(name, expression, type_, key, not key)


def _type(declared: str) -> pa.DataType:
    if "INT" in declared:
        return pa.int64()
    if "BOOL" in declared:
        return pa.bool_()
    if "CHAR" in declared or "CLOB" in declared or "TEXT" in declared:
        return pa.string()
    if "BLOB" in declared:
        return pa.binary()
    if "REAL" in declared or "FLOA" in declared or "DOUB" in declared:
        return pa.float64()
    return types.JSON if declared.startswith("JSON") else pa.string()


def _sample(type_: pa.DataType) -> str:
    """A value of the storage class in which a type arrives."""
    if type_ in (pa.int64(), pa.bool_()):
        return "1"
    if type_ == pa.float64():
        return "1.5"
    return "x'00'" if type_ == pa.binary() else "'a'"
