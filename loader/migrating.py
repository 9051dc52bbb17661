"""`migrate`: the tables of a destination made as a load would want them, and no row loaded.

Safe mode makes what loses nothing; forced mode may rebuild a table, carries the old rows that fit, and
says how many did not. One table that is refused does not keep the others from being made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC

from contracts.errors import Permanent, SharderError, Transient
from contracts.migration import Migrated, MigratedTable
from contracts.plan import Plan
from contracts.queue import Message
from contracts.stage import Stage
from contracts.table import Table
from loader import conclude, documents, ours
from loader.cache import Warehouses, borrowed
from loader.documents import OpenDestination
from loader.migrate import CreateTable, Migration, Rebuild, described, diff
from loader.prepare import failure
from loader.shape import PhysicalTable
from loader.target import declared, target
from loader.transformers.chain import Chain, refuse_clashes
from loader.warehouses.base import Migrates, Warehouse


@dataclass(frozen=True)
class _Goal:
    source: str
    table: Table


def migrate(
    message: Message,
    *,
    stage: Stage,
    environment: Mapping[str, str],
    warehouses: Warehouses | None = None,
) -> Migrated:
    """Write migrations/<destination>.json, once; never raises for what is wrong with the destination."""
    run, name = message.run, message.destination
    if done := stage.migrated(run, name):
        return done
    try:
        plan = stage.tables(run)
        number = plan.destination(name).spec
        with (
            closing(documents.destination(stage, run, name, environment, number)) as found,
            borrowed(warehouses) as opened,
            opened.use(run, found) as warehouse,
        ):
            warehouse.admit(plan, name, found.chain.name)
            tables = tuple(_tables(plan, found, warehouse, _ours(stage, run, name)))
        document = Migrated(run=run, destination=name, tables=tables)
    except (Permanent, Transient) as error:
        document = Migrated(run=run, destination=name, error=failure(name, error))
    stage.write_migrated(document)
    return document


def unmigrated(message: Message, stage: Stage, error: SharderError) -> None:
    """The answer of a process that must end in the middle: another one would end in the same way."""
    name = message.destination
    with suppress(SharderError):
        failed = failure(name, error)
        stage.write_migrated(Migrated(run=message.run, destination=name, error=failed))


def _ours(stage: Stage, run: str, destination: str) -> frozenset[str]:
    """Names, case folded, that no table of a source may have in the destination."""
    states = documents.state_tables(stage, run, destination).values()
    return frozenset(n.casefold() for n in (ours.LOADS.name, ours.CELLS.name, *states))


def _tables(
    plan: Plan, found: OpenDestination, warehouse: Warehouse, taken: frozenset[str]
) -> Iterator[MigratedTable]:
    """Raises InputError if two tables would have one name."""
    d, chain, name = warehouse.dialect, found.chain, found.destination.name
    goals = tuple(_goals(plan, name))
    if chain.transformers:
        names = (goal.table.name for goal in goals)
        refuse_clashes(chain, names, name, lambda table: d.folded(d.name_of(table)))
    for goal in goals:
        if chain.name(goal.table.name).casefold() in taken:
            yield _refused(goal, _called_like_ours(goal, name))
        elif not warehouse.traits.merges:
            yield MigratedTable(
                source=goal.source,
                table=chain.name(goal.table.name),
                action="unchanged",
                changes=("files bring their schema along",),
            )
        else:
            yield _migrated(goal, plan, warehouse, found)
    if found.destination.send_sync_summary and warehouse.traits.merges:
        # Otherwise a run with --no-migrate would have nowhere to write its summary; transformers leave it alone.
        goal = _Goal("", conclude.table())
        yield _migrated(goal, plan, warehouse, replace(found, chain=Chain()))


def _goals(plan: Plan, destination: str) -> Iterator[_Goal]:
    """Tables that are written to the destination, parents first."""
    for planned in plan.tables:
        if destination in plan.source(planned.source).destinations:
            chosen = (t for t in planned.tree if t.name in planned.selected)
            yield from (_Goal(planned.source, table) for table in chosen)


def _migrated(
    goal: _Goal, plan: Plan, warehouse: Warehouse, found: OpenDestination
) -> MigratedTable:
    d, destination = warehouse.dialect, found.destination
    started = plan.sync_time.astimezone(UTC)
    try:
        shown = found.chain.checked(goal.table, destination, started)
        sought = target(d, shown.table, destination, plan.sync_id or plan.run, started)
        if isinstance(warehouse, Migrates):
            parent = found.chain.name(goal.table.parent) if goal.table.parent else None
            warehouse.migrate([declared(d, sought, parent)])
            return MigratedTable(
                source=goal.source,
                table=sought.shape.name,
                action="migrated",
                changes=("the plugin made or altered it as it sees fit",),
            )
        wanted = sought.shape
        existing = warehouse.describe(wanted.name)
        migration = diff(existing, wanted, destination.migrate_mode, d.holds)
        warehouse.apply(migration.now)
        dropped = 0
        if migration.rebuild:
            may_drop = destination.migrate_mode == "forced"
            dropped = warehouse.rebuild(migration.rebuild, may_drop=may_drop)
    except Permanent as error:
        return _refused(goal, str(error))
    return MigratedTable(
        source=goal.source,
        table=wanted.name,
        action="rebuilt" if migration.rebuild
        else "created" if existing is None
        else "altered" if migration.now
        else "unchanged",
        changes=tuple(changes(migration)),
        rows_dropped=dropped,
    )  # fmt: skip


def _refused(goal: _Goal, why: str) -> MigratedTable:
    return MigratedTable(source=goal.source, table=goal.table.name, action="refused", error=why)


def _called_like_ours(goal: _Goal, destination: str) -> str:
    return (
        f"it is called like one of Sharder's own tables in destination '{destination}'\n"
        f"  leave it out: skip_tables: [{goal.table.name}]"
    )


def changes(migration: Migration) -> Iterator[str]:
    """A phrase per change of an existing table."""
    yield from (described(c) for c in migration.now if not isinstance(c, CreateTable))
    if migration.rebuild:
        yield from _rebuilt(migration.rebuild)


def _rebuilt(plan: Rebuild) -> Iterator[str]:
    old, new = plan.old, plan.new
    for column in new.columns:
        if column.name not in old:
            yield f"column '{column.name}' {column.type} added"
        elif column.type != old.column(column.name).type:
            lost = plan.carried and column.name not in plan.carried
            note = ", its old values are null now" if lost else ""
            yield f"column '{column.name}' {old.column(column.name).type} became {column.type}{note}"
    if set(old.key) != set(new.key):
        yield f"key {_key(old)} became {_key(new)}"


def _key(table: PhysicalTable) -> str:
    return f"({', '.join(table.key)})" if table.key else "none"
