"""What must change in the warehouse before rows can be written: `diff(existing, wanted, …)`, a pure function.

Changes that lose nothing are made in place before the rows are copied: a new table, a new nullable
column, a wider type, a constraint dropped. Everything else is refused in safe mode, with the whole list;
in forced mode the new table is built beside the old one and takes its place in the publish transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from contracts.errors import Permanent
from contracts.spec import MigrateMode
from contracts.table import ID
from loader.shape import PhysicalColumn, PhysicalTable

Holds = Callable[[str, str], bool]


@dataclass(frozen=True)
class CreateTable:
    table: PhysicalTable


@dataclass(frozen=True)
class AddColumn:
    table: PhysicalTable
    column: PhysicalColumn


@dataclass(frozen=True)
class WidenType:
    table: PhysicalTable
    column: str
    type: str


@dataclass(frozen=True)
class DropNotNull:
    table: PhysicalTable
    column: str


Change = CreateTable | AddColumn | WidenType | DropNotNull


@dataclass(frozen=True)
class Rebuild:
    """A table that is built beside the old one; `carried` names the columns that old rows bring along.

    With no column carried the old rows are lost.
    """

    old: PhysicalTable
    new: PhysicalTable
    carried: tuple[str, ...]


@dataclass(frozen=True)
class Migration:
    """`now` is applied before copying; `rebuild` happens in the publish transaction."""

    now: tuple[Change, ...] = ()
    rebuild: Rebuild | None = None


class Refused(Permanent):
    """The table in the warehouse needs changes that safe mode does not make."""


def diff(
    existing: PhysicalTable | None,
    wanted: PhysicalTable,
    mode: MigrateMode,
    holds: Holds,
    *,
    frozen: bool = False,
) -> Migration:
    """The migration from `existing` to a table that can take `wanted`. Raises Refused in safe mode.

    Columns that only the existing table has stay; one that must not be null loses that constraint.
    `frozen` (`--no-migrate`): every change is refused, with the whole list.
    """
    changes, refused = _needs(existing, wanted, holds)
    if frozen and (needed := [*map(described, changes), *refused]):
        raise Refused(
            f"table '{wanted.name}' does not fit, and --no-migrate changes no table; needed: "
            f"{'; '.join(needed)}",
            "run `sharder migrate` with the spec, or submit without --no-migrate",
        )
    if existing is None:
        return Migration(changes)
    # A key that moves to _cq_id alone keeps every row, so safe mode does it too, by the same swap.
    to_id = wanted.key == (ID,) and ID in existing and set(existing.key) != set(wanted.key)
    if to_id:
        refused = tuple(r for r in refused if r != _rekeyed(existing, wanted))
    if refused and mode == "safe":
        raise Refused(
            f"table '{wanted.name}' needs changes that safe mode does not make: {'; '.join(refused)}",
            "set `migrate_mode: forced` on the destination to rebuild the table, or rename or drop it",
        )
    if refused or to_id:
        return Migration((), _rebuild(existing, wanted, holds))
    return Migration(changes)


def described(change: Change) -> str:
    """A change in words, for people who make it themselves."""
    match change:
        case CreateTable(table):
            columns = ", ".join(f"{c.name} {c.type}" for c in table.columns)
            return f"create the table ({columns}), key: {_key(table.key)}"
        case AddColumn(_, column):
            return f"add column '{column.name}' ({column.type})"
        case WidenType(_, name, type_):
            return f"widen column '{name}' to {type_}"
        case DropNotNull(_, name):
            return f"let column '{name}' be null"


def _needs(
    existing: PhysicalTable | None, wanted: PhysicalTable, holds: Holds
) -> tuple[tuple[Change, ...], tuple[str, ...]]:
    """Changes that can be made in place, and in words those that cannot."""
    if existing is None:
        return (CreateTable(wanted),), ()
    changes: list[Change] = []
    refused: list[str] = []
    for column in wanted.columns:
        found, reason = _column(existing, column, column.name in wanted.key, holds)
        changes += found
        refused += [reason] if reason else []
    changes += [
        DropNotNull(existing, c.name)
        for c in existing.columns
        if c.name not in wanted and not c.nullable and c.name not in existing.key
    ]
    if set(existing.key) != set(wanted.key):
        refused.append(_rekeyed(existing, wanted))
    return tuple(changes), tuple(refused)


def _rekeyed(existing: PhysicalTable, wanted: PhysicalTable) -> str:
    return f"key: {_key(existing.key)} must become {_key(wanted.key)}"


def _column(
    existing: PhysicalTable, column: PhysicalColumn, in_key: bool, holds: Holds
) -> tuple[list[Change], str]:
    """The changes that one column needs, or the reason why they cannot be made in place."""
    if column.name not in existing:
        # Old rows have no value for it: a column that is not of the key becomes nullable.
        if not in_key:
            return [AddColumn(existing, replace(column, nullable=True))], ""
        return [], f"column '{column.name}' ({column.type}) must be added to the key"
    found = existing.column(column.name)
    changes: list[Change] = []
    if column.type != found.type and not holds(found.type, column.type):
        if column.name in existing.key or not holds(column.type, found.type):
            return [], f"column '{column.name}' is {found.type} and must become {column.type}"
        changes.append(WidenType(existing, column.name, column.type))
    if column.nullable and not found.nullable and not in_key and column.name not in existing.key:
        changes.append(DropNotNull(existing, column.name))
    return changes, ""


def _key(key: tuple[str, ...]) -> str:
    return f"({', '.join(key)})" if key else "none (append)"


def _rebuild(old: PhysicalTable, wanted: PhysicalTable, holds: Holds) -> Rebuild:
    """The new shape keeps wider types and extra columns, so that old rows lose as little as possible.

    A column whose type does not fit starts as null in old rows; if it may not be null, no old row fits.
    """
    columns = [
        replace(c, type=old.column(c.name).type)
        if c.name in old and holds(old.column(c.name).type, c.type)
        else c
        for c in wanted.columns
    ]
    columns += [replace(c, nullable=True) for c in old.columns if c.name not in wanted]
    new = replace(wanted, columns=tuple(columns))
    kept = tuple(
        c.name for c in columns if c.name in old and holds(c.type, old.column(c.name).type)
    )
    required = {c.name for c in columns if not c.nullable} | set(new.key)
    return Rebuild(old, new, kept if required <= set(kept) else ())
