"""What a user may write in the `spec` of a `sql` source, and what follows from it without connecting."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any, Literal, Self
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from contracts.spec import Seconds, Size

SECRET: dict[str, Any] = {"secret": True}  # callers find fields that hold secrets by this mark

_SCHEMES = {
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "sqlite": "sqlite",
    "duckdb": "duckdb",
}
_SUFFIXES = {
    ".sqlite": "sqlite",
    ".sqlite3": "sqlite",
    ".db": "sqlite",
    ".duckdb": "duckdb",
    ".ddb": "duckdb",
}

# The names that `worker.sources.exact.named` knows; a pattern, because options load without Arrow.
TypeName = Annotated[
    str,
    Field(
        pattern=r"^(text|json|uuid|binary|date|time|timestamp|timestamptz|bool|int32|int64|float64"
        r"|decimal\(([1-9]|[1-6]\d|7[0-6])(, ?([0-9]|[1-6]\d|7[0-6]))?\))$"
    ),
]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class Database(_Model):
    """One database: one client of every table that it holds."""

    name: str = Field(
        min_length=1, description="The client's id; stands in `_cq_client_id`, never changes"
    )
    connection_string: str = Field(
        min_length=1, json_schema_extra=SECRET, description="URL or path of the database"
    )
    driver: str = Field("", description="As the source's `driver`, for this database only")


class Options(_Model):
    """The nested `spec`. Give either `connection_string` or `databases`."""

    connection_string: str = Field(
        "",
        json_schema_extra=SECRET,
        description="`postgresql://user:password@host/db`, `sqlite:///file.db`, `duckdb:///file.duckdb` or a path",
    )
    driver: str = Field(
        "",
        description="`postgresql`, `sqlite`, `duckdb`, or the name or path of any ADBC driver; default: by the URL",
    )
    client: str = Field(
        "", description="Client id of the one database; default: the database's name"
    )
    databases: tuple[Database, ...] = Field(
        (), strict=False, description="Several databases; each is a client of its tables"
    )
    schemas: tuple[str, ...] = Field(
        (), strict=False, description="Schemas to read; default: all but the engine's own"
    )
    views: bool = Field(False, description="Also offer views and materialized views as tables")
    cursor_columns: Mapping[str, str] = Field(
        {}, description="Table → column whose value grows: only new rows are read"
    )
    cursor_boundary: Literal["auto", "again", "hold", "once"] = Field(
        "auto",
        description="What happens to rows that equal the cursor: read `again` next time (default with a primary key), "
        "`hold` the newest value back until a newer one exists (default without), or read `once` (values are unique)",
    )
    primary_keys: Mapping[str, tuple[str, ...]] = Field(
        {}, strict=False, description="Table → key columns, for views and tables that declare none"
    )
    column_types: Mapping[str, Mapping[str, TypeName]] = Field(
        {},
        description="Table → column → `text`, `json`, `uuid`, `binary`, `date`, `time`, `timestamp`, `timestamptz`, "
        "`bool`, `int32`, `int64`, `float64` or `decimal(P,S)`; a value that does not fit exactly fails its cell",
    )
    slice_columns: Mapping[str, str] = Field(
        {}, description="Table → integer, date or uuid column to cut it by; default: the first key"
    )
    slice_rows: int = Field(
        1_000_000, ge=1, description="A table is never cut into slices of fewer rows than this"
    )
    slice_bytes: Size = Field(
        256 << 20, ge=1, strict=False, description="… nor of fewer bytes, where the engine tells"
    )
    snapshot: bool = Field(
        True, description="Read all slices under one exported snapshot where the engine has it"
    )
    batch_rows: int = Field(65_536, ge=1, description="Rows per Arrow batch, at most")
    batch_bytes: Size = Field(
        16 << 20,
        ge=1 << 10,
        strict=False,
        description="Bytes per batch, about; where a driver counts rows only, by the number of columns",
    )
    checkpoint_rows: int = Field(
        1_000_000, ge=1, description="Rows between checkpoints of an incremental table"
    )
    statement_timeout: Seconds = Field(
        0.0, ge=0, strict=False, description="Limit of one query (PostgreSQL); 0: the server's own"
    )
    infinity: Literal["fail", "null"] = Field(
        "fail", description="What `infinity` in a date or timestamp does: fail the cell, or null"
    )

    @model_validator(mode="after")
    def _one_way_to_name_databases(self) -> Self:
        if bool(self.connection_string) == bool(self.databases):
            raise ValueError("write either connection_string or databases")
        if self.databases and (self.client or self.driver):
            raise ValueError(
                "client and driver belong to connection_string; databases carry name and driver"
            )
        names = [d.name for d in self.databases]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"databases have the same name: {', '.join(twice)}")
        for database in self.all_databases:
            driver_of(database)
        return self

    @property
    def all_databases(self) -> tuple[Database, ...]:
        """Every database under its client id, in the order of the spec."""
        if self.databases:
            return self.databases
        return (
            Database(
                name=self.client or database_name(self.connection_string),
                connection_string=self.connection_string,
                driver=self.driver,
            ),
        )


def driver_of(database: Database) -> str:
    """The driver that was named, or that the connection string implies. Raises ValueError."""
    if database.driver:
        return _SCHEMES.get(database.driver, database.driver)
    text = database.connection_string
    scheme = text.split(":", 1)[0].split("+", 1)[0].lower() if "://" in text else ""
    if scheme in _SCHEMES:
        return _SCHEMES[scheme]
    if not scheme and ("host=" in text or "dbname=" in text):
        return "postgresql"
    if not scheme and (found := _SUFFIXES.get(PurePath(text.split("?")[0]).suffix.lower())):
        return found
    # The text itself may be a secret: only its scheme is repeated.
    raise ValueError(
        f"no driver is known for {scheme + '://…' if scheme else 'this connection string'}; write driver: …"
    )


def database_name(connection_string: str) -> str:
    """The name that a person would give the database: no host, no user, no secret."""
    if "://" not in connection_string:
        pairs = dict(p.split("=", 1) for p in connection_string.split() if "=" in p)
        if "dbname" in pairs or "host" in pairs:
            return pairs.get("dbname", "").strip("'") or pairs.get("user", "") or "postgres"
        return PurePath(connection_string.split("?", maxsplit=1)[0]).stem or "database"
    parts = urlsplit(connection_string)
    if parts.scheme.split("+")[0] in ("postgresql", "postgres"):
        query = parse_qs(parts.query)
        named = query.get("dbname", [""])[0] or unquote(parts.path.strip("/"))
        return named or parts.username or "postgres"
    return PurePath(unquote(parts.path)).stem or "database"


def file_path(connection_string: str) -> str:
    """`sqlite:///rel.db`, `sqlite:////abs.db`, `rel.db` → the path of the file."""
    if "://" not in connection_string:
        return connection_string.removeprefix("file:").split("?")[0]
    return unquote(urlsplit(connection_string).path)[1:]
