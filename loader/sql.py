"""The statements of a load, as text: pure functions from shapes to SQL. Nothing here runs anything.

Identifiers are always quoted by the dialect; values travel as parameters `$1`, `$2`, …
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from contracts.table import CLIENT_ID, SOURCE_NAME, SYNC_TIME
from loader.dialect import Dialect
from loader.migrate import AddColumn, Change, CreateTable, DropNotNull, Rebuild, WidenType
from loader.shape import PhysicalTable

OURS = "sharder"  # our schema in every warehouse: the fence and the landing tables


@dataclass(frozen=True)
class Statement:
    """`counts` says what the number of rows that it touched means: `published`, `stale` or nothing."""

    text: str
    parameters: tuple[Any, ...] = ()
    counts: str = ""


def create_schema(d: Dialect) -> str:
    return f"CREATE SCHEMA IF NOT EXISTS {d.quote(OURS)}"


def create_table(d: Dialect, table: PhysicalTable, *, if_missing: bool = False) -> list[str]:
    """CREATE TABLE; an engine that does not enforce keys has the key recorded in a comment.

    The keys of our own schema are always enforced: its tables are small, and the fence rests on them.
    """
    enforced = d.enforces_keys or table.schema == OURS
    lines = [
        f"{d.quote(c.name)} {c.type}{'' if c.nullable and c.name not in table.key else ' NOT NULL'}"
        for c in table.columns
    ]
    if table.key and enforced:
        lines.append(f"PRIMARY KEY ({_list(d, table.key)})")
    guard = "IF NOT EXISTS " if if_missing else ""
    statements = [f"CREATE TABLE {guard}{d.ref(table)} ({', '.join(lines)})"]
    if table.key and not enforced:
        comment = d.literal(key_comment(table.key))
        statements.append(f"COMMENT ON TABLE {d.ref(table)} IS {comment}")
    return statements


def key_comment(key: tuple[str, ...]) -> str:
    return f"key {json.dumps(key, ensure_ascii=False)}"


def key_of_comment(comment: str | None) -> tuple[str, ...]:
    """Inverse of `key_comment`; a comment that somebody else wrote names no key."""
    if not comment or not comment.startswith("key ["):
        return ()
    try:
        return tuple(str(name) for name in json.loads(comment.removeprefix("key ")))
    except json.JSONDecodeError:
        return ()


def ddl(d: Dialect, change: Change) -> list[str]:
    """The statements of one change that is made in place."""
    if isinstance(change, CreateTable):
        return create_table(d, change.table, if_missing=True)
    table = f"ALTER TABLE {d.ref(change.table)}"
    match change:
        case AddColumn(_, column):
            return [f"{table} ADD COLUMN {d.quote(column.name)} {column.type}"]
        case WidenType(_, column, type_):
            return [f"{table} ALTER COLUMN {d.quote(column)} TYPE {type_}"]
        case DropNotNull(_, column):
            return [f"{table} ALTER COLUMN {d.quote(column)} DROP NOT NULL"]


def rebuild(d: Dialect, plan: Rebuild, name: str) -> list[Statement]:
    """Build the new table beside the old one as `name`, carry the old rows, and give it the old name."""
    new = replace(plan.new, name=name)
    statements = [Statement(text) for text in create_table(d, new)]
    if plan.carried:
        columns = _list(d, plan.carried)
        old = d.ref(plan.old)
        rows = f"SELECT {columns} FROM {old}"
        if new.key and not set(plan.old.key or ("",)) <= set(new.key):
            # The old key does not promise that the new one is unique: the newest row of each key stays.
            newest = (SYNC_TIME,) if SYNC_TIME in plan.carried else ()
            rows = _first_of_key(d, old, plan.carried, new.key, newest)
        statements.append(Statement(f"INSERT INTO {d.ref(new)} ({columns}) {rows}"))
    return [
        *statements,
        Statement(f"DROP TABLE {d.ref(plan.old)}"),
        Statement(f"ALTER TABLE {d.ref(new)} RENAME TO {d.quote(plan.old.name)}"),
    ]


def drop(d: Dialect, table: PhysicalTable, *, view: bool = False) -> str:
    return f"DROP {'VIEW' if view else 'TABLE'} IF EXISTS {d.ref(table)}"


def duplicates(d: Dialect, landing: PhysicalTable, key: tuple[str, ...]) -> str:
    """How many rows of a landing table are not the only or first one of their key."""
    return (
        f"SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM {d.ref(landing)} "
        f"GROUP BY {_list(d, key)} HAVING count(*) > 1) AS repeated"
    )


def append(d: Dialect, target: PhysicalTable, landing: PhysicalTable) -> list[Statement]:
    columns = _list(d, landing.names)
    text = f"INSERT INTO {d.ref(target)} ({columns}) SELECT {columns} FROM {d.ref(landing)}"
    return [Statement(text, counts="published")]


def merge(
    d: Dialect, target: PhysicalTable, landing: PhysicalTable, *, repeated: bool
) -> list[Statement]:
    """Upsert by the target's key. `repeated`: the landing table has several rows of one key.

    Of several rows the greatest stays, compared as text column by column: an order that depends on
    the rows alone, not on shards, parts or attempts, so that every repetition ends the same.
    """
    columns, key = landing.names, target.key
    rows = f"SELECT {_list(d, columns)} FROM {d.ref(landing)}"
    if repeated:
        rows = _first_of_key(d, d.ref(landing), columns, key, ())
    others = [c for c in columns if c not in key]
    match d.merge:
        case "merge":
            return [Statement(_merge_into(d, target, rows, columns, others), counts="published")]
        case "on-conflict":
            return [Statement(_on_conflict(d, target, rows, columns, others), counts="published")]
        case "delete-insert":
            same = " AND ".join(f"s.{d.quote(k)} = t.{d.quote(k)}" for k in key)
            return [
                Statement(
                    f"DELETE FROM {d.ref(target)} AS t WHERE EXISTS "
                    f"(SELECT 1 FROM {d.ref(landing)} AS s WHERE {same})"
                ),
                Statement(
                    f"INSERT INTO {d.ref(target)} ({_list(d, columns)}) {rows}", counts="published"
                ),
            ]


def _merge_into(
    d: Dialect, target: PhysicalTable, rows: str, columns: tuple[str, ...], others: list[str]
) -> str:
    on = " AND ".join(f"t.{d.quote(k)} = s.{d.quote(k)}" for k in target.key)
    sets = ", ".join(f"{d.quote(c)} = s.{d.quote(c)}" for c in others)
    update = f"WHEN MATCHED THEN UPDATE SET {sets} " if others else ""
    values = ", ".join(f"s.{d.quote(c)}" for c in columns)
    return (
        f"MERGE INTO {d.ref(target)} AS t USING ({rows}) AS s ON {on} {update}"
        f"WHEN NOT MATCHED THEN INSERT ({_list(d, columns)}) VALUES ({values})"
    )


def _on_conflict(
    d: Dialect, target: PhysicalTable, rows: str, columns: tuple[str, ...], others: list[str]
) -> str:
    sets = ", ".join(f"{d.quote(c)} = excluded.{d.quote(c)}" for c in others)
    action = f"UPDATE SET {sets}" if others else "NOTHING"
    return (
        f"INSERT INTO {d.ref(target)} ({_list(d, columns)}) {rows} "
        f"ON CONFLICT ({_list(d, target.key)}) DO {action}"
    )


def _first_of_key(
    d: Dialect, table: str, columns: tuple[str, ...], key: tuple[str, ...], newest: tuple[str, ...]
) -> str:
    order = [f"{d.quote(c)} DESC NULLS LAST" for c in newest]
    order += [
        f"CAST({d.quote(c)} AS {d.text}){d.binary_order} DESC NULLS LAST"
        for c in columns
        if c not in key and c not in newest
    ]
    over = f"PARTITION BY {_list(d, key)}" + (f" ORDER BY {', '.join(order)}" if order else "")
    return (
        f"SELECT {_list(d, columns)} FROM (SELECT {_list(d, columns)}, "
        f'row_number() OVER ({over}) AS "sharder row" FROM {table}) AS ranked WHERE "sharder row" = 1'
    )


@dataclass(frozen=True)
class Stale:
    """Which older rows of the source go, beside those of the cells that ended ok.

    `others`: also those of every client that was not planned (the client list was authoritative).
    `without_client`: also rows without a client id (every cell is ok).
    `every`: all of them, whatever their client id says (it is not ours, and every cell is ok).
    """

    others: bool
    without_client: bool
    every: bool = False


def delete_stale(
    d: Dialect,
    target: PhysicalTable,
    table: str,
    cells: PhysicalTable,
    scope: Stale,
    source: str,
    sync_time: datetime,
) -> list[Statement]:
    """`cells` lists every cell that is not ok, and without an authoritative list also those that are."""
    older = (
        f"DELETE FROM {d.ref(target)} AS t WHERE t.{d.quote(SOURCE_NAME)} = $1 "
        f"AND t.{d.quote(SYNC_TIME)} < $2"
    )
    if scope.every:
        return [Statement(older, (source, sync_time), counts="stale")]
    client = f"t.{d.quote(CLIENT_ID)}"
    outcome = "<>" if scope.others else "="
    listed = (
        f"EXISTS (SELECT 1 FROM {d.ref(cells)} AS c WHERE c.table_name = $3 "
        f"AND c.client = {client} AND c.outcome {outcome} 'ok')"
    )
    scoped = f"({client} IS NOT NULL AND {'NOT ' if scope.others else ''}{listed})"
    if scope.without_client:
        scoped = f"({scoped} OR {client} IS NULL)"
    return [Statement(f"{older} AND {scoped}", (source, sync_time, table), counts="stale")]


def insert(d: Dialect, table: PhysicalTable, row: dict[str, Any]) -> Statement:
    marks = ", ".join(f"${n}" for n in range(1, len(row) + 1))
    return Statement(
        f"INSERT INTO {d.ref(table)} ({_list(d, tuple(row))}) VALUES ({marks})", tuple(row.values())
    )


def update(
    d: Dialect, table: PhysicalTable, row: dict[str, Any], where: dict[str, Any]
) -> Statement:
    sets = ", ".join(f"{d.quote(c)} = ${n}" for n, c in enumerate(row, 1))
    same = " AND ".join(f"{d.quote(c)} = ${n}" for n, c in enumerate(where, 1 + len(row)))
    text = f"UPDATE {d.ref(table)} SET {sets} WHERE {same}"
    return Statement(text, (*row.values(), *where.values()))


def delete(d: Dialect, table: PhysicalTable, where: dict[str, Any]) -> Statement:
    same = " AND ".join(f"{d.quote(c)} = ${n}" for n, c in enumerate(where, 1))
    return Statement(f"DELETE FROM {d.ref(table)} WHERE {same}", tuple(where.values()))


def select(
    d: Dialect, table: PhysicalTable, columns: tuple[str, ...], where: dict[str, Any]
) -> Statement:
    same = " AND ".join(f"{d.quote(c)} = ${n}" for n, c in enumerate(where, 1))
    text = f"SELECT {_list(d, columns)} FROM {d.ref(table)}" + (f" WHERE {same}" if where else "")
    return Statement(text, tuple(where.values()))


def _list(d: Dialect, names: tuple[str, ...]) -> str:
    return ", ".join(d.quote(n) for n in names)
