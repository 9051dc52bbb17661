"""Everything of one load before its publish: tables migrated as far as nothing is lost, rows copied, counts checked.

Readers see none of it: rows lie in landing tables of our schema until the publish.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count

import pyarrow as pa

from contracts.errors import Permanent
from contracts.plan import Plan
from contracts.queue import Message
from contracts.spec import Destination
from contracts.stage import Stage
from contracts.table import Table
from loader import documents, ours
from loader.migrate import diff
from loader.outcomes import Loadable, Round, Survey, not_ok, ok_cells, parts
from loader.parts import rows
from loader.publication import Counts, Fence, Publication, TablePublication, check_copied
from loader.removal import Written, removals
from loader.scope import stale
from loader.shape import PhysicalTable
from loader.sql import OURS, Statement
from loader.target import Target, declared, target
from loader.transformers.base import Shown
from loader.transformers.chain import Chain, refuse_clashes
from loader.unite import united_over
from loader.warehouses.base import Rows, Warehouse

_CELLS_PER_BATCH = 10_000


@dataclass(frozen=True)
class Job:
    """What the steps of one load share. `fence` is as it was when the load began."""

    message: Message
    stage: Stage
    rounds: list[Round]  # of the run, with this table in their plan, oldest first
    found: Survey
    fence: Fence | None
    warehouse: Warehouse
    destination: Destination
    prefix: str  # of the names of the landing tables
    chain: Chain = field(default_factory=Chain)

    @property
    def plan(self) -> Plan:
        return self.rounds[-1].plan

    @property
    def writes(self) -> bool:
        """False where the source keeps its cursors in the destination, and nothing else."""
        return self.message.destination in self.plan.source(self.message.source).destinations

    def landing(self, n: int, like: PhysicalTable) -> PhysicalTable:
        """A landing table has no key: a repeated key is found and counted in the publish."""
        return PhysicalTable(f"{self.prefix}_{n}", like.columns, schema=OURS)


def naive(at: datetime) -> datetime:
    """As warehouses have it: UTC, without a zone."""
    return at.astimezone(UTC).replace(tzinfo=None)


def gather(job: Job, load: str, now: datetime) -> Publication:
    """Raises Refused for a table that needs more than safe mode does, Permanent if rows are missing,
    InputError for a transformer that does not fit its tables or the write mode.
    """
    m, d = job.message, job.warehouse.dialect
    _refuse_ours(job)
    _refuse_clashes(job)
    _refuse_removals(job)
    found = parts(job.stage, job.rounds, job.found)
    grown = [united_over(t, found.get(t.name, [])) for t in _tables(job)]
    shown = {t.name: job.chain.checked(t, job.destination, now) for t in grown}
    tables = tuple(
        _table(job, planned, table, shown, n, found.get(table.name, []))
        for n, (planned, table) in enumerate(zip(_tables(job), grown, strict=True))
    )
    written = {t.name: Written(t, shown[t.name], _goal(job, shown[t.name])) for t in grown}
    cells = job.landing(len(tables), ours.physical(d, ours.CELLS_LANDING))
    if job.warehouse.traits.lands:
        job.warehouse.copy(cells, _cells(job))
    return Publication(
        load=load,
        run=m.run,
        round=m.round,
        rounds=job.found.pending,
        source=m.source,
        top=m.table,
        sync_time=naive(job.plan.sync_time),
        now=naive(now),
        expected=job.fence,
        tables=tables,
        cells=cells,
        cursors=job.found.cursors,
        state=_state(job),
        warnings=tuple(dict.fromkeys(w for s in shown.values() for w in s.warnings)),
        migrates=job.plan.migrate,
        removals=tuple(_removals(job, written)),
    )


def _removals(job: Job, written: Mapping[str, Written]) -> Iterator[tuple[str, Statement]]:
    """Land the values of all tombstones; the statements that delete by them."""
    numbers = count(len(written) + 1)
    found = removals(
        job.warehouse.dialect,
        written,
        job.found.deletes,
        lambda columns: job.landing(next(numbers), PhysicalTable("", columns)),
        job.message.source,
        naive(job.plan.sync_time),
    )
    for removal in found:
        job.warehouse.copy(removal.landing, removal.rows)
        yield from removal.statements


def _tables(job: Job) -> Iterator[Table]:
    """Tables of the tree that are written, parents first."""
    selected = {name for r in job.rounds for name in r.table.selected if job.writes}
    return (t for t in job.rounds[-1].table.tree if t.name in selected)


def _table(
    job: Job,
    planned: Table,
    table: Table,
    all_: Mapping[str, Shown],
    n: int,
    loadable: Sequence[Loadable],
) -> TablePublication:
    """`table`: the planned one, as it grew. `all_`: every table of the tree as it is shown."""
    warehouse, d, shown = job.warehouse, job.warehouse.dialect, all_[table.name]
    above = all_.get(table.parent) if table.parent else None
    parent = d.name_of(above.table.name) if above else None
    goal = _goal(job, shown)
    migration = diff(
        warehouse.describe(goal.shape.name),
        goal.shape,
        job.destination.migrate_mode,
        d.holds,
        frozen=not job.plan.migrate and warehouse.traits.lands,
    )
    warehouse.apply(migration.now)
    landing = job.landing(n, goal.shape)
    expected = job.found.expected.get(table.name, 0)
    found = rows(job.stage.store, d, goal, planned, table, shown, loadable, job.plan.format)
    # How many rows a filter leaves is known only when they have been copied.
    in_place = not warehouse.traits.lands or (
        bool(loadable)
        and goal.append
        and not migration.rebuild
        and not shown.filters
        and not any(p.place for p in loadable)
        and _fits(job, goal, found)
    )
    dropped = 0
    if not in_place:
        copied = warehouse.copy(landing, found) if loadable else 0
        dropped = found.dropped()
        check_copied(table.name, copied + dropped, expected)
    return TablePublication(
        table=shown.table.name,
        target=goal.shape,
        landing=landing,
        mode="append" if goal.append else "merge",
        copied=expected - dropped,
        rows=found if in_place else None,
        stale=stale(table, job.rounds, job.found, job.destination.write_mode),
        rebuild=migration.rebuild,
        cells=job.found.counts.get(table.name, Counts()),
        dropped=dropped,
        declared=declared(d, goal, parent),
    )


def _goal(job: Job, shown: Shown) -> Target:
    started = job.plan.sync_time.astimezone(UTC)
    run = job.plan.sync_id or job.plan.run
    return target(job.warehouse.dialect, shown.table, job.destination, run, started)


def _fits(job: Job, goal: Target, found: Rows) -> bool:
    """Whether the rows can be copied straight into the table as it is now."""
    existing = job.warehouse.describe(goal.shape.name)
    copies = job.warehouse.dialect.copies
    return existing is not None and all(
        copies(field.type, existing.column(field.name).type) for field in found.schema
    )


def _refuse_ours(job: Job) -> None:
    """A source that reads a warehouse of ours may have tables of these names. Raises Permanent."""
    m = job.message
    states = documents.state_tables(job.stage, m.run, m.destination).values()
    taken = {name.casefold() for name in (ours.LOADS.name, ours.CELLS.name, *states)}
    for table in _tables(job):
        if job.chain.name(table.name).casefold() in taken:
            raise Permanent(
                f"table '{table.name}' of source '{m.source}' is called like one of Sharder's own tables "
                f"in destination '{m.destination}'; nothing was loaded",
                f"leave it out: skip_tables: [{table.name}]",
            )


def _refuse_removals(job: Job) -> None:
    """Raises Permanent where nothing can be deleted: a reader would take for living what the source took back."""
    if job.found.deletes and job.writes and not job.warehouse.traits.lands:
        names = sorted({table for (table, _), _ in job.found.deletes})
        how = (
            "is a plugin, which cannot be told to delete no other rows than older ones of the same client"
            if job.warehouse.traits.merges
            else "writes files, from which no row can be deleted"
        )
        raise Permanent(
            f"the source deletes rows of table '{names[0]}', and destination '{job.message.destination}' {how}; "
            "nothing was loaded",
            f"load it into a built-in database, or leave it out (skip_tables: [{names[0]}])",
        )


def _refuse_clashes(job: Job) -> None:
    """Raises InputError if two tables of the run would fill one table of the destination."""
    plan, d, name = job.plan, job.warehouse.dialect, job.message.destination
    names = (
        table
        for t in plan.tables
        if name in plan.source(t.source).destinations
        for table in t.selected
    )
    if job.chain.transformers:
        refuse_clashes(job.chain, names, name, lambda table: d.folded(d.name_of(table)))


def _state(job: Job) -> PhysicalTable | None:
    """CloudQuery's state table, made if it is missing; None if this destination does not hold the state."""
    d, m = job.warehouse.dialect, job.message
    names = documents.state_tables(job.stage, m.run, m.destination)
    if m.source not in names:
        return None
    wanted = ours.physical(d, ours.state(names[m.source]))
    existing = job.warehouse.describe(wanted.name)
    if existing is None:
        job.warehouse.apply(diff(None, wanted, "safe", d.holds).now)
    return wanted


def _cells(job: Job) -> Rows:
    """Cells that are not ok, and without an authoritative client list those that are."""
    d, found = job.warehouse.dialect, job.found
    covered = [r for r in job.rounds if r.number in found.pending]
    authoritative = any(r.table.authoritative for r in covered)
    columns = ours.CELLS_LANDING.columns
    schema = pa.schema([pa.field(c.name, d.map_type(c.type).arrow) for c in columns])
    # Readers find a table under the name that it has in the destination.
    names = {t.name: job.chain.name(t.name) for r in job.rounds for t in r.table.tree}

    def cells() -> Iterator[tuple[object, ...]]:
        if not job.writes:
            return  # they are told where the rows are
        for c in not_ok(job.stage, job.rounds, found):
            yield names[c.table], c.client, c.round, c.outcome, c.reason or "", c.message
        if not authoritative:
            for c in ok_cells(job.stage, job.rounds, found):
                yield names[c.table], c.client, c.round, "ok", "", ""

    def batches() -> Iterator[pa.RecordBatch]:
        buffer: list[tuple[object, ...]] = []
        for row in cells():
            buffer.append(row)
            if len(buffer) == _CELLS_PER_BATCH:
                yield _batch(buffer, schema)
                buffer = []
        if buffer:
            yield _batch(buffer, schema)

    return Rows(schema, batches)


def _batch(values: list[tuple[object, ...]], schema: pa.Schema) -> pa.RecordBatch:
    columns = zip(*values, strict=True)
    arrays = [pa.array(c, field.type) for c, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
