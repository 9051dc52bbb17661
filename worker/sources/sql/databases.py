"""Which engine opens which database, and what the catalogues of several databases say together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from contracts import types
from contracts.errors import SharderError, Transient
from contracts.table import ID, PARENT_ID, Column, Table
from worker.sources.sql.engine import ColumnPlan, Engine, Relation
from worker.sources.sql.failures import known, translate
from worker.sources.sql.options import Database, Options, driver_of

_TRIES = 3


def connect(database: Database, options: Options, snapshot: str = "") -> Engine:
    """A connection. Raises what the driver raises, or our own errors."""
    driver, url = driver_of(database), database.connection_string
    schemas, views, overrides = options.schemas, options.views, options.column_types
    match driver:
        case "postgresql":
            from worker.sources.sql.postgresql import Postgresql

            return Postgresql(
                url,
                schemas=schemas,
                views=views,
                overrides=overrides,
                batch_bytes=options.batch_bytes,
                statement_timeout_s=options.statement_timeout,
                snapshot=snapshot,
            )
        case "sqlite":
            from worker.sources.sql.sqlite import Sqlite

            return Sqlite(
                url,
                views=views,
                overrides=overrides,
                batch_rows=options.batch_rows,
                batch_bytes=options.batch_bytes,
            )
        case "duckdb":
            from worker.sources.sql.duckdb import Duckdb

            return Duckdb(
                url,
                schemas=schemas,
                views=views,
                overrides=overrides,
                batch_rows=options.batch_rows,
                batch_bytes=options.batch_bytes,
            )
        case _:
            from worker.sources.sql.adbc import Adbc

            return Adbc(driver, url, schemas=schemas, views=views, overrides=overrides)


def connected(
    database: Database, options: Options, sleep: Callable[[float], None], snapshot: str = ""
) -> Engine:
    """A connection, tried again while the server does not answer. Raises SharderError."""
    for attempt in range(1, _TRIES + 1):
        try:
            return connect(database, options, snapshot)
        except known() as error:
            ours = translate(error, database.connection_string, connecting=True)
            if attempt == _TRIES or not isinstance(ours, Transient):
                raise ours from error
        sleep(2.0**attempt)
    raise AssertionError  # the last try returned or raised


def wanted(column: ColumnPlan) -> bool:
    """`_cq_*` columns of a table that an ELT tool wrote belong to that load; only ids live on."""
    return not column.name.startswith("_cq_") or (
        column.name in (ID, PARENT_ID) and column.type == types.UUID
    )


def as_table(relation: Relation, options: Options) -> Table:
    """The table as the plan freezes it."""
    cursor = options.cursor_columns.get(relation.table, "")
    columns = tuple(
        Column(
            name=c.name,
            type=c.type,
            nullable=c.nullable and c.name != ID,
            primary_key=c.primary_key,
            incremental_key=c.name == cursor,
            unique=c.name == ID,
            description=c.description,
        )
        for c in relation.columns
        if wanted(c)
    )
    return Table(
        relation.table, columns, incremental=bool(cursor), description=relation.description
    )


def with_key(relation: Relation, keys: Mapping[str, Sequence[str]]) -> Relation:
    """The relation with the key that the user names for it."""
    key = keys.get(relation.table)
    if key is None:
        return relation
    columns = tuple(
        replace(c, primary_key=c.name in key, nullable=c.name not in key) for c in relation.columns
    )
    return replace(relation, columns=columns)


def merged(tables: Sequence[Table]) -> Table:
    """One table of several databases: the first one decides, later ones add columns that may be null."""
    first, *others = tables
    columns = {c.name: c for c in first.columns}
    for table in others:
        for c in table.columns:
            columns.setdefault(c.name, replace(c, nullable=True, primary_key=False))
    return replace(first, columns=tuple(columns.values()))


def discovered(
    database: Database, options: Options, sleep: Callable[[float], None]
) -> list[Relation] | SharderError:
    """What a database holds, or why it cannot be asked."""
    try:
        engine = connected(database, options, sleep)
    except SharderError as error:
        return error
    try:
        return [with_key(r, options.primary_keys) for r in engine.relations() if r.columns]
    except known() as error:
        return translate(error, database.connection_string)
    finally:
        engine.close()
