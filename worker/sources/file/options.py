"""What a user may write in the `spec` of a `file` source, and what follows from it without any file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from contracts.spec import Size

Format = Literal["parquet", "csv", "jsonl"]

# The names that `worker.sources.exact.named` knows; a pattern, because options load without Arrow.
TypeName = Annotated[
    str,
    Field(
        pattern=r"^(text|json|uuid|binary|date|time|timestamp|timestamptz|bool|int32|int64|float64"
        r"|decimal\(([1-9]|[1-6]\d|7[0-6])(, ?([0-9]|[1-6]\d|7[0-6]))?\))$"
    ),
]

_FORMATS: Mapping[str, Format] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "jsonl",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Csv(_Model):
    """How CSV files are written."""

    delimiter: str = Field(
        "", max_length=1, description="Default: a tab for .tsv files, else a comma"
    )
    quote: str = Field('"', max_length=1, description="Quote character; empty: none")
    escape: str = Field("", max_length=1, description="Escape character; empty: quotes are doubled")
    header: bool = Field(
        True, description="The first line names the columns; if not, `columns` does, in order"
    )
    skip_rows: int = Field(0, ge=0, description="Lines before the header that are passed over")
    null_values: tuple[str, ...] = Field(
        ("",), strict=False, description="Unquoted texts that mean null"
    )
    encoding: str = Field("utf8", description="As Python names it")
    newlines_in_values: bool = Field(
        True, description="Quoted values may hold line breaks; only if not are large files split"
    )


class FileTable(_Model):
    """One table and the files it is made of."""

    name: str = Field(min_length=1, description="Name of the table")
    path: str = Field("", description="File, directory or glob (`*`, `?`, `[…]`, `**`), or a URL")
    paths: tuple[str, ...] = Field((), strict=False, description="Several of them")
    format: Format | Literal["auto"] = Field("auto", description="Default: by the suffix")
    primary_key: tuple[str, ...] = Field(
        (), strict=False, description="Key columns; rows then have deterministic ids"
    )
    columns: Mapping[str, TypeName] = Field(
        {}, description="Column → type, in place of what the sample suggests"
    )
    only_columns: bool = Field(False, description="Read nothing but `columns`; no sample is taken")
    csv: Csv = Csv()

    @model_validator(mode="after")
    def _there_is_a_path(self) -> Self:
        if bool(self.path) == bool(self.paths):
            raise ValueError("write either path or paths")
        if self.only_columns and not self.columns:
            raise ValueError("only_columns needs columns")
        if self.format == "csv" and not self.csv.header and not self.columns:
            raise ValueError("a CSV file without header needs columns, in their order")
        return self

    @property
    def patterns(self) -> tuple[str, ...]:
        return self.paths or (self.path,)


class Options(_Model):
    """The nested `spec`: `path` or `paths` for one table, or `tables`."""

    path: str = Field("", description="As a table's `path`, for a spec of one table")
    paths: tuple[str, ...] = Field((), strict=False, description="As a table's `paths`")
    table: str = Field(
        "", description="Name of the one table; default: the file's or its directory's"
    )
    tables: tuple[FileTable, ...] = Field((), strict=False, description="Several tables")
    format: Format | Literal["auto"] = Field("auto", description="As a table's `format`")
    primary_key: tuple[str, ...] = Field((), strict=False, description="As a table's `primary_key`")
    columns: Mapping[str, TypeName] = Field({}, description="As a table's `columns`")
    only_columns: bool = Field(False, description="As a table's `only_columns`")
    csv: Csv = Field(Csv(), description="As a table's `csv`")
    base: str = Field(
        "",
        description="Directory or URL that paths are relative to and cannot leave; ids of clients are relative to it",
    )
    region: str = Field("", description="S3: region of the bucket; default: the environment's")
    endpoint_url: str = Field("", description="S3: another server; default: AWS_ENDPOINT_URL")
    anonymous: bool = Field(False, description="S3: without credentials")
    extra_columns: Literal["fail", "ignore"] = Field(
        "fail", description="What a column does that a file has and the plan has not"
    )
    sample_files: int = Field(
        3, ge=1, description="Files per table that are looked at to find types"
    )
    sample_bytes: Size = Field(
        1 << 20, ge=1 << 10, strict=False, description="Bytes of each that are looked at"
    )
    batch_bytes: Size = Field(
        16 << 20, ge=1 << 10, strict=False, description="Bytes per Arrow batch, about"
    )
    slice_bytes: Size = Field(
        128 << 20,
        ge=1 << 10,
        strict=False,
        description="A file is never cut into slices smaller than this",
    )

    @model_validator(mode="after")
    def _one_way_to_name_files(self) -> Self:
        if sum(map(bool, (self.path, self.paths, self.tables))) != 1:
            raise ValueError("write one of path, paths and tables")
        alone = ("table", "primary_key", "columns", "only_columns")
        if self.tables and (misplaced := [f for f in alone if getattr(self, f)]):
            raise ValueError(f"with tables, {misplaced[0]} belongs to each of them")
        names = [t.name for t in self.all_tables]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"tables have the same name: {', '.join(twice)}")
        return self

    @property
    def all_tables(self) -> tuple[FileTable, ...]:
        if self.tables:
            return self.tables
        one = FileTable(
            name=self.table or table_name((self.paths or (self.path,))[0]),
            path=self.path,
            paths=self.paths,
            format=self.format,
            primary_key=self.primary_key,
            columns=self.columns,
            only_columns=self.only_columns,
            csv=self.csv,
        )
        return (one,)


def table_name(pattern: str) -> str:
    """`s3://b/users/*.parquet` → users, `Daily Orders.csv.gz` → daily_orders."""
    parts = [
        p
        for p in pattern.rsplit("://", maxsplit=1)[-1].split("/")
        if p and not re.search(r"[*?\[]", p)
    ]
    stem = parts[-1].split(".")[0] if parts else ""
    return re.sub(r"\W+", "_", stem).strip("_").lower() or "files"


def compression_of(path: str) -> str:
    """`gzip`, `zstd`, `bz2`, or empty."""
    return _COMPRESSIONS.get(PurePosixPath(path).suffix.lower(), "")


def format_of(path: str) -> Format | None:
    """The format that the suffix tells, a suffix of compression aside."""
    name = PurePosixPath(path)
    name = name.with_suffix("") if compression_of(path) else name
    return _FORMATS.get(name.suffix.lower())
