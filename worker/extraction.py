"""The inside of an attempt: events of the source → parts on the stage and the commit's contents."""

from __future__ import annotations

import logging
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pyarrow as pa

from contracts.commit import Attempt, Cell, Commit, Part
from contracts.errors import Permanent, Reason, SchemaChanged, SharderError
from contracts.guard import Guard
from contracts.observe.log import event
from contracts.plan import PlannedSource
from contracts.spec import PluginSettings
from contracts.spec import Source as SourceSpec
from contracts.specfile import expand_document, validate
from contracts.stage import Stage
from contracts.veil import VEIL
from worker.cells import MESSAGE_CHARS, Cells
from worker.grow import grown
from worker.job import Job
from worker.limits.flight import Flight
from worker.limits.pace import Paced
from worker.limits.process import Limits
from worker.opened import Opened, OpenedSources
from worker.sources import registry
from worker.sources.base import Cancelled, CellDone, Checkpoint, Context, Deleted, Event, Rows
from worker.stamp import Stamp
from worker.tombstones import MOST, tombstones
from worker.writer import Writer


class Stopped(Exception):
    """The run was cancelled: the attempt ends without a commit."""


@dataclass(frozen=True)
class Surroundings:
    """What an attempt may use besides its documents."""

    environment: Mapping[str, str]
    now: Callable[[], datetime]
    sleep: Callable[[float], None]
    cancelled: Callable[[], bool]
    sources: OpenedSources
    limits: Limits
    guard: Guard


class Extraction:
    """One attempt that has started."""

    def __init__(self, job: Job, attempt: Attempt, stage: Stage, around: Surroundings) -> None:
        self._job = job
        self._attempt = attempt
        self._stage = stage
        self._around = around
        self._began = (
            attempt.started
        )  # when it had its place in flight: waiting for one is not reading
        self._written: defaultdict[str, Counter[str]] = defaultdict(
            Counter
        )  # client → table → rows
        self._deletes = 0
        work = job.work
        self._stamps = {
            t.name: Stamp(t, job.source.name, job.plan.sync_time)
            for t in work.tree
            if t.name in work.selected
        }
        self._cells = Cells(work.tree, work.selected, work.clients)
        self._writer = Writer(
            stage.store,
            format_=job.plan.format,
            part_bytes=job.plan.part_size,
            key=lambda table, n: job.part_key(attempt.attempt, table, n),
            planned=[s.table for s in self._stamps.values()],
        )

    def run(self) -> Commit:
        """Read the source to its end. Raises Stopped, and whatever the stage raises."""
        verdict = self._read()
        if self._around.cancelled():
            raise Stopped
        if verdict is None:
            late = self._is_late()
            self._cells.fail_open(
                "timeout" if late else "failed",
                f"not done within {self._job.timeout_s:g} s"
                if late
                else "the source ended without saying how this cell ended",
            )
            for table, client in self._cells.settle():
                self._writer.revoke(table, client)
        parts = self._writer.close()
        return Commit(
            run=self._job.plan.run,
            memory_bytes=self._around.guard.memory_bytes,
            shard=self._job.shard.id,
            attempt=self._attempt.attempt,
            worker=self._attempt.worker,
            started=self._attempt.started,
            ended=self._around.now(),
            parts=parts,
            cells=() if verdict else self._cells.manifest(kept_rows(parts)),
            verdict=verdict,
            tables=self._writer.forms,
        )

    def discard(self) -> None:
        """Remove what this attempt wrote; a stage that cannot be reached keeps it until the run goes."""
        try:
            self._writer.discard()
        except SharderError as error:
            event("parts_left_behind", logging.WARNING, **self._job.names, error=str(error))

    def _is_late(self) -> bool:
        limit_s = self._job.timeout_s
        end = self._began + timedelta(seconds=limit_s)
        return limit_s > 0 and self._around.now() >= end

    def _must_stop(self) -> bool:
        return self._around.cancelled() or self._is_late()

    def _read(self) -> Cell | None:
        """Every event of the source; a verdict on all cells if the source cannot even be opened."""
        with self._flight(self._job.source).another(self._around.cancelled) as given:
            if not given:
                return None
            self._began = self._around.now()
            self._around.guard.begin()
            return self._read_in_flight()

    def _flight(self, planned: PlannedSource) -> Flight:
        return Flight(
            self._around.limits.places,
            planned.name,
            planned.max_clients_in_flight,
            sleep=self._around.sleep,
        )

    def _read_in_flight(self) -> Cell | None:
        text = self._stage.text(self._job.spec_key)
        cursors = self._job.cursors(self._stage)
        key = (self._job.plan.run, self._job.source.name, self._job.source.spec)
        before = set(threading.enumerate())
        try:
            opened = self._around.sources.take(key, lambda: self._open(text))
        except Exception as error:  # noqa: BLE001 — whatever a source raises is the end of its cells
            reason, message = self._failure(error, VEIL)
            return Cell(
                table=self._job.shard.table,
                client="",
                outcome="failed",
                reason=reason,
                message=message,
            )
        opened.cancelled = self._must_stop
        whole = False
        try:
            with opened.watched(before):
                whole = self._take_all(self._events(opened, cursors), opened)
        finally:
            # A source that was left in the middle is not trusted with another shard.
            if whole:
                self._around.sources.give_back(key, opened)
            else:
                opened.close()
        return None

    def _events(self, opened: Opened, cursors: Mapping[str, str]) -> Iterator[Event]:
        """What the source yields; an error that it raises before its first event is one of the stream."""
        yield from opened.source.read(self._job.work, cursors)

    def _open(self, text: str) -> Opened:
        """The source as its document says, variables filled in from this worker's environment."""
        planned = self._job.source
        document = expand_document(text, self._around.environment, f"source '{planned.name}'")
        opened = Opened(masked=document.expanded.masked, name=planned.name)
        context = Context(
            name=planned.name,
            now=self._around.now,
            sleep=self._around.sleep,
            cancelled=opened.is_cancelled,
            deterministic_cq_id=getattr(document.model, "deterministic_cq_id", False),
            environment=self._around.environment,
            masked=opened.masked,
            settings=planned.plugin or PluginSettings(),
            state_table=planned.state_table,
            run=self._job.plan.run,
            memory_bytes=self._around.guard.memory_bytes,
            rate_per_s=planned.rate_per_s,
            max_clients_in_flight=planned.max_clients_in_flight,
            pace=Paced(
                self._around.limits.permits,
                planned.name,
                sleep=self._around.sleep,
                cancelled=opened.is_cancelled,
            ),
            flight=self._flight(planned),
        )
        source = document.model
        if not isinstance(source, SourceSpec):
            raise Permanent(f"{self._job.spec_key} is not the document of a source")
        if options := registry.options_of(source):
            validate(options, source.spec, document, ("spec", "spec"))
        try:
            opened.source = registry.open_document(source, context)
        except SharderError as error:
            raise type(error)(opened.masked(error.message), opened.masked(error.hint)) from error
        return opened

    def _take_all(self, events: Iterator[Event], opened: Opened) -> bool:
        """Whether the source came to its own end. Errors of the stage are raised, the source's are not."""
        while True:
            try:
                following = next(events, None)
                if following is None:
                    return True
                rows_fit = self._check(following)
            except Cancelled:
                return False
            except Exception as error:  # noqa: BLE001 — whatever a source raises is the end of its cells
                reason, message = self._failure(error, opened.masked)
                self._cells.fail_open(reason, message)
                return False
            if rows_fit:
                self._take(following, opened.masked)
            if self._must_stop():
                return False

    def _check(self, given: Event) -> bool:
        """Whether the event is for an open cell. Raises Permanent for a cell of another shard."""
        if isinstance(given, Rows | Deleted) and given.table not in self._stamps:
            return False  # a table that is only walked through
        return self._cells.is_open(given.table, given.client)

    def _take(self, given: Event, masked: Callable[[str], str]) -> None:
        table, client = given.table, given.client
        match given:
            case Rows():
                try:
                    batch = self._stamped(table, client, given.batch)
                except SchemaChanged as error:
                    self._cells.fail(table, client, "schema", masked(str(error)))
                    return
                self._writer.write(self._stamps[table].table, client, batch)
                self._written[client][table] += batch.num_rows
                if self._around.guard.pressed():
                    self._relieve()
            case Deleted():
                self._delete(given, masked)
            case Checkpoint():
                self._cells.checkpoint(given)
                self._writer.confirm(table, client)
            case CellDone():
                self._cells.done(given, masked(given.message))
                if given.outcome == "ok":
                    self._writer.confirm(table, client)

    def _delete(self, given: Deleted, masked: Callable[[str], str]) -> None:
        """Note what went. What cannot be carried out fails its cell: no row would be deleted that should go."""
        tables = {name: stamp.table for name, stamp in self._stamps.items()}
        try:
            found = tombstones(given, tables, self._written[given.client])
            self._deletes += len(found)
            if self._deletes > MOST:
                raise Permanent(
                    f"{given.table}: the source deletes rows in more than {MOST:,} ways in one shard, "
                    "more than a commit holds"
                )
        except Permanent as error:
            reason: Reason = getattr(error, "reason", "failed")
            self._cells.fail(given.table, given.client, reason, masked(str(error)))
            return
        self._cells.deleted(given.table, given.client, found)

    def _stamped(self, table: str, client: str, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch as the table has it, which grows for it where it may. Raises SchemaChanged."""
        stamp = self._stamps[table]
        try:
            return stamp(client, batch)
        except SchemaChanged:
            if not stamp.table.evolves:
                raise
        wider = replace(stamp, table=grown(stamp.table, batch))
        stamped = wider(client, batch)
        self._stamps[table] = wider
        names = {**self._job.names, "table": table}
        event("table_grew", **names, columns=len(wider.table.columns))
        return stamped

    def _relieve(self) -> None:
        if freed := self._writer.relieve():
            event("memory_short", logging.WARNING, freed_bytes=freed)

    def _failure(self, error: Exception, masked: Callable[[str], str]) -> tuple[Reason, str]:
        """Reason and message of an error that a source raised; one that is not ours is logged whole."""
        expected = isinstance(error, SharderError)
        text = str(error) if expected else f"{type(error).__name__}: {error}"
        message = masked(text)[:MESSAGE_CHARS]
        event("source_failed", logging.ERROR, **self._job.names, error=message)
        if not expected:
            logging.getLogger("worker").debug("trace", exc_info=error)
        return getattr(error, "reason", "failed"), message


def kept_rows(parts: tuple[Part, ...]) -> Callable[[str, str], int]:
    """Rows of a cell that may be loaded."""
    kept: Counter[tuple[str, str]] = Counter()
    for part in parts:
        for client, rows in part.cells.items():
            if client not in part.dropped:
                kept[part.table, client] += rows
    return lambda table, client: kept[table, client]
