"""PostgreSQL: one connection, binary COPY into unlogged landing tables, one transaction per publish.

Arrow batches become the wire format of COPY in Rust (pgpq). A column whose type has no binary form
there lands as text, and a view over the landing table casts it, so that the publish reads one shape.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from contracts import types
from contracts.cursors import Server
from contracts.errors import (
    Denied,
    InputError,
    Permanent,
    SharderError,
    Transient,
    Unreachable,
    missing_extra,
)
from contracts.spec import Seconds, Size
from contracts.table import SOURCE_NAME, SYNC_TIME
from loader import sql
from loader.ahead import one_ahead
from loader.migrate import Change, CreateTable
from loader.shape import PhysicalColumn, PhysicalTable
from loader.warehouses.base import Rows, SqlWarehouse, Traits
from loader.warehouses.postgresql_login import IamAuth, token
from loader.warehouses.postgresql_types import DIALECT, wire

if TYPE_CHECKING:
    import psycopg

WRITE_BYTES = 1 << 20  # of COPY data handed to the socket at once
WORK_MEM = "64MB"  # of the server, for each sort or hash of our one connection
OLDEST = (
    "13"  # maintained until the end of 2025; older ones have been seen to work, and are not tested
)
ASLEEP_S = 15  # without a word between two statements of a transaction

_DESCRIBE = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,
       coalesce(array_position(i.indkey::int2[], a.attnum), -1)
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid
LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
WHERE c.relname = $1 AND c.relkind IN ('r', 'p')
  AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
  AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""


_NO_BATCHES = "Accepted; rows are copied as one stream, not in batches"
_STREAM: dict[str, JsonValue] = {"moot": "rows are copied as one stream, not in batches"}


class Options(BaseModel):
    """`spec` of a `postgresql` destination: CloudQuery's keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    connection_string: str = Field(
        min_length=1,
        description="`postgresql://user:password@host:5432/database?…` or `host=… dbname=…`",
        json_schema_extra={"secret": True},
    )
    create_performance_indexes: bool = Field(
        default=False, description="An index on `_cq_source_name`, `_cq_sync_time` of every table"
    )
    aws_iam_auth: IamAuth | None = Field(
        None, description="Log in with AWS credentials instead of a password"
    )
    retry_on_deadlock: int = Field(
        default=0,
        ge=0,
        description="Accepted; a load that met a deadlock is always tried again",
        json_schema_extra={"moot": "a load that met a deadlock is always tried again"},
    )
    batch_size: int = Field(default=10_000, description=_NO_BATCHES, json_schema_extra=_STREAM)
    batch_size_bytes: Size = Field(
        default=100_000_000, description=_NO_BATCHES, json_schema_extra=_STREAM
    )
    batch_timeout: Seconds = Field(default=60.0, description=_NO_BATCHES, json_schema_extra=_STREAM)
    pgx_log_level: str = Field(
        default="error",
        description="Accepted; there is no pgx here",
        json_schema_extra={"moot": "it is for CloudQuery's driver"},
    )
    lakebase: dict[str, Any] | None = Field(
        None,
        description="Not supported: Databricks' own login, with tokens that end within the hour",
    )
    pgvector_config: dict[str, Any] | None = Field(
        None, description="Not supported: embeddings would be computed while rows are loaded"
    )

    @field_validator("lakebase")
    @classmethod
    def _no_lakebase(cls, _: object) -> None:
        raise ValueError(
            "logging in through Databricks is not supported; leave it out, and write user and password"
            " into the connection_string"
        )

    @field_validator("pgvector_config")
    @classmethod
    def _no_embeddings(cls, _: object) -> None:
        raise ValueError(
            "embeddings are not supported; leave it out, and compute them in the database"
        )


class PostgreSQL(SqlWarehouse):
    """One connection. Landing tables are unlogged: after a crash of the server the load starts again."""

    traits = Traits(guarantee="transactional")
    dialect = DIALECT

    def __init__(self, options: Options) -> None:
        self._options = options
        self._connection = _connect(options.connection_string, options.aws_iam_auth)

    def execute(self, text: str, parameters: Sequence[Any] = ()) -> int:
        with _translated():
            return max(self._connection.execute(text, parameters or None).rowcount, 0)

    def query(self, text: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with _translated():
            return self._connection.execute(text, parameters or None).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _translated(), self._connection.transaction():
            yield

    def transaction(self) -> AbstractContextManager[None]:
        return self._transaction()

    def prepare(self) -> None:
        # Two loaders that create the same schema at once would trip over each other's catalogue rows.
        with self.transaction():
            self.execute("SELECT pg_advisory_xact_lock(hashtext('sharder prepare'))")
            if not self.query("SELECT 1 FROM pg_namespace WHERE nspname = $1", (sql.OURS,)):
                self.execute(sql.create_schema(self.dialect))
        super().prepare()

    def describe(self, table: str) -> PhysicalTable | None:
        rows = self.query(_DESCRIBE, (table,))
        if not rows:
            return None
        columns = tuple(PhysicalColumn(name, type_, nullable) for name, type_, nullable, _ in rows)
        places = sorted((at, name) for name, _, _, at in rows if at >= 0)
        return PhysicalTable(table, columns, tuple(name for _, name in places))

    def apply(self, changes: Sequence[Change]) -> None:
        super().apply(changes)
        if not self._options.create_performance_indexes:
            return
        for change in changes:
            if isinstance(change, CreateTable) and SOURCE_NAME in change.table:
                self._index(change.table)

    def _index(self, table: PhysicalTable) -> None:
        d = self.dialect
        name = d.quote(d.name_of(f"{table.name} by source and time"))
        columns = f"{d.quote(SOURCE_NAME)}, {d.quote(SYNC_TIME)}"
        self.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {d.ref(table)} ({columns})")

    def copy(self, landing: PhysicalTable, rows: Rows) -> int:
        """`landing` is a table where every column travels in binary, otherwise a view that casts."""
        wires = {f.name: wire(f.type, landing.column(f.name).type) for f in rows.schema}
        table = self._create(landing, wires)
        count = self._stream(table, rows)
        self.execute(f"ANALYZE {self.dialect.ref(table)}")
        return count

    def append(self, table: PhysicalTable, rows: Rows) -> int:
        return self._stream(table, rows)

    def _create(self, landing: PhysicalTable, wires: Mapping[str, str]) -> PhysicalTable:
        d = self.dialect
        columns = tuple(
            PhysicalColumn(c.name, wires.get(c.name, c.type), c.nullable) for c in landing.columns
        )
        table = PhysicalTable(landing.name, columns, schema=landing.schema)
        if columns != landing.columns:
            table = PhysicalTable(
                d.name_of(f"{landing.name} as copied"), columns, schema=landing.schema
            )
        (create,) = sql.create_table(d, table)
        self.execute(create.replace("CREATE TABLE", "CREATE UNLOGGED TABLE", 1))
        if table.name != landing.name:
            self.execute(
                f"CREATE VIEW {d.ref(landing)} AS SELECT {self._casts(table, landing)} FROM {d.ref(table)}"
            )
        return table

    def _casts(self, table: PhysicalTable, landing: PhysicalTable) -> str:
        d = self.dialect
        return ", ".join(
            d.quote(raw.name)
            if raw.type == wanted.type
            else f"CAST({d.quote(raw.name)} AS {wanted.type}) AS {d.quote(raw.name)}"
            for raw, wanted in zip(table.columns, landing.columns, strict=True)
        )

    def _stream(self, table: PhysicalTable, rows: Rows) -> int:
        columns = ", ".join(self.dialect.quote(name) for name in rows.schema.names)
        text = f"COPY {self.dialect.ref(table)} ({columns}) FROM STDIN (FORMAT BINARY)"
        count = 0
        with _translated(), self._connection.cursor() as cursor, cursor.copy(text) as copy:
            # While the server takes one batch the next one is read and encoded.
            for n, data in one_ahead(_wire(rows)):
                for at in range(0, len(data), WRITE_BYTES):
                    copy.write(data[at : at + WRITE_BYTES])
                count += n
        return count

    def drop_landings(self, prefix: str) -> None:
        found = self.query(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = "
            "(SELECT oid FROM pg_namespace WHERE nspname = $1) AND starts_with(relname::text, $2)",
            (sql.OURS, prefix),
        )
        for (name,) in found:
            landing = PhysicalTable(name, (), schema=sql.OURS)
            # The view of a landing table goes with it.
            self.execute(f"{sql.drop(self.dialect, landing)} CASCADE")

    def about(self) -> Server:
        ((version, now_s),) = self.query(
            "SELECT current_setting('server_version'), "
            "CAST(extract(epoch FROM clock_timestamp()) AS float8)"
        )
        return Server(name="PostgreSQL", version=version, now_s=now_s, oldest=OLDEST)

    def close(self) -> None:
        self._connection.close()


def _wire(rows: Rows) -> Iterator[tuple[int, bytes]]:
    """Numbers of rows, and the bytes of COPY that hold them."""
    encoder = _encoder(rows.schema)
    yield 0, encoder.write_header()
    for batch in rows.batches():
        yield batch.num_rows, encoder.write_batch(without_nul(batch))
    yield 0, encoder.finish()


def _encoder(schema: pa.Schema) -> Any:
    """The COPY encoder of a schema. jsonb has a binary form of its own, which must be asked for."""
    import pgpq
    from pgpq.encoders import StringEncoderBuilder
    from pgpq.schema import Jsonb

    plain = pa.schema([f.with_type(types.storage_of(f.type)) for f in schema])
    builders = {
        f.name: StringEncoderBuilder.new_with_output(p, Jsonb())
        if types.extension_of(f.type) == "json"
        else pgpq.ArrowToPostgresBinaryEncoder.infer_encoder(p)
        for f, p in zip(schema, plain, strict=True)
    }
    return pgpq.ArrowToPostgresBinaryEncoder.new_with_encoders(plain, builders)


def without_nul(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The storage of the batch, NUL characters removed from texts, which PostgreSQL cannot hold.

    CloudQuery removes them too. Only columns whose bytes contain one are rewritten.
    """
    columns = [_clean(_storage(c)) for c in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _storage(column: pa.Array) -> pa.Array:
    return column.storage if isinstance(column, pa.ExtensionArray) else column


def _clean(column: pa.Array) -> pa.Array:
    if pa.types.is_list(column.type) and pa.types.is_string(column.type.value_type):
        values = _clean(column.values)
        if values is column.values:
            return column
        return pa.ListArray.from_arrays(
            column.offsets, values, mask=column.is_null() if column.null_count else None
        )
    if not pa.types.is_string(column.type):
        return column
    data = column.buffers()[2]
    if data is None:
        return column
    if b"\0" in memoryview(data).tobytes():
        column = pc.replace_substring(column, "\0", "")
    return column


def open(spec: Mapping[str, Any]) -> PostgreSQL:  # noqa: A001 - the name of every factory
    """Raises Denied, Unreachable or Permanent with the reason, never with the password."""
    return PostgreSQL(Options.model_validate(spec))


def _connect(dsn: str, iam: IamAuth | None) -> psycopg.Connection[tuple[Any, ...]]:
    try:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict, make_conninfo
    except ImportError as error:
        raise missing_extra("psycopg", "postgresql", "destination 'postgresql'") from error
    try:
        where = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        raise InputError(
            "the connection_string of the destination is neither a URL nor a list of key=value",
            "write for example postgresql://user:${PASSWORD}@host:5432/database",
        ) from None
    name = f"{where.get('host', 'localhost')}:{where.get('port', 5432)}/{where.get('dbname', '')}"
    if iam:  # a token travels as a password, so that the server must be known to be the right one
        login = {"password": token(iam, where), "sslmode": where.get("sslmode") or "require"}
        where = {**where, **login}
        dsn = make_conninfo(dsn, **login)
    try:
        connection = psycopg.Connection.connect(
            dsn, autocommit=True, connect_timeout=int(where.get("connect_timeout") or 15),
            cursor_factory=psycopg.RawCursor, application_name="sharder",
        )  # fmt: skip
    except psycopg.OperationalError as error:
        raise _refused(name, str(error), str(where.get("password") or "")) from None
    connection.execute("SET TIME ZONE 'UTC'")
    # Of a user who is called like our schema, "$user" would make it the place of the user's own tables.
    connection.execute(
        "SELECT set_config('search_path', coalesce(nullif(array_to_string(ARRAY("
        "SELECT quote_ident(s) FROM unnest(current_schemas(false)) AS s WHERE s <> $1), ','), ''), 'public'), false)",
        (sql.OURS,),
    )
    # Joins and sorts of a publish stay in memory: an upsert of changed rows takes 0.7 of the time.
    connection.execute(
        "SELECT set_config('work_mem', $1, false) "
        "WHERE pg_size_bytes(current_setting('work_mem')) < pg_size_bytes($1)",
        (WORK_MEM,),
    )
    # A landing table is read once, by its key: a tenth of the usual sample plans that as well.
    connection.execute("SET default_statistics_target = 10")
    # A reader that holds a lock for ever must not hold the loader for ever.
    connection.execute("SET lock_timeout = '120s'")
    # Nor must a loader that sleeps in the middle of a publish, or whose machine is gone without a word, hold its
    # locks: the next attempt waits for them. Sooner than a silent heartbeat is given up (30 s).
    connection.execute(f"SET idle_in_transaction_session_timeout = '{ASLEEP_S}s'")
    for name, value in (("idle", ASLEEP_S), ("interval", 5), ("count", 3)):
        connection.execute(f"SET tcp_keepalives_{name} = {value}")
    return connection


def _refused(name: str, text: str, password: str) -> SharderError:
    """The error behind libpq's text; the password does not appear in it."""
    text = " ".join((text.replace(password, "***") if password else text).split())
    if re.search(
        r"password authentication failed|no password supplied|pg_hba|role .* does not exist", text
    ):
        return Denied(f"PostgreSQL at {name} refused the login: {text}", "check user and password")
    if re.search(r'database "[^"]*" does not exist', text):
        return Permanent(
            f"PostgreSQL at {name}: {text}", "create the database, or correct its name"
        )
    return Unreachable(
        f"PostgreSQL at {name} does not answer: {text}", "check host, port and network"
    )


@contextmanager
def _translated() -> Iterator[None]:
    """Errors of psycopg as ours: whether another try helps, and no row values in the message."""
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        raise _error(error) from error


def _error(error: psycopg.Error) -> SharderError:
    from psycopg import errors

    said = error.diag.message_primary or " ".join(str(error).split())
    if isinstance(error, errors.InsufficientPrivilege):
        return Denied(
            f"PostgreSQL: {said}",
            "grant CREATE on the database and the schema to the loader's user",
        )
    if isinstance(error, errors.DiskFull):
        return Transient(
            f"PostgreSQL has no space left: {said}", "free space; the load is tried again", 30.0
        )
    if isinstance(error, errors.DependentObjectsStillExist):
        return Permanent(
            f"PostgreSQL: {said}",
            "a view depends on the table that `migrate_mode: forced` replaces; drop the view, and create it again",
        )
    again = (
        errors.DeadlockDetected, errors.SerializationFailure, errors.LockNotAvailable, errors.AdminShutdown,
        errors.CannotConnectNow, errors.TooManyConnections, errors.IdleInTransactionSessionTimeout,
    )  # fmt: skip
    if isinstance(error, again) or (
        isinstance(error, errors.OperationalError) and not error.sqlstate
    ):
        return Unreachable(f"PostgreSQL: {said}", "the load is tried again")
    return Permanent(f"PostgreSQL: {said}")
