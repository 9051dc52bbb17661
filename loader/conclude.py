"""`conclude`: the summary of a closed round as rows of `cloudquery_sync_summaries`, for destinations that want it.

A row is published like the rows of any table: under the fence of its source, in one transaction with its
record in `sharder_loads`, or as a file of a destination that takes files. So it is written once, in every
kind of destination and whatever dies in between, and its id depends on run, round and names alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid4, uuid5

import orjson
import pyarrow as pa

from contracts import types
from contracts.commit import Attempt
from contracts.errors import Permanent, Transient, VersionUnknown
from contracts.plan import Plan
from contracts.queue import Heart, Message
from contracts.spec import Destination
from contracts.stage import Stage
from contracts.summary import Summary
from contracts.sync import COLUMNS, TABLE, Conclusion, SyncSummary, syncs
from contracts.table import (
    ID,
    SOURCE_NAME,
    SYNC_GROUP_ID,
    SYNC_TIME,
    Column,
    Table,
    with_cq_columns,
)
from loader import documents, ours
from loader.cache import Warehouses, borrowed
from loader.convert import convert
from loader.migrate import diff
from loader.publication import Counts, Publication, TablePublication, check_copied
from loader.pulse import beating
from loader.shape import PhysicalTable
from loader.sql import OURS
from loader.target import Target, declared, target
from loader.warehouses.base import Rows, Warehouse

_NAMES = UUID(
    "5d1ff5f2-4c3c-4d55-9a3e-6a1b8f5f0c11"
)  # of the ids of these rows; any constant will do


def table() -> Table:
    """The summary table; CloudQuery keeps sync time and group in the `_cq_*` columns, and maps as JSON."""
    columns = (
        Column(name, _type(name), description=SyncSummary.model_fields[name].description or "")
        for name in COLUMNS
    )
    return with_cq_columns(Table(TABLE, tuple(columns), description="One row per sync"))


def _type(name: str) -> pa.DataType:
    annotation = SyncSummary.model_fields[name].annotation
    known: dict[object, pa.DataType] = {
        str: pa.string(), bool: pa.bool_(), tuple[str, ...]: pa.list_(pa.string()),
        Mapping[str, int]: types.JSON,
    }  # fmt: skip
    # Everything else is a number; CloudQuery counts without a sign.
    return known.get(annotation, pa.uint64())


def conclude(
    message: Message,
    *,
    stage: Stage,
    heart: Heart,
    environment: Mapping[str, str],
    warehouses: Warehouses | None = None,
) -> Conclusion | None:
    """Write the rows unless that was done, or another attempt is at it (then None).

    What another try would meet again becomes a failed conclusion: the rows of the run are in, and stay.
    Raises Transient, after which the watcher sends the message again.
    """
    m = message
    if found := stage.conclusion(m.run, m.destination, m.round):
        return found
    if heart.fresh(m.run, m.job):
        return None
    attempt, started = uuid4().hex, datetime.now(UTC)
    marker = Attempt(run=m.run, job=m.job, attempt=attempt, started=started)
    stage.start_attempt(marker)
    with beating(heart, m.run, m.job, attempt):
        try:
            rows, error = _written(m, stage, environment, warehouses, attempt, started), ""
        except (VersionUnknown, Transient) as why:
            stage.give_up(marker, why)
            raise
        except Permanent as why:
            rows, error = 0, str(why)
        document = Conclusion(
            run=m.run, destination=m.destination, round=m.round, error=error, rows=rows,
            outcome="failed" if error else "ok", started=started, ended=datetime.now(UTC),
        )  # fmt: skip
        stage.create_conclusion(document)
    return stage.conclusion(m.run, m.destination, m.round)


def _written(
    m: Message,
    stage: Stage,
    environment: Mapping[str, str],
    warehouses: Warehouses | None,
    attempt: str,
    now: datetime,
) -> int:
    plan, summary = stage.plan(m.run, m.round), stage.summary(m.run, m.round)
    if summary is None:
        raise Permanent(f"round {m.round} of run {m.run} is not closed: there is no summary yet")
    found = documents.destination(
        stage, m.run, m.destination, environment, plan.destination(m.destination).spec
    )
    mine = _mine(plan, summary, m.destination)
    # Other destinations may be in the same database, and other stages may write there too.
    place = f"conclude_{_digest(f'{stage.store.url}/{m.destination}')}"
    with borrowed(warehouses) as cache, cache.use(m.run, found) as warehouse:
        warehouse.drop_landings(place)
        for n, (source, rows) in enumerate(_batches(m, stage, mine, warehouse)):
            prefix = f"{place}_{attempt[:12]}_{n}"
            warehouse.publish(
                _publication(rows, source, plan, warehouse, found.destination, prefix, _naive(now))
            )
        warehouse.drop_landings(place)
    return len(mine)


def _mine(plan: Plan, summary: Summary, destination: str) -> list[SyncSummary]:
    return [s for s in syncs(plan, summary, {}) if s.destination_name == destination]


def _batches(
    m: Message, stage: Stage, mine: Sequence[SyncSummary], warehouse: Warehouse
) -> Iterator[tuple[str, Sequence[SyncSummary]]]:
    """Source and rows of each publication: one per sync, under the fence of its source.

    Where a table is one file that every load writes anew, one with the rows of all sources and rounds.
    """
    if not warehouse.traits.whole:
        yield from ((sync.source_name, [sync]) for sync in mine)
        return
    earlier = [n for n in stage.rounds(m.run) if n < m.round]
    closed = [(stage.plan(m.run, n), s) for n in earlier if (s := stage.summary(m.run, n))]
    yield "", [*(sync for plan, s in closed for sync in _mine(plan, s, m.destination)), *mine]


def _publication(
    found: Sequence[SyncSummary],
    source: str,
    plan: Plan,
    warehouse: Warehouse,
    destination: Destination,
    prefix: str,
    now: datetime,
) -> Publication:
    """Rows of one table, ready to be published."""
    d = warehouse.dialect
    started = plan.sync_time.astimezone(UTC)
    goal = target(d, table(), destination, plan.sync_id or plan.run, started)
    migration = diff(
        warehouse.describe(goal.shape.name),
        goal.shape,
        destination.migrate_mode,
        d.holds,
        frozen=not plan.migrate and warehouse.traits.lands,
    )
    fence = warehouse.fence(source, _fenced(plan))
    warehouse.apply(migration.now)
    rows = _rows(found, goal, warehouse)
    landing = PhysicalTable(f"{prefix}_row", goal.shape.columns, schema=OURS)
    cells = PhysicalTable(
        f"{prefix}_cells", ours.physical(d, ours.CELLS_LANDING).columns, schema=OURS
    )
    if warehouse.traits.lands:
        check_copied(TABLE, warehouse.copy(landing, rows), len(found))
        warehouse.copy(cells, _no_cells(warehouse))
    return Publication(
        load=f"{plan.run}/{plan.round}/{source}/{TABLE}",
        run=plan.run,
        round=plan.round,
        rounds=(plan.round,),
        source=source,
        # Parallel shards of a sync have runs, and sync times, of their own: none is older than another.
        top=_fenced(plan),
        sync_time=_naive(plan.sync_time),
        now=now,
        expected=fence,
        tables=(
            TablePublication(
                table=TABLE,
                target=goal.shape,
                landing=landing,
                mode="append" if goal.append else "merge",
                copied=len(found),
                rows=None if warehouse.traits.lands else rows,
                stale=None,
                rebuild=migration.rebuild,
                cells=Counts(),
                declared=declared(d, goal, None),
            ),
        ),
        cells=cells,
        cursors={},
        state=None,
        sync_id=plan.sync_id,
        migrates=plan.migrate,
    )


def _fenced(plan: Plan) -> str:
    return f"{TABLE} {plan.part}".rstrip()


def _rows(found: Sequence[SyncSummary], goal: Target, warehouse: Warehouse) -> Rows:
    values = [{**s.model_dump(), **_cq_values(s, goal.group)} for s in found]
    columns, physical = [], []
    for column, place in zip(goal.table.columns, goal.shape.names, strict=True):
        wanted = warehouse.dialect.map_type(column.type).arrow
        array = _array([row.get(column.name) for row in values], column.type)
        columns.append(convert(array, wanted))
        physical.append(pa.field(place, wanted))
    schema = pa.schema(physical)
    batch = pa.RecordBatch.from_arrays(columns, schema=schema)
    return Rows(schema, lambda: iter((batch,)))


def _cq_values(sync: SyncSummary, group: str) -> dict[str, object]:
    """The `_cq_*` columns; a row has neither parent nor client."""
    name = f"{sync.run}/{sync.round}/{sync.source_name}/{sync.destination_name}"
    return {
        SYNC_TIME: sync.sync_time,
        SOURCE_NAME: sync.source_name,
        SYNC_GROUP_ID: group,
        ID: uuid5(_NAMES, name).bytes,
    }


def _array(values: Sequence[object], type_: pa.DataType) -> pa.Array:
    if type_ == types.JSON:
        text = pa.array([orjson.dumps(v).decode() for v in values], pa.string())
        return pa.ExtensionArray.from_storage(type_, text)
    return pa.array(values, type_)


def _no_cells(warehouse: Warehouse) -> Rows:
    """The cells of the round are with its tables; this one has none."""
    arrow = warehouse.dialect.map_type
    schema = pa.schema([pa.field(c.name, arrow(c.type).arrow) for c in ours.CELLS_LANDING.columns])

    def none() -> Iterator[pa.RecordBatch]:
        return iter(())

    return Rows(schema, none)


def _naive(at: datetime) -> datetime:
    """As warehouses have it: UTC, without a zone."""
    return at.astimezone(UTC).replace(tzinfo=None)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
