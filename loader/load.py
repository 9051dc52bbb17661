"""One load: a top-level table with its descendants, one round, one destination.

commits → schemas → describe → diff → additive changes → bulk copy into landing tables → publish → receipt.
Everything before the publish leaves the readers' tables as they were; the publish is one transaction that
also records the load, so that repeating a load, after a death at any step, changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from time import sleep
from uuid import uuid4

from contracts.commit import Attempt
from contracts.errors import Permanent, Transient, VersionUnknown
from contracts.plan import Plan
from contracts.queue import Heart, Message
from contracts.receipt import LoadedTable, Receipt
from contracts.spec import Destination
from contracts.stage import Stage
from loader import documents
from loader.cache import Warehouses, borrowed
from loader.gather import Job, gather, naive
from loader.log import event
from loader.outcomes import Round, Survey, survey
from loader.publication import Fence, fenced
from loader.pulse import beating
from loader.warehouses.base import Warehouse


def load(
    message: Message,
    *,
    stage: Stage,
    heart: Heart,
    environment: Mapping[str, str],
    warehouses: Warehouses | None = None,
    patience_s: Sequence[float] = (),
) -> Receipt | None:
    """Do the load unless its receipt exists or another attempt of it is alive (then None).

    An error that another try would meet again becomes a failed receipt; after one that may pass it is
    tried again as often as `patience_s` has pauses. Raises Transient after the last, and VersionUnknown:
    a newer release may do what this one cannot read.
    """
    m = message
    if receipt := stage.receipt(m.run, m.destination, m.source, m.table, m.round):
        return receipt
    if heart.fresh(m.run, m.job):
        return None
    rounds = _rounds(m, stage)
    attempt, started = uuid4().hex, datetime.now(UTC)
    marker = Attempt(run=m.run, job=m.job, attempt=attempt, started=started)
    stage.start_attempt(marker)
    with beating(heart, m.run, m.job, attempt):
        try:
            number = rounds[-1].plan.destination(m.destination).spec
            found = documents.destination(stage, m.run, m.destination, environment, number)
            with borrowed(warehouses) as cache:

                def once() -> Receipt:
                    with cache.use(m.run, found) as warehouse:
                        return _load(
                            m, stage, rounds, warehouse, found.destination, attempt, started
                        )

                receipt = _patiently(once, m, patience_s)
        except (VersionUnknown, Transient) as error:
            stage.give_up(marker, error)
            raise
        except Permanent as error:
            receipt = _receipt(m, started).model_copy(
                update={"outcome": "failed", "error": str(error), "rounds": (m.round,)}
            )
        stage.create_receipt(receipt)
    return stage.receipt(m.run, m.destination, m.source, m.table, m.round)


def _patiently(once: Callable[[], Receipt], m: Message, patience_s: Sequence[float]) -> Receipt:
    """The first result; what may pass is waited for between tries."""
    for pause_s in patience_s:
        try:
            return once()
        except Transient as error:
            event("load_waits", run=m.run, job=m.job, seconds=pause_s, error=error)
            sleep(pause_s)
    return once()


def load_id(m: Message) -> str:
    """The same for every attempt of the load."""
    return "/".join((m.run, str(m.round), m.source, m.table))


def _load(
    m: Message,
    stage: Stage,
    rounds: list[Round],
    warehouse: Warehouse,
    destination: Destination,
    attempt: str,
    started: datetime,
) -> Receipt:
    fence = warehouse.fence(m.source, m.table)
    done = _done(m, rounds[-1].plan, fence)
    if m.round in done:
        # Published already; only the receipt was not written.
        found = survey(stage, rounds, (m.round,))
        return _receipt(m, started, found, warehouse, warehouse.recorded(load_id(m)))
    found = survey(stage, rounds, tuple(r.number for r in rounds if r.number not in done))
    # Only one load of a table is meant to run, so what other attempts left behind can go.
    # Other destinations may be in the same database, and other stages may write there too.
    place = f"load_{_digest(f'{stage.store.url}/{m.destination}/{m.source}/{m.table}')}"
    warehouse.drop_landings(place)
    job = Job(
        m, stage, rounds, found, fence, warehouse, destination, f"{place}_{attempt[:12]}"
    )  # fmt: skip
    published = warehouse.publish(gather(job, load_id(m), started))
    warehouse.drop_landings(job.prefix)
    return _receipt(m, started, found, warehouse, published.tables)


def _rounds(m: Message, stage: Stage) -> list[Round]:
    """Rounds of the run up to this one whose plan has the table. Raises Permanent if this one has not."""
    found = []
    for number in stage.rounds(m.run):
        plan = stage.plan(m.run, number)
        planned = any((t.source, t.name) == (m.source, m.table) for t in plan.tables)
        if number == m.round or (number < m.round and planned):
            found.append(Round(plan, plan.table(m.source, m.table)))
    if not found or found[-1].number != m.round:
        raise Permanent(f"the stage {stage.store.url} has no round {m.round} of run {m.run}")
    return found


def _done(m: Message, plan: Plan, fence: Fence | None) -> tuple[int, ...]:
    """Rounds of the run whose rows are in the warehouse already. Raises Fenced if a newer run's are."""
    if fence is None:
        return ()
    if fence.run == m.run:
        return fence.rounds
    if fence.sync_time >= naive(plan.sync_time):
        raise fenced(m.source, m.table, fence)
    return ()


def _receipt(
    m: Message,
    started: datetime,
    found: Survey | None = None,
    warehouse: Warehouse | None = None,
    tables: tuple[LoadedTable, ...] = (),
) -> Receipt:
    cells = list(found.counts.values()) if found else []
    return Receipt(
        run=m.run,
        destination=m.destination,
        source=m.source,
        table=m.table,
        round=m.round,
        rounds=found.pending if found else (),
        load=load_id(m),
        outcome="ok",
        guarantee=warehouse.traits.guarantee if warehouse else "",
        started=started,
        ended=datetime.now(UTC),
        tables=tables,
        cells_ok=sum(c.ok for c in cells),
        cells_failed=sum(c.failed for c in cells),
        cells_skipped=sum(c.skipped for c in cells),
        cursors=found.cursors if found else {},
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
