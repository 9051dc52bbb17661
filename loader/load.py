"""One load: a top-level table with its descendants, one round, one destination.

commits → schemas → describe → diff → additive changes → bulk copy into landing tables → publish → receipt.
Everything before the publish leaves the readers' tables as they were; the publish is one transaction that
also records the load, so that repeating a load, after a death at any step, changes nothing.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from time import sleep
from uuid import uuid4

from contracts.commit import Attempt
from contracts.errors import Permanent, SharderError, Transient, VersionUnknown
from contracts.guard import Caps, Guard
from contracts.observe import log, trace
from contracts.observe.log import event
from contracts.plan import Plan
from contracts.queue import Heart, Message
from contracts.receipt import LoadedTable, Receipt
from contracts.stage import Stage
from loader import documents
from loader.cache import Warehouses, borrowed
from loader.documents import OpenDestination
from loader.gather import Job, gather, naive
from loader.outcomes import Round, Survey, survey
from loader.publication import Fence, fenced
from loader.pulse import beating
from loader.warehouses import registry
from loader.warehouses.base import Warehouse


def load(
    message: Message,
    *,
    stage: Stage,
    heart: Heart,
    environment: Mapping[str, str],
    warehouses: Warehouses | None = None,
    patience_s: Sequence[float] = (),
    memory_bytes: int = 0,
    traces: bool = False,
    capped: bool = False,
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
    # A broker that hands the load of a killed process out again would do so for ever.
    if capped and stage.attempts(m.run, m.job) >= rounds[-1].plan.attempts:
        event("load_has_had_enough", logging.WARNING)
        return None
    attempt, started = uuid4().hex, datetime.now(UTC)
    marker = Attempt(run=m.run, job=m.job, attempt=attempt, started=started)
    stage.start_attempt(marker)
    found: OpenDestination | None = None
    guard = Guard(Caps(memory_bytes=memory_bytes))
    to = trace.endpoints(traces, [rounds[-1].plan.source(m.source).otel])
    names: dict[str, str | float] = {
        "destination": m.destination, "source": m.source, "table": m.table, "round": m.round,
    }  # fmt: skip
    with (
        log.job(attempt=attempt),
        trace.span(m.run, "load", to, **names) as span,
        beating(
            heart, m.run, m.job, attempt, guard=guard, give_up=lambda e: stage.give_up(marker, e)
        ),
        ExitStack() as ends,
    ):
        try:
            number = rounds[-1].plan.destination(m.destination).spec
            found = opened = documents.destination(stage, m.run, m.destination, environment, number)
            ends.callback(found.close)
            with borrowed(warehouses) as cache:

                def once() -> Receipt:
                    with cache.use(m.run, opened) as warehouse:
                        return _load(m, stage, rounds, warehouse, opened, attempt, started)

                receipt = _patiently(once, m, patience_s)
        except (VersionUnknown, Transient) as error:
            stage.give_up(marker, error)
            raise
        except Permanent as error:
            receipt = _failed(m, started, str(error))
            if found and _fenced(found):
                receipt = _after_all(m, stage, rounds, found, started) or receipt
        stage.create_receipt(receipt)
        kept = stage.receipt(m.run, m.destination, m.source, m.table, m.round)
        if found and kept and kept.outcome == "failed" and _adds(found):
            with borrowed(warehouses) as cache:
                _withdraw(m, rounds, found, cache)
        if kept:
            span.put(outcome=kept.outcome, rows=kept.published)
            if kept.outcome == "failed":
                span.failed("the load failed")
    return kept


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
    opened: OpenDestination,
    attempt: str,
    started: datetime,
) -> Receipt:
    plan, traits = rounds[-1].plan, warehouse.traits
    fence = warehouse.fence(m.source, m.table)
    if traits.fenced:
        if receipt := _published(m, stage, rounds, warehouse, started):
            return receipt
        done = _done(m, plan, fence)
    else:
        _take_over(m, stage, rounds, started)
        done = _received(m, stage)
        if m.round in done:
            found = survey(stage, rounds, (m.round,))
            return _receipt(m, started, found, warehouse, warehouse.recorded(load_id(m)))
    if traits.whole:
        done = ()
    warehouse.admit(plan, m.destination, opened.chain.name)
    found = survey(stage, rounds, tuple(r.number for r in rounds if r.number not in done))
    earlier = [n for n in found.pending if n != m.round]
    warehouse.withdraw(plan, earlier, m.source, _shown(rounds, opened))
    # Only one load of a table is meant to run, so what other attempts left behind can go.
    # Other destinations may be in the same database, and other stages may write there too.
    place = f"load_{_digest(f'{stage.store.url}/{m.destination}/{m.source}/{m.table}')}"
    warehouse.drop_landings(place)
    job = Job(
        m, stage, rounds, found, fence, warehouse, opened.destination,
        f"{place}_{attempt[:12]}", opened.chain,
    )  # fmt: skip
    publication = replace(
        gather(job, load_id(m), started),
        sync_id=plan.sync_id,
        confirm=lambda: _not_given_up(m, stage),
    )
    with trace.step("publish"):
        published = warehouse.publish(publication)
    warehouse.drop_landings(job.prefix)
    replaced = _replaced(found, rounds[0]) if traits.whole else ()
    warnings = (*publication.warnings, *published.warnings, *replaced)
    return _receipt(m, started, found, warehouse, published.tables, warnings)


def _published(
    m: Message, stage: Stage, rounds: list[Round], warehouse: Warehouse, started: datetime
) -> Receipt | None:
    """The receipt of a load whose rows are in already, by whichever attempt; None if they are not.

    The fence knows the rounds of the newest run only; `sharder_loads` also knows a load of ours over which
    a newer run has been published since.
    """
    fence, tables = warehouse.fence(m.source, m.table), warehouse.recorded(load_id(m))
    if not tables and not (fence and fence.run == m.run and m.round in fence.rounds):
        return None
    return _receipt(m, started, survey(stage, rounds, (m.round,)), warehouse, tables)


def _after_all(
    m: Message,
    stage: Stage,
    rounds: list[Round],
    opened: OpenDestination,
    started: datetime,
) -> Receipt | None:
    """A load that failed here may have been published by another attempt: its receipt must say what is in
    the warehouse. One that cannot be asked has nothing to say.
    """
    # Not one of those that are kept open: the load that failed has closed its own.
    with suppress(SharderError), borrowed(None) as once, once.use(m.run, opened) as warehouse:
        return _published(m, stage, rounds, warehouse, started)
    return None


def _not_given_up(m: Message, stage: Stage) -> None:
    """Raises Permanent if the load has a failed receipt: we were taken for dead, and what follows from that
    has been decided. Asked as the last step before the commit of a publish.
    """
    receipt = stage.receipt(m.run, m.destination, m.source, m.table, m.round)
    if receipt and receipt.outcome == "failed":
        raise Permanent(
            f"the load was given up while this attempt was at it, so nothing was published: {receipt.error}",
            f"sharder retry {m.run}",
        )


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


def _replaced(found: Survey, first: Round) -> Iterator[str]:
    """`first`: the round of the run that has all of its clients."""
    if (why := first.table.why_not_authoritative) and not first.plan.part:
        yield f"the file of table '{first.table.name}' was replaced, and has no rows of clients outside the plan: {why}"
    for table, cells in sorted(found.counts.items()):
        if cells.failed or cells.skipped:
            yield (
                f"the file of table '{table}' was replaced; of {cells.failed + cells.skipped} cells that did "
                "not end ok it no longer has the rows of earlier runs"
            )


def _take_over(m: Message, stage: Stage, rounds: list[Round], started: datetime) -> None:
    """Earlier rounds without a receipt are loaded with this one: a receipt of theirs, which is created only
    once, keeps a load that may still be at it from being recorded.
    """
    for earlier in rounds[:-1]:
        of = replace(m, round=earlier.number)
        if stage.receipt(m.run, m.destination, m.source, m.table, earlier.number) is None:
            stage.create_receipt(_failed(of, started, f"it is loaded with round {m.round}"))


def _shown(rounds: list[Round], opened: OpenDestination) -> list[str]:
    """Names in the destination of the tables that are written."""
    names = dict.fromkeys(name for r in rounds for name in r.table.selected)
    return [opened.chain.name(name) for name in names]


def _fenced(opened: OpenDestination) -> bool:
    return registry.traits(opened.destination).fenced


def _adds(opened: OpenDestination) -> bool:
    """Whether a load that failed leaves something that can be removed: files. A program is not started for that."""
    traits = registry.traits(opened.destination)
    return not traits.fenced and not traits.merges


def _withdraw(
    m: Message, rounds: list[Round], opened: OpenDestination, warehouses: Warehouses
) -> None:
    """A load that is recorded as failed leaves nothing behind, as far as the destination lets us."""
    with suppress(SharderError), warehouses.use(m.run, opened) as warehouse:
        warehouse.withdraw(rounds[-1].plan, [m.round], m.source, _shown(rounds, opened))


def _received(m: Message, stage: Stage) -> tuple[int, ...]:
    """Rounds of the run whose rows are in, by the ok receipts of other rounds."""
    found: set[int] = set()
    for number in stage.rounds(m.run):
        receipt = stage.receipt(m.run, m.destination, m.source, m.table, number)
        if receipt and receipt.outcome == "ok" and number != m.round:
            found.update(receipt.rounds)
    return tuple(sorted(found))


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
    warnings: tuple[str, ...] = (),
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
        warnings=warnings,
    )


def _failed(m: Message, started: datetime, error: str) -> Receipt:
    failed = {"outcome": "failed", "error": error, "rounds": (m.round,)}
    return _receipt(m, started).model_copy(update=failed)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
