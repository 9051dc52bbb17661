"""The `sql` source: tables found in catalogues, read as Arrow, one connection per cell.

A client is a database. Huge cells are cut into slices that share one exported snapshot where the
engine has it; the transaction that exported it stays open until `close`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import cached_property
from typing import Any

from contracts.errors import InputError, NotFound, SharderError
from contracts.table import Table
from worker.sources.base import CellDone, Checkpoint, Clients, Context, Event, Rows, Work
from worker.sources.sql import cursor, slices
from worker.sources.sql.cell import Reader, agreed, cursor_column, window
from worker.sources.sql.databases import as_table, connected, discovered, merged, with_key
from worker.sources.sql.engine import Engine, Relation, Where, own
from worker.sources.sql.failures import known, translate
from worker.sources.sql.literals import encode
from worker.sources.sql.names import check_names
from worker.sources.sql.options import Database, Options

# What one worker core reads and writes; only the order of magnitude matters to the planner.
_ROWS_PER_S = 150_000
_BYTES_PER_S = 30e6
_PLAN_THREADS = 8


class SqlSource:
    """Implements Source, Splitter and Sizer."""

    def __init__(self, options: Options, context: Context) -> None:
        self._options = options
        self._context = context
        self._databases = {d.name: d for d in options.all_databases}
        self._exporters: dict[str, Engine] = {}  # client → the transaction that holds a snapshot

    # -- planning ----------------------------------------------------------------------------

    @cached_property
    def _found(self) -> dict[str, list[Relation] | SharderError]:
        """Client → its relations, or why it cannot be asked. Raises if no database answers."""
        databases = list(self._databases.values())
        with ThreadPoolExecutor(_PLAN_THREADS) as pool:
            results = pool.map(
                lambda d: discovered(d, self._options, self._context.sleep), databases
            )
            found = {d.name: r for d, r in zip(databases, results, strict=True)}
        errors = [r for r in found.values() if isinstance(r, SharderError)]
        if len(errors) == len(found):
            raise errors[0]
        return found

    def tables(self) -> Sequence[Table]:
        by_name: dict[str, list[Table]] = {}
        for client, relations in self._found.items():
            if isinstance(relations, SharderError):
                continue
            tables = [as_table(r, self._options) for r in relations]
            for table in tables:
                by_name.setdefault(table.name, []).append(table)
            if len({t.name for t in tables}) < len(tables):
                raise InputError(
                    f"database '{client}' has two tables of one name once the schema is put in front",
                    "choose one of them with schemas: […]",
                )
        tables = [merged(same) for _, same in sorted(by_name.items())]
        check_names(self._options, {t.name: t for t in tables})
        return tables

    def clients(self, table: Table) -> Clients:
        """The databases that hold the table, and those that could not be asked: their cells will tell."""
        ids = tuple(self._databases)
        holds = [
            isinstance(found, SharderError) or any(r.table == table.name for r in found)
            for found in self._found.values()
        ]
        if all(holds):
            return Clients("databases", ids)
        ranges = tuple((i, i + 1) for i, held in enumerate(holds) if held)
        return Clients("databases", ids, ranges)

    def size(self, table: Table, client: str) -> float:
        """Seconds that reading the cell may take, from the catalogue's estimate; 0 if it has none."""
        found = self._found.get(client, [])
        for r in [] if isinstance(found, SharderError) else found:
            if r.table == table.name:
                return max(r.rows / _ROWS_PER_S, r.bytes / _BYTES_PER_S, 0.0)
        return 0.0

    def split(self, table: Table, client: str, n: int) -> Sequence[Mapping[str, Any]]:
        """Slices of a cell; from then on the view of this moment is kept for them until `close`.

        A cell that cannot be cut because of an error is left whole: it fails as itself when it is read.
        """
        try:
            return self._split(table, client, n)
        except SharderError:
            return []
        except known():
            return []

    def _split(self, table: Table, client: str, n: int) -> list[dict[str, Any]]:
        engine = self._exporter(client)
        reader = Reader(engine, self._relation(engine, table.name), self._options)
        rows, size = reader.relation.rows, reader.relation.bytes
        n = min(n, max(rows // self._options.slice_rows, size // self._options.slice_bytes))
        if n < 2:
            return []
        shares = self._options.snapshot and self._context.stays
        snapshot = engine.export_snapshot(reader.relation) if shares else ""
        shared: dict[str, Any] = {"snapshot": snapshot} if snapshot else {}
        if name := cursor_column(table):
            shared["upper"] = reader.newest(reader.column(name), None)
        return [{**bounds, **shared} for bounds in self._cuts(reader, n, held=bool(snapshot))]

    def _exporter(self, client: str) -> Engine:
        """The connection whose transaction all slices of a database share."""
        if client not in self._exporters:
            self._exporters[client] = connected(
                self._database(client), self._options, self._context.sleep
            )
        return self._exporters[client]

    def _cuts(self, reader: Reader, n: int, *, held: bool) -> list[dict[str, Any]]:
        """By blocks where a snapshot holds rows in place, else by a key; empty if neither can be."""
        relation = reader.relation
        chosen = self._options.slice_columns.get(relation.table, "")
        if relation.pages and held and not chosen:
            return slices.by_block(relation.pages, n)
        keys = [c for c in relation.columns if c.name == chosen or (not chosen and c.primary_key)]
        if not keys or not slices.can_cut(keys[0].type):
            return []
        column = keys[0]
        cuts = reader.engine.quantiles(relation, column, n)
        if len(cuts) < n - 1:
            low, high = reader.edge(column, "ASC"), reader.edge(column, "DESC")
            if low is None or high is None:
                return []
            cuts = slices.even_cuts(low, high, n, column.type)
        return slices.by_key(column.name, cuts, column.type)

    # -- reading -----------------------------------------------------------------------------

    def read(self, work: Work, cursors: Mapping[str, str]) -> Iterator[Event]:
        table = work.top
        for client in work.clients:
            if self._context.cancelled():
                return
            try:
                yield from self._cell(table, client, work.slice, cursors)
            except SharderError as error:
                ours = error
            except known() as error:
                ours = translate(error, self._databases[client].connection_string)
            else:
                continue
            yield CellDone(table.name, client, "failed", ours.reason, str(ours))

    def _cell(
        self,
        table: Table,
        client: str,
        bounds: Mapping[str, Any] | None,
        cursors: Mapping[str, str],
    ) -> Iterator[Event]:
        snapshot = str((bounds or {}).get("snapshot", ""))
        engine = connected(self._database(client), self._options, self._context.sleep, snapshot)
        with closing(engine):
            reader = Reader(engine, self._relation(engine, table.name), self._options)
            columns = agreed(table, reader.relation, several=len(self._databases) > 1)
            where = slices.conditions(bounds, {c.name: c.type for c in columns}) if bounds else []
            key = f"{self._context.name}/{table.name}/{client}"
            rows = window(reader, table, bounds, cursors.get(key))
            if isinstance(rows, str):
                yield CellDone(table.name, client, cursor={key: rows} if rows else {})
                return
            where += rows.conditions() if rows else []
            order = own(rows.column) if rows and not bounds and _resumable(rows, reader) else ""
            since = 0
            for batch in reader.batches(columns, Where(where, order)):
                if self._context.cancelled():
                    return
                yield Rows(table.name, client, batch)
                since += batch.num_rows
                if rows and order and since >= self._options.checkpoint_rows:
                    last = batch.column(rows.column)[-1]
                    if last.is_valid:
                        yield Checkpoint(table.name, client, {key: encode(last)})
                        since = 0
        done = {key: cursor.newer(rows.lower, rows.upper, rows.type)} if rows else {}
        yield CellDone(table.name, client, cursor=done)

    def _database(self, client: str) -> Database:
        try:
            return self._databases[client]
        except KeyError as error:
            raise NotFound(f"the spec names no database '{client}'") from error

    def _relation(self, engine: Engine, table: str) -> Relation:
        for relation in engine.relations(only=table):
            return with_key(relation, self._options.primary_keys)
        raise NotFound(f"there is no table {table}", "it was dropped, or the user may not see it")

    def test(self) -> str:
        """Connects to every database and reads its catalogue."""
        for client, relations in self._found.items():
            if isinstance(relations, SharderError):
                relations.message = f"database '{client}': {relations.message}"
                raise relations
        count = sum(len(r) for r in self._found.values() if not isinstance(r, SharderError))
        return f"{len(self._found):,} databases with {count:,} tables"

    def close(self) -> None:
        """Also ends the transactions that hold snapshots: slices not read by then fail."""
        for engine in self._exporters.values():
            engine.close()
        self._exporters.clear()


def _resumable(rows: cursor.Window, reader: Reader) -> bool:
    """Whether reading in the order of the cursor is cheap, and a part of it can be kept."""
    return rows.boundary == "again" and rows.column in reader.relation.leading
