"""The `sql` source: tables found in catalogues, read as Arrow, one connection per cell.

A client is a database. Huge cells are cut into slices that share one exported snapshot where the
engine has it; the transaction that exported it stays open until `close`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import cached_property
from typing import Any

from contracts.errors import InputError, NotFound, SchemaChanged, SharderError
from contracts.table import Table
from worker.sources.base import CellDone, Checkpoint, Clients, Context, Event, Rows, Work
from worker.sources.sql import cursor, slices
from worker.sources.sql.arrow import conform
from worker.sources.sql.databases import (
    as_table,
    connected,
    discovered,
    merged,
    wanted,
    with_key,
)
from worker.sources.sql.engine import ColumnPlan, Engine, Relation, Where, own
from worker.sources.sql.failures import known, translate
from worker.sources.sql.literals import encode
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
        self._exporters: dict[str, tuple[Engine, str]] = {}  # client → transaction, snapshot

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
        _check_names(self._options, {t.name: t for t in tables})
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
        """Slices of a cell; from then on the view of this moment is kept for them until `close`."""
        database = self._databases[client]
        try:
            engine, _ = self._exporters.get(client) or self._exporter(client)
            relation = self._relation(engine, table.name)
            n = min(
                n,
                max(
                    relation.rows // self._options.slice_rows,
                    relation.bytes // self._options.slice_bytes,
                ),
            )
            if n < 2:
                return []
            snapshot = engine.export_snapshot(relation) if self._options.snapshot else ""
            shared: dict[str, Any] = {"snapshot": snapshot} if snapshot else {}
            if key := _cursor_column(table):
                upper = self._newest(engine, relation, relation_column(relation, key), None)
                shared["upper"] = upper
            return [{**b, **shared} for b in self._cuts(engine, relation, n, bool(snapshot))]
        except known() as error:
            raise translate(error, database.connection_string) from error

    def _exporter(self, client: str) -> tuple[Engine, str]:
        engine = connected(self._databases[client], self._options, self._context.sleep)
        self._exporters[client] = (engine, "")
        return self._exporters[client]

    def _cuts(
        self, engine: Engine, relation: Relation, n: int, snapshot: bool
    ) -> list[dict[str, Any]]:
        """By blocks where a snapshot holds rows in place, else by a key; empty if neither can be."""
        chosen = self._options.slice_columns.get(relation.table, "")
        if relation.pages and snapshot and not chosen:
            return slices.by_block(relation.pages, n)
        keys = [c for c in relation.columns if c.name == chosen or (not chosen and c.primary_key)]
        if not keys or not slices.can_cut(keys[0].type):
            return []
        column = keys[0]
        cuts = engine.quantiles(relation, column, n)
        if len(cuts) < n - 1:
            low, high = (self._edge(engine, relation, column, order) for order in ("ASC", "DESC"))
            if low is None or high is None:
                return []
            cuts = slices.even_cuts(low, high, n, column.type)
        return slices.by_key(column.name, cuts, column.type)

    # -- reading -----------------------------------------------------------------------------

    def read(self, work: Work, cursors: Mapping[str, str]) -> Iterator[Event]:
        for client in work.clients:
            if self._context.cancelled():
                return
            table = work.top
            try:
                yield from self._cell(table, client, work.slice, cursors)
            except SharderError as error:
                yield CellDone(table.name, client, "failed", error.reason, str(error))
            except known() as error:
                secret = self._databases[client].connection_string
                ours = translate(error, secret)
                yield CellDone(table.name, client, "failed", ours.reason, str(ours))

    def _cell(
        self,
        table: Table,
        client: str,
        bounds: Mapping[str, Any] | None,
        cursors: Mapping[str, str],
    ) -> Iterator[Event]:
        database = self._database(client)
        snapshot = str((bounds or {}).get("snapshot", ""))
        engine = connected(database, self._options, self._context.sleep, snapshot)
        with closing(engine):
            relation = self._relation(engine, table.name)
            columns = self._agreed(table, relation)
            where = slices.conditions(bounds, {c.name: c.type for c in columns}) if bounds else []
            key = f"{self._context.name}/{table.name}/{client}"
            window = self._window(engine, relation, table, bounds, cursors.get(key))
            if isinstance(window, str):
                yield CellDone(table.name, client, cursor={key: window} if window else {})
                return
            order = ""
            if (
                window
                and window.boundary == "again"
                and not bounds
                and window.column in relation.leading
            ):
                order = own(window.column)
            where += window.conditions() if window else []
            since = 0
            for batch in self._batches(engine, relation, columns, Where(where, order)):
                if self._context.cancelled():
                    return
                yield Rows(table.name, client, batch)
                since += batch.num_rows
                if window and order and since >= self._options.checkpoint_rows:
                    last = batch.column(window.column)[-1]
                    if last.is_valid:
                        yield Checkpoint(table.name, client, {key: encode(last)})
                        since = 0
        done = {key: cursor.newer(window.lower, window.upper, window.type)} if window else {}
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

    def _agreed(self, table: Table, relation: Relation) -> list[ColumnPlan]:
        """The planned columns as this database has them. Raises SchemaChanged where they disagree.

        Of several databases one may lack a column that another has; then it is null.
        """
        found = []
        several = len(self._databases) > 1
        there = {c.name: c for c in relation.columns if wanted(c)}
        for planned in table.columns:
            column = there.get(planned.name)
            if column is None:
                if not planned.name.startswith("_cq_") and not (several and planned.nullable):
                    raise SchemaChanged(
                        f"{table.name}.{planned.name} is gone since the run was planned",
                        "a new run plans with the new schema",
                    )
            elif column.type != planned.type:
                raise SchemaChanged(
                    f"{table.name}.{planned.name} is {column.type}, but the plan says {planned.type}",
                    "a new run plans with the new schema; column_types makes databases agree",
                )
            else:
                found.append(replace(column, nullable=planned.nullable))
        return found

    def _window(
        self,
        engine: Engine,
        relation: Relation,
        table: Table,
        bounds: Mapping[str, Any] | None,
        lower: str | None,
    ) -> cursor.Window | str | None:
        """Rows to read of an incremental cell; None: all of them; text: nothing is new since that cursor."""
        name = _cursor_column(table)
        if not name:
            return None
        column = relation_column(relation, name)
        boundary = self._boundary(table)
        if boundary != "again":
            self._no_nulls(engine, relation, column, boundary)
        if bounds is None:
            upper = self._newest(engine, relation, column, lower)
        else:
            upper = bounds.get("upper")
        if upper is None and boundary != "again":
            return lower or ""
        if upper is None and lower is None:
            return None if boundary == "again" else ""
        return cursor.Window(name, column.type, boundary, lower, upper or lower or "")

    def _boundary(self, table: Table) -> cursor.Boundary:
        chosen = self._options.cursor_boundary
        if chosen != "auto":
            return chosen
        return (
            "again"
            if any(c.primary_key and not c.name.startswith("_cq_") for c in table.columns)
            else "hold"
        )

    def _no_nulls(
        self, engine: Engine, relation: Relation, column: ColumnPlan, boundary: str
    ) -> None:
        where = Where((f"{own(column.name)} IS NULL",), limit=1)
        if any(b.num_rows for b in engine.read(relation, [replace(column, nullable=True)], where)):
            raise SchemaChanged(
                f"{relation.table}.{column.name}: the cursor column has nulls, which '{boundary}' could lose or repeat",
                "choose a column without nulls, or name a primary key and set cursor_boundary: again",
            )

    def _newest(
        self, engine: Engine, relation: Relation, column: ColumnPlan, lower: str | None
    ) -> str | None:
        where = cursor.not_before(column.name, lower, column.type)
        return self._edge(engine, relation, column, "DESC", where)

    def _edge(
        self,
        engine: Engine,
        relation: Relation,
        column: ColumnPlan,
        order: str,
        where: Sequence[str] = (),
    ) -> str | None:
        """The smallest or largest value; None if there is none. By order and limit: not every
        type has a max(), and an index on the column answers at once.
        """
        where = where or (f"{own(column.name)} IS NOT NULL",)
        one = Where(where, f"{own(column.name)} {order}", limit=1)
        for batch in self._batches(engine, relation, [column], one):
            return encode(batch.column(0)[0])
        return None

    def _batches(
        self, engine: Engine, relation: Relation, columns: Sequence[ColumnPlan], where: Where
    ) -> Iterator[Any]:
        """Conforming batches, none empty, of at most `batch_rows` rows."""
        step = self._options.batch_rows
        with closing(engine.read(relation, columns, where)) as batches:
            for batch in batches:
                whole = conform(
                    batch,
                    columns,
                    table=relation.table,
                    limits=engine.limits,
                    infinity=self._options.infinity,
                )
                for start in range(0, whole.num_rows, step):
                    yield whole.slice(start, step)

    def close(self) -> None:
        """Also ends the transactions that hold snapshots: slices not read by then fail."""
        for engine, _ in self._exporters.values():
            engine.close()
        self._exporters.clear()


def _cursor_column(table: Table) -> str:
    return next((c.name for c in table.columns if c.incremental_key), "")


def relation_column(relation: Relation, name: str) -> ColumnPlan:
    column = relation.column(name)
    if column is None:
        raise SchemaChanged(f"{relation.table}.{name}, its cursor column, is gone")
    return column


def _check_names(options: Options, tables: Mapping[str, Table]) -> None:
    """Tables and columns that options name must exist: a typing error would silently read everything."""
    from difflib import get_close_matches

    named: list[tuple[str, str, Sequence[str]]] = [
        *(("cursor_columns", t, [c]) for t, c in options.cursor_columns.items()),
        *(("slice_columns", t, [c]) for t, c in options.slice_columns.items()),
        *(("primary_keys", t, c) for t, c in options.primary_keys.items()),
        *(("column_types", t, list(c)) for t, c in options.column_types.items()),
    ]
    for option, table, columns in named:
        if table not in tables:
            near = get_close_matches(table, tables, 1)
            raise InputError(
                f"{option} names the table '{table}', which no database has",
                f"did you mean '{near[0]}'?"
                if near
                else "tables outside the schema public carry its name: sales_orders",
            )
        for column in columns:
            if column not in tables[table]:
                near = get_close_matches(column, [c.name for c in tables[table].columns], 1)
                raise InputError(
                    f"{option}: the table '{table}' has no column '{column}'",
                    f"did you mean '{near[0]}'?" if near else "",
                )
