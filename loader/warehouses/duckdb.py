"""DuckDB: one file, one writing process; parts on this machine are read where they lie.

Keys are recorded with the table, not enforced: an index would have to fit in memory. An upsert deletes and
inserts: MERGE and UPDATE keep every old value in memory until the commit (measured: 1 M rows, all changed,
fail at 160 MiB, where delete and insert takes as long as an insert). Tables with a primary key keep it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from contracts.cursors import Server
from contracts.errors import (
    InputError,
    Permanent,
    SharderError,
    Transient,
    Unreachable,
    missing_extra,
)
from contracts.spec import Seconds, Size
from loader import sql
from loader.dialect import Dialect
from loader.shape import PhysicalColumn, PhysicalTable
from loader.warehouses.base import File, Rows, SqlWarehouse, Traits
from loader.warehouses.duckdb_types import holds, in_place, map_type

if TYPE_CHECKING:
    import duckdb

# DuckDB spills to disk above it; the process around it needs about 120 MB more.
MEMORY_LIMIT = "160MiB"

DIALECT = Dialect(
    name="duckdb",
    map_type=map_type,
    holds=holds,
    merge="delete-insert",
    text="VARCHAR",
    case_sensitive=False,
    enforces_keys=False,
    in_place=in_place,
)


_NO_BATCHES = "Accepted for CloudQuery's sake; rows are loaded in bulk"
_BULK: dict[str, JsonValue] = {"moot": "rows are loaded in bulk, not in batches"}


class Options(BaseModel):
    """The nested `spec` of a destination `cloudquery/duckdb`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    connection_string: str = Field(
        min_length=1, description="Path of the database file; it is made if it is missing"
    )
    memory_limit: str = Field(
        MEMORY_LIMIT, description="What DuckDB itself may use before it spills to disk"
    )
    threads: int = Field(0, ge=0, description="Threads of DuckDB; 0: one per core, 4 at most")
    batch_size: int = Field(1000, description=_NO_BATCHES, json_schema_extra=_BULK)
    batch_size_bytes: Size = Field(4 << 20, description=_NO_BATCHES, json_schema_extra=_BULK)
    batch_timeout: Seconds = Field(20.0, description=_NO_BATCHES, json_schema_extra=_BULK)
    debug: bool = Field(
        default=False,
        description="Accepted for CloudQuery's sake",
        json_schema_extra={"moot": "DuckDB runs inside of the loader, which logs what it does"},
    )


def open(options: Options) -> DuckDB:  # noqa: A001  # every engine module has this factory
    """Open the file. Raises InputError for a database in memory, Unreachable if another process has it."""
    path, _, query = options.connection_string.partition("?")
    if path == ":memory:" or path.startswith("md:"):
        what = "a database in memory would be gone with the loader" if path == ":memory:" else "MotherDuck is not supported yet"  # fmt: skip
        raise InputError(
            f"destination duckdb: connection_string is '{path}', but {what}",
            "write the path of a file, for example ./warehouse.duckdb",
        )
    settings: dict[str, Any] = {
        "memory_limit": options.memory_limit,
        "threads": str(options.threads or min(os.cpu_count() or 1, 4)),
        "preserve_insertion_order": "false",
        **dict(parse_qsl(query)),
    }
    return DuckDB(_connect(Path(path), settings))


def _connect(path: Path, settings: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    try:
        import duckdb
    except ImportError as error:
        raise missing_extra("duckdb", "duckdb", "destination duckdb") from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = duckdb.connect(str(path), config=settings)
        connection.execute("SET TimeZone = 'UTC'")
    except duckdb.IOException as error:
        if "lock" in str(error).lower():
            raise Unreachable(
                f"the database file '{path}' is open in another process",
                "close it there: DuckDB lets one process write at a time",
            ) from error
        raise Permanent(f"the database file '{path}' cannot be opened: {error}") from error
    except OSError as error:
        raise Permanent(f"the database file '{path}' cannot be made: {error.strerror}") from error
    except duckdb.Error as error:
        raise InputError(f"the database file '{path}' cannot be opened: {error}") from error
    return connection


class DuckDB(SqlWarehouse):
    """An open database file."""

    traits = Traits("transactional", shared=False)
    dialect = DIALECT

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def execute(self, text: str, parameters: Sequence[Any] = ()) -> int:
        rows = self.query(text, parameters)
        return int(rows[0][0]) if rows and isinstance(rows[0][0], int) else 0

    def query(self, text: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with _errors():
            return self._connection.execute(text, list(parameters)).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.query("BEGIN")
        try:
            yield
            self.query("COMMIT")
        except BaseException:
            # A commit that failed has ended the transaction already: there is nothing to roll back.
            with suppress(Transient), _errors():
                self._connection.rollback()
            raise

    def describe(self, table: str) -> PhysicalTable | None:
        columns = self.query(
            "SELECT column_name, data_type, is_nullable FROM duckdb_columns() "
            "WHERE database_name = current_database() AND schema_name = current_schema() "
            "AND table_name = $1 ORDER BY column_index",
            (table,),
        )
        if not columns:
            return None
        ((comment, key),) = self.query(
            "SELECT any_value(t.comment), any_value(c.constraint_column_names) "
            "FROM duckdb_tables() AS t LEFT JOIN duckdb_constraints() AS c "
            "ON c.table_oid = t.table_oid AND c.constraint_type = 'PRIMARY KEY' "
            "WHERE t.database_name = current_database() AND t.schema_name = current_schema() "
            "AND t.table_name = $1",
            (table,),
        )
        shape = tuple(PhysicalColumn(name, type_, nullable) for name, type_, nullable in columns)
        return PhysicalTable(table, shape, tuple(key or sql.key_of_comment(comment)))

    def copy(self, landing: PhysicalTable, rows: Rows) -> int:
        if rows.files is not None and not any(_globs(f.path) for f in rows.files):
            return self._read_in_place(landing, rows.files, rows.expressions)
        return self._read_batches(landing, rows)

    def _read_batches(self, landing: PhysicalTable, rows: Rows) -> int:
        self.execute(sql.create_table(self.dialect, landing)[0])
        failed: list[SharderError] = []

        def batches() -> Iterator[pa.RecordBatch]:
            try:
                yield from rows.batches()
            except SharderError as error:
                failed.append(error)  # DuckDB would turn it into an error of its own
                raise

        reader = pa.RecordBatchReader.from_batches(rows.schema, batches())
        self._connection.register("incoming", reader)
        try:
            columns = ", ".join(self.dialect.quote(n) for n in landing.names)
            return self.execute(
                f"INSERT INTO {self.dialect.ref(landing)} ({columns}) SELECT * FROM incoming"
            )
        except SharderError as error:
            raise (failed or [error])[0] from error
        finally:
            self._connection.unregister("incoming")

    def _read_in_place(
        self, landing: PhysicalTable, files: Sequence[File], expressions: Sequence[str]
    ) -> int:
        """The landing table is a view over the files: rows are written once, into their table."""
        quote, literal = self.dialect.quote, self.dialect.literal
        columns = ", ".join(
            f"{expression} AS {quote(name)}"
            for name, expression in zip(landing.names, expressions, strict=True)
        )
        whole = [f for f in files if not f.dropped]
        partial = [f for f in files if f.dropped]
        selects = []
        if whole:
            paths = ", ".join(literal(str(f.path)) for f in whole)
            selects.append(
                f"SELECT {columns} FROM read_parquet([{paths}], hive_partitioning=false)"
            )
        if partial:
            dropped = PhysicalTable(landing.name + "_dropped", (
                PhysicalColumn("file", "VARCHAR"), PhysicalColumn("client", "VARCHAR"),
            ), schema=landing.schema)  # fmt: skip
            self._list_dropped(dropped, partial)
            paths = ", ".join(literal(str(f.path)) for f in partial)
            selects.append(
                f"SELECT {columns} FROM read_parquet([{paths}], hive_partitioning=false, filename='sharder file') AS p "
                f"WHERE NOT EXISTS (SELECT 1 FROM {self.dialect.ref(dropped)} AS d "
                'WHERE d.file = p."sharder file" AND d.client = p._cq_client_id)'
            )
        view = self.dialect.ref(landing)
        self.execute(f"CREATE VIEW {view} AS {' UNION ALL '.join(selects)}")
        return self.execute(f"SELECT count(*) FROM {view}")

    def _list_dropped(self, table: PhysicalTable, files: Sequence[File]) -> None:
        self.execute(sql.create_table(self.dialect, table)[0])
        pairs = pa.table(
            {
                "file": [str(f.path) for f in files for _ in f.dropped],
                "client": [client for f in files for client in sorted(f.dropped)],
            },
            schema=pa.schema([("file", pa.string()), ("client", pa.string())]),
        )
        self._connection.register("pairs", pairs)
        self.execute(f"INSERT INTO {self.dialect.ref(table)} SELECT * FROM pairs")
        self._connection.unregister("pairs")

    def about(self) -> Server:
        ((version,),) = self.query("SELECT version()")
        return Server(name="DuckDB", version=version.removeprefix("v"), now_s=time.time())

    def close(self) -> None:
        self._connection.close()


def _globs(path: Path) -> bool:
    """Whether DuckDB would take the path for a pattern."""
    return any(c in "*?[]{}" for c in str(path))


@contextmanager
def _errors() -> Iterator[None]:
    """DuckDB's errors as ours."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        raise _translated(error) from error


def _translated(error: duckdb.Error) -> SharderError:
    import duckdb

    text = f"DuckDB: {error}"
    if (
        "No space left on device" in text
    ):  # of several classes; a commit makes it a TransactionException
        return Permanent(text, "make room on that disk, or move the database file; then try again")
    if isinstance(error, duckdb.TransactionException):
        return Transient(text)
    if isinstance(error, duckdb.OutOfMemoryException):
        hint = "raise `memory_limit` in the destination's spec, or free disk space"
        return Permanent(text, hint)
    return Permanent(text)
