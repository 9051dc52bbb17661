"""Any other database with an ADBC driver: catalogue and types as the driver reports them.

The driver is named as the ADBC driver manager finds it: a library, a path or an installed manifest.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from contracts.errors import missing_extra
from worker.sources.exact import named, normalise
from worker.sources.sql.engine import ColumnPlan, Limits, Overrides, Relation, Where, own, select


def batches(
    connection: Any, sql: str, options: Mapping[str, str]
) -> Generator[pa.RecordBatch, None, None]:
    """The result of one query, streamed; the cursor is closed when the iterator is.

    While a batch is worked on the next one is fetched: outside of the interpreter's lock, so that the
    database, its driver and the work on rows take their time at once.
    """
    with connection.cursor() as cursor:
        if options:
            cursor.adbc_statement.set_options(**options)
        cursor.execute(sql)
        with cursor.fetch_record_batch() as reader, ThreadPoolExecutor(1) as thread:
            following = thread.submit(next, reader, None)
            while (batch := following.result()) is not None:
                following = thread.submit(next, reader, None)
                yield batch


class Adbc:
    """One connection of any driver."""

    limits = Limits()

    def __init__(
        self,
        driver: str,
        connection_string: str,
        *,
        schemas: tuple[str, ...] = (),
        views: bool = False,
        overrides: Overrides | None = None,
    ) -> None:
        try:
            from adbc_driver_manager import dbapi
        except ImportError as error:
            raise missing_extra("adbc_driver_manager", "sql", f"the driver {driver}") from error
        self._schemas = schemas
        self._kinds = ("table", "view") if views else ("table",)
        self._overrides = overrides or {}
        # Drivers without transactions would refuse the commit mode of the Python database API.
        self._connection = dbapi.connect(
            driver=driver, db_kwargs={"uri": connection_string}, autocommit=True
        )

    def relations(self, only: str = "") -> list[Relation]:
        with self._connection.adbc_get_objects(depth="all") as reader:
            catalogues = reader.read_all().to_pylist()
        current = self._current_catalogue(catalogues)
        found = []
        for schema in (
            s
            for c in catalogues
            if c["catalog_name"] == current
            for s in c["catalog_db_schemas"] or ()
        ):
            name = schema["db_schema_name"] or ""
            if self._schemas and name not in self._schemas:
                continue
            for table in schema["db_schema_tables"] or ():
                relation = self._relation(current, name, table, only)
                if relation is not None:
                    found.append(relation)
        return found

    def _current_catalogue(self, catalogues: Sequence[Mapping[str, Any]]) -> str | None:
        names = [c["catalog_name"] for c in catalogues]
        try:
            current: str = self._connection.adbc_current_catalog
        except self._connection.NotSupportedError:
            return names[0] if names else None
        return current if current in names else (names[0] if names else None)

    def _relation(
        self, catalogue: str | None, schema: str, table: Mapping[str, Any], only: str
    ) -> Relation | None:
        kind = "view" if "view" in table["table_type"].lower() else "table"
        if kind not in self._kinds or "system" in table["table_type"].lower():
            return None
        name = table["table_name"]
        default = schema in ("", "main", "public", "dbo", "PUBLIC")
        if only and only != (name if default else f"{schema}_{name}"):
            return None
        arrow = self._connection.adbc_get_table_schema(
            name, catalog_filter=catalogue or None, db_schema_filter=schema or None
        )
        key = next(
            (
                set(c["constraint_column_names"])
                for c in table["table_constraints"] or ()
                if c["constraint_type"].upper() == "PRIMARY KEY"
            ),
            set(),
        )
        overrides = self._overrides.get(name if default else f"{schema}_{name}", {})
        columns = tuple(
            _plan(f, primary_key=f.name in key, override=overrides.get(f.name, "")) for f in arrow
        )
        return Relation(schema, name, columns, kind, default_schema=default)

    def read(
        self, relation: Relation, columns: Sequence[ColumnPlan], where: Where
    ) -> Generator[pa.RecordBatch, None, None]:
        return batches(self._connection, select(relation, columns, where), {})

    def quantiles(self, relation: Relation, column: ColumnPlan, n: int) -> list[str]:
        del relation, column, n
        return []

    def export_snapshot(self, relation: Relation) -> str:
        del relation
        return ""

    def close(self) -> None:
        self._connection.close()


def _plan(field: pa.Field, *, primary_key: bool, override: str) -> ColumnPlan:
    expression, type_ = own(field.name), normalise(field.type)
    if override:
        expression, type_ = f"CAST({own(field.name)} AS VARCHAR)", named(override)
    return ColumnPlan(field.name, expression, type_, primary_key, not primary_key)
