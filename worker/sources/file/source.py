"""The `file` source: a table is a set of files, a client is a file.

Types are settled at plan time, from explicit `columns` or a bounded sample of a few files, and a file
that disagrees later fails its own cell, named with its column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from importlib import import_module
from typing import Any, cast

import pyarrow as pa

from contracts.errors import InputError, Permanent, SchemaChanged, SharderError
from contracts.table import Column, Table
from worker.sources.base import CellDone, Clients, Context, Event, Rows, Work
from worker.sources.exact import exactly, named
from worker.sources.file.base import Format, Request
from worker.sources.file.options import FileTable, Options, compression_of, format_of
from worker.sources.file.places import Places, failure

# What one worker core reads and writes; only the order of magnitude matters to the planner.
_BYTES_PER_S = {"parquet": 20e6, "csv": 50e6, "jsonl": 40e6}
_COMPRESSED = 5.0  # text shrinks about so much

_BROKEN = (OSError, EOFError, pa.ArrowException, ValueError, TypeError)


class FileSource:
    """Implements Source, Splitter and Sizer."""

    def __init__(self, options: Options, context: Context) -> None:
        self._options = options
        self._context = context
        self._places = Places(options)
        self._tables = {t.name: t for t in options.all_tables}
        self._sizes: dict[str, dict[str, int]] = {}  # table → client → bytes

    # -- planning ----------------------------------------------------------------------------

    def tables(self) -> Sequence[Table]:
        return [self._table(t) for t in self._options.all_tables]

    def _table(self, table: FileTable) -> Table:
        given = {name: named(type_) for name, type_ in table.columns.items()}
        fields = {} if table.only_columns else self._sampled(table)
        fields |= given
        if missing := [k for k in table.primary_key if k not in fields]:
            raise InputError(
                f"table '{table.name}': no file has the key column '{missing[0]}'",
                f"there are: {', '.join(fields)}",
            )
        columns = tuple(
            Column(name, type_, name not in table.primary_key, name in table.primary_key)
            for name, type_ in fields.items()
            if not name.startswith("_cq_")
        )
        return Table(table.name, columns)

    def _sampled(self, table: FileTable) -> dict[str, pa.DataType]:
        """Column → type, from the first, the last and files between them."""
        clients = list(self._listed(table))
        if not clients:
            raise InputError(
                f"table '{table.name}': no file matches {', '.join(table.patterns)}",
                "columns and only_columns: true plan a table whose files may come later",
            )
        step = max(1, -(-len(clients) // self._options.sample_files))
        chosen = {*clients[::step][: self._options.sample_files], clients[-1]}
        schemas = [self._infer(table, c) for c in sorted(chosen)]
        try:
            found = pa.unify_schemas(schemas, promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise InputError(
                f"table '{table.name}': its files disagree: {error}", "settle the type with columns"
            ) from error
        return {f.name: pa.string() if pa.types.is_null(f.type) else f.type for f in found}

    def _infer(self, table: FileTable, client: str) -> pa.Schema:
        format_ = self._format(table, client)
        with closing(self._places.open(client)) as file:
            try:
                schema = format_.infer(client, file, self._options.sample_bytes, table.csv)
            except _BROKEN as error:
                raise InputError(f"table '{table.name}': cannot read {client}: {error}") from error
        if twice := sorted({n for n in schema.names if schema.names.count(n) > 1}):
            raise InputError(
                f"table '{table.name}': {client} has the column '{twice[0]}' more than once"
            )
        if table.csv.header or not table.columns or self._name(table, client) != "csv":
            return schema
        return pa.schema([])  # without a header `columns` names them all

    def _name(self, table: FileTable, client: str) -> str:
        found = format_of(client) if table.format == "auto" else table.format
        if found is None:
            raise InputError(
                f"table '{table.name}': the name of {client} tells no format",
                "write format: parquet, csv or jsonl",
            )
        return found

    def _format(self, table: FileTable, client: str) -> Format:
        return cast("Format", import_module(f"worker.sources.file.{self._name(table, client)}"))

    def _listed(self, table: FileTable) -> dict[str, int]:
        if table.name not in self._sizes:
            self._sizes[table.name] = self._places.list(table)
        return self._sizes[table.name]

    def clients(self, table: Table) -> Clients:
        """The files. A listing that fails is no list of departed files."""
        try:
            ids = tuple(self._listed(self._tables[table.name]))
        except SharderError as error:
            return Clients(table.name, (), whole=False, why_not=str(error))
        why = "" if ids else "no file matches"
        return Clients(table.name, ids, whole=not why, why_not=why)

    def size(self, table: Table, client: str) -> float:
        """Seconds that reading a file may take, from its size."""
        spec = self._tables[table.name]
        factor = _COMPRESSED if compression_of(client) else 1.0
        return self._listed(spec).get(client, 0) * factor / _BYTES_PER_S[self._name(spec, client)]

    def split(self, table: Table, client: str, n: int) -> Sequence[Mapping[str, Any]]:
        """Row groups of Parquet, byte ranges of lines; empty where a file cannot be cut safely."""
        spec = self._tables[table.name]
        size = self._listed(spec).get(client, 0)
        n = min(n, size // self._options.slice_bytes)
        if n < 2:
            return []
        with closing(self._places.open(client)) as file:
            try:
                return self._format(spec, client).cuts(client, file, size, n, spec.csv)
            except _BROKEN as error:
                raise Permanent(f"cannot cut {client}: {error}") from error

    # -- reading -----------------------------------------------------------------------------

    def read(self, work: Work, cursors: Mapping[str, str]) -> Iterator[Event]:
        del cursors  # no file table is incremental
        for client in work.clients:
            if self._context.cancelled():
                return
            try:
                for batch in self._batches(work, client):
                    if self._context.cancelled():
                        return
                    yield Rows(work.top.name, client, batch)
                yield CellDone(work.top.name, client)
            except SharderError as error:
                ours = error
            except OSError as error:
                ours = failure(error, client)
            except _BROKEN as error:
                ours = Permanent(f"cannot read {client}: {error}")
            else:
                continue
            yield CellDone(work.top.name, client, "failed", ours.reason, str(ours))

    def _batches(self, work: Work, client: str) -> Iterator[pa.RecordBatch]:
        table = self._tables[work.top.name]
        wanted = [c for c in work.top.columns if not c.name.startswith("_cq_")]
        with closing(self._places.open(client)) as file:
            size = work.slice.get("size") if work.slice else None
            if size is not None and file.seek(0, 2) != size:
                raise Permanent(
                    f"{client} has changed since it was cut into slices", "start a new run"
                )
            file.seek(0)
            request = Request(
                path=client,
                file=file,
                schema=pa.schema([c.field for c in wanted]),
                batch_bytes=self._options.batch_bytes,
                csv=table.csv,
                ignore_extra=self._options.extra_columns == "ignore" or table.only_columns,
                bounds=work.slice,
            )
            with closing(self._format(table, client).read(request)) as batches:
                try:
                    for batch in batches:
                        if batch.num_rows:
                            yield conform(batch, wanted, request)
                except SchemaChanged as error:
                    raise SchemaChanged(f"{client}: {error.message}", error.hint) from error

    def test(self) -> str:
        """Lists every table's places; nothing is opened."""
        counts = [len(self._listed(table)) for table in self._tables.values()]
        return f"{sum(counts):,} files in {len(counts):,} tables"

    def close(self) -> None:
        self._sizes.clear()


def conform(batch: pa.RecordBatch, wanted: Sequence[Column], request: Request) -> pa.RecordBatch:
    """The planned columns that a file has, as planned; missing ones stay away and become null.

    Raises SchemaChanged, naming the column.
    """
    names = {c.name for c in wanted}
    have = set(batch.schema.names)
    if (more := have - names) and not request.ignore_extra:
        raise SchemaChanged(
            f"the column {min(more)} was not planned",
            "a new run plans with it; extra_columns: ignore leaves such columns out",
        )
    if not have & names:
        raise SchemaChanged(f"none of the planned columns is there, but {', '.join(sorted(have))}")
    arrays, fields = [], []
    for column in wanted:
        if column.name not in have:
            if not column.nullable:
                raise SchemaChanged(f"the key column {column.name} is missing")
            continue
        try:
            array = exactly(batch.column(column.name), column.type)
        except (pa.ArrowException, ValueError, TypeError) as error:
            raise SchemaChanged(
                f"column {column.name}: {error}", "columns: settles the type for all files"
            ) from error
        if not column.nullable and array.null_count:
            raise SchemaChanged(f"column {column.name}: a null in a key column")
        arrays.append(array)
        fields.append(column.field)
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
