"""The publish of a load, for every engine with transactions: which statements, in which order, and when not.

`publish` runs inside one transaction that the engine opened. It takes the fence row of (source, table)
first, so that of two loads of a table one waits for the other, and the later one sees what was published.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

from contracts.errors import Fenced, Permanent, Transient
from contracts.receipt import LoadedTable
from contracts.table import Table
from loader import ours, sql
from loader.dialect import Dialect
from loader.migrate import Rebuild
from loader.shape import PhysicalTable
from loader.sql import Stale, Statement

if TYPE_CHECKING:
    from loader.warehouses.base import Rows


@dataclass(frozen=True)
class Fence:
    """The newest load of (source, table) that the warehouse knows. `sync_time` is naive UTC."""

    sync_time: datetime
    run: str
    round: int
    load: str
    rounds: tuple[int, ...]  # of that run, whose rows are in


@dataclass(frozen=True)
class Counts:
    """Cells of one table by outcome, over all rounds of the run so far."""

    ok: int = 0
    failed: int = 0
    skipped: int = 0


@dataclass(frozen=True)
class TablePublication:
    """One table of the tree. `copied` rows wait in `landing`, or, of an append in place, are still to be
    copied from `rows`; `stale` is None if nothing may go. `table` is the name that readers find, and
    `dropped` counts rows that a transformer left out. `declared` is the table as a plugin is told of it.
    """

    table: str
    target: PhysicalTable
    landing: PhysicalTable
    mode: Literal["append", "merge"]
    copied: int
    rows: Rows | None
    stale: Stale | None
    rebuild: Rebuild | None
    cells: Counts
    dropped: int = 0
    declared: Table | None = None


@dataclass(frozen=True)
class Publication:
    """One load, ready to be published. Times are naive UTC, as the columns of the warehouse are.

    `expected` is the fence as it was when the load began: rounds that it names were left out.
    `cells` is a landing table of the load's cells (`ours.CELLS_LANDING`). `removals`: statements that delete what
    the source took back, with the table that each is about. `sync_id`: what `{{SYNC_ID}}` stands
    for; empty: the run's id. `migrates`: tables may be made and altered. `confirm` is called as the last step
    before the commit; what it raises undoes
    the publish.
    """

    load: str
    run: str
    round: int
    rounds: tuple[int, ...]
    source: str
    top: str
    sync_time: datetime
    now: datetime
    expected: Fence | None
    tables: tuple[TablePublication, ...]
    cells: PhysicalTable
    cursors: Mapping[str, str]
    state: PhysicalTable | None
    warnings: tuple[str, ...] = ()
    removals: tuple[tuple[str, Statement], ...] = ()
    sync_id: str = ""
    migrates: bool = True
    confirm: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Published:
    """What a publish did, or (`already`) what the same load did the first time."""

    tables: tuple[LoadedTable, ...]
    already: bool = False
    warnings: tuple[str, ...] = ()


class Session(Protocol):
    """An open transaction."""

    def execute(self, text: str, parameters: Sequence[Any] = ()) -> int:
        """The number of rows touched, where the statement has one."""

    def query(self, text: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]: ...

    def append(self, table: PhysicalTable, rows: Rows) -> int:
        """Bulk copy into the table itself; the number of rows."""


def publish(session: Session, d: Dialect, p: Publication) -> Published:
    """Raises Fenced for a load older than the recorded one, Transient if another came in between."""
    fence = take_fence(session, d, p.source, p.top)
    if fence and fence.load == p.load:
        return Published(recorded(session, d, p.load), already=True)
    if fence and (fence.sync_time, fence.round) > (p.sync_time, p.round):
        raise fenced(p.source, p.top, fence)
    if fence and fence.sync_time == p.sync_time and fence.run != p.run:
        raise fenced(p.source, p.top, fence)
    if fence != p.expected:
        raise Transient(
            f"another load of '{p.top}' was published while this one was copied",
            "it is tried again",
        )
    for t in p.tables:
        for statement in sql.rebuild(d, t.rebuild, t.landing.name + "_new") if t.rebuild else ():
            _run(session, statement)
    # Before any merge: what is in the tables now is older than what the source took back.
    removed: Counter[str] = Counter()
    for name, statement in p.removals:
        removed[name] += _run(session, statement)
    tables = tuple(_table(session, d, p, t, removed[t.table]) for t in p.tables)
    _set_cursors(session, d, p)
    _record(session, d, p, tables)
    p.confirm()
    return Published(tables)


def take_fence(session: Session, d: Dialect, source: str, top: str) -> Fence | None:
    """Lock the row of (source, table), made if it is missing; None before the first load."""
    where = fence_key(session, source, top)
    shape = ours.fence(d)
    # An update locks the row: the second writer waits, or is told to come again. The value must change,
    # because DuckDB does nothing for an update that leaves a row as it was.
    lock = (
        f"UPDATE {d.ref(shape)} SET taken = taken + 1 "
        f"WHERE {d.quote('source')} = $1 AND table_name = $2 AND schema_name = $3"
    )
    if not session.execute(lock, tuple(where.values())):
        row = where | {"load_id": "", "rounds": "[]", "taken": 1}
        _run(session, sql.insert(d, shape, row))
    return read_fence(session, d, source, top)


def fence_key(session: Session, source: str, top: str) -> dict[str, str]:
    """Schemas of one database are places of their own: several destinations may write side by side."""
    ((schema,),) = session.query("SELECT current_schema()")
    return {"source": source, "table_name": top, "schema_name": schema}


def read_fence(session: Session, d: Dialect, source: str, top: str) -> Fence | None:
    columns = ("sync_time", "run", "round", "load_id", "rounds")
    where = fence_key(session, source, top)
    statement = sql.select(d, ours.fence(d), columns, where)
    rows = session.query(statement.text, statement.parameters)
    if not rows or not rows[0][3]:
        return None
    sync_time, run, round_, load, rounds = rows[0]
    return Fence(sync_time, run, int(round_), load, tuple(json.loads(rounds)))


def fenced(source: str, top: str, fence: Fence) -> Fenced:
    return Fenced(
        f"table '{top}' of source '{source}' already holds round {fence.round} of run {fence.run} "
        f"(sync time {fence.sync_time.isoformat()}); an older load must not write over it"
    )


def recorded(session: Session, d: Dialect, load: str) -> tuple[LoadedTable, ...]:
    """What the load of this id did, from `sharder_loads`."""
    columns = ("table_name", "copied", "duplicates", "rows", "stale")
    statement = sql.select(d, ours.loads(d), columns, {"load_id": load})
    rows = session.query(statement.text, statement.parameters)
    return tuple(
        LoadedTable(table=table, copied=copied, duplicates=duplicates, published=n, stale=stale)
        for table, copied, duplicates, n, stale in sorted(rows)
    )


def _table(
    session: Session, d: Dialect, p: Publication, t: TablePublication, removed: int
) -> LoadedTable:
    statements: list[Statement] = []
    repeated = 0
    if t.rows:
        check_copied(t.table, session.append(t.target, t.rows), t.copied)
    elif t.copied and t.mode == "append":
        statements += sql.append(d, t.target, t.landing)
    elif t.copied:
        ((repeated,),) = session.query(sql.duplicates(d, t.landing, t.target.key))
        statements += sql.merge(d, t.target, t.landing, repeated=bool(repeated))
    if t.stale:
        statements += sql.delete_stale(
            d, t.target, t.table, p.cells, t.stale, p.source, p.sync_time
        )
    counts = {"published": t.copied if t.rows else 0, "stale": removed}
    for statement in statements:
        touched = _run(session, statement)
        if statement.counts:
            counts[statement.counts] += touched
    if counts["published"] != t.copied - int(repeated):
        raise Permanent(
            f"table '{t.table}': {t.copied} rows were copied, {repeated} of them repeat a key, "
            f"but {counts['published']} were written; nothing was published",
            "this is a bug of the loader or of the warehouse; please report it",
        )
    return LoadedTable(
        table=t.table, copied=t.copied, duplicates=int(repeated), dropped=t.dropped, **counts
    )


def check_copied(table: str, copied: int, expected: int) -> None:
    """Raises Permanent unless exactly the rows that the manifests promise were copied."""
    if copied != expected:
        raise Permanent(
            f"table '{table}': {copied} rows were copied, but the manifests promise {expected}; "
            "nothing was published",
            "parts on the stage were changed or lost; submit the spec again",
        )


def _set_cursors(session: Session, d: Dialect, p: Publication) -> None:
    """As CloudQuery does: the version grows when the value changes; its highest version is in force."""
    if not p.state:
        return
    for key, value in sorted(p.cursors.items()):
        statement = sql.select(d, p.state, ("version", "value"), {"key": key})
        rows = session.query(statement.text, statement.parameters)
        version, current = max(rows, default=(0, None))
        if current == value:
            continue
        _run(session, sql.delete(d, p.state, {"key": key}))
        row = {"key": key, "value": value, "version": int(version) + 1}
        _run(session, sql.insert(d, p.state, row))


def _record(session: Session, d: Dialect, p: Publication, tables: tuple[LoadedTable, ...]) -> None:
    """The two tables for readers, and the fence."""
    cells = ours.cells(d)
    for plan, done in zip(p.tables, tables, strict=True):
        counts = plan.cells
        row: dict[str, Any] = {
            "load_id": p.load, "run": p.run, "round": p.round, "source": p.source,
            "table_name": done.table, "sync_time": p.sync_time, "rows": done.published,
            "duplicates": done.duplicates, "stale": done.stale, "copied": done.copied,
            "cells_ok": counts.ok, "cells_failed": counts.failed, "cells_skipped": counts.skipped,
            "complete": not counts.failed and not counts.skipped, "loaded_at": p.now,
        }  # fmt: skip
        _run(session, sql.insert(d, ours.loads(d), row))
        # A later round says anew which cells of the run are not ok.
        where = {"run": p.run, "source": p.source, "table_name": done.table}
        _run(session, sql.delete(d, cells, where))
    session.execute(
        f"INSERT INTO {d.ref(cells)} (run, round, source, table_name, client, outcome, reason, "
        "message, sync_time) SELECT $1, c.round, $2, c.table_name, c.client, c.outcome, c.reason, "
        f"c.message, $3 FROM {d.ref(p.cells)} AS c WHERE c.outcome <> 'ok'",
        (p.run, p.source, p.sync_time),
    )
    rounds = {*p.rounds, p.round}
    if p.expected and p.expected.run == p.run:
        rounds |= set(p.expected.rounds)
    row = {
        "sync_time": p.sync_time, "run": p.run, "round": p.round, "load_id": p.load,
        "rounds": json.dumps(sorted(rounds)),
    }  # fmt: skip
    where = fence_key(session, p.source, p.top)
    _run(session, sql.update(d, ours.fence(d), row, where))


def _run(session: Session, statement: Statement) -> int:
    return session.execute(statement.text, statement.parameters)
