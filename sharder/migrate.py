"""`sharder migrate`: the tables of every destination made or altered, nothing extracted, nothing deleted.

Only the loader talks to warehouses, so the tables travel to it on the stage, as those of a run do; what
was written for that is removed again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from contracts import layout
from contracts.cursors import Failure
from contracts.errors import Exit, SharderError
from contracts.migration import Migrated, MigratedTable
from contracts.plan import Plan, PlannedDestination, PlannedSource, PlannedTable
from contracts.queue import Message
from contracts.specfile import LoadedSpec, load
from contracts.table import with_cq_columns
from sharder import check, gc, holding, place, sources, text
from sharder.ask import Asking, ask
from sharder.hide import Hider
from sharder.place import Place
from sharder.preview import Shown
from sharder.report import Report
from sharder.run import new_run_id
from sharder.select import select
from sharder.wishes import Wishes, now
from worker.sources.base import Source


def migrate(
    paths: Sequence[str], wishes: Wishes, environment: Mapping[str, str], report: Report
) -> tuple[Shown, Exit]:
    """What was done to every table of every destination, and the exit code that follows from it."""
    at = now()
    loaded = load(paths, environment, at)
    for warning in loaded.warnings:
        report.say(f"warning: {warning}")
    for warning in check.check(loaded):
        report.say(f"warning: {warning}")
    found = place.settle(wishes.over(environment), loaded.spec.fleet)
    (check.refuse_literals if found.broker else check.refuse_unset)(loaded)
    with sources.opened(loaded, loaded.spec.sources) as opened:
        plan = planned(loaded, opened, new_run_id(at))
    # Nothing is extracted, so that one worker process (which stays idle) is enough.
    log = Hider(report.say, partial(check.texts, loaded, sealed=not found.broker), environment)
    with place.opened(replace(found, workers=1), environment, log) as here:
        answers = _asked(here, plan, loaded, report)
    return shown(answers), exit_code(answers)


def planned(loaded: LoadedSpec, opened: Mapping[str, Source], run: str) -> Plan:
    """The selected tables of all sources, as a plan without shards. Raises InputError for wrong patterns."""
    spec, at = loaded.spec, now()
    tables = tuple(
        PlannedTable(
            source=s.name, name=tree.top.name, tree=tuple(with_cq_columns(t) for t in tree.tables),
            selected=tree.selected, first=0, shards=0, cells=0, clients=(), authoritative=False,
        )
        for s in spec.sources
        for tree in select(s, opened[s.name].tables(), loaded.document("source", s.name))
    )  # fmt: skip
    used = {name for s in spec.sources for name in s.destinations}
    return Plan(
        run=run,
        round=0,
        created=at,
        sync_time=at,
        sources=tuple(
            PlannedSource(
                name=s.name,
                path=s.path,
                spec=loaded.number("source", s.name),
                destinations=s.destinations,
                clients=0,
            )
            for s in spec.sources
        ),
        destinations=tuple(
            PlannedDestination(name=d.name, path=d.path, spec=loaded.number("destination", d.name))
            for d in spec.destinations
            if d.name in used
        ),
        tables=tables,
        shards=0,
        cells=0,
    )


def _asked(here: Place, plan: Plan, loaded: LoadedSpec, report: Report) -> list[Migrated]:
    """Every destination's answer, in the order of the spec. Raises LeaseHeld while a run is at work."""
    pairs = [(s.name, d) for s in plan.sources for d in s.destinations]
    leases = holding.Leases(here.stage.store, plan.run, pairs)
    leases.take(alone=True)
    try:
        for n, document in enumerate(check.texts(loaded, sealed=here.kind == "embedded")):
            here.stage.store.put(layout.spec(plan.run, n), document.encode())
        here.stage.write_tables(plan)
        at = Asking(here.stage, here.queue, here.rules, report.say, here.pause)
        names = [d.name for d in plan.destinations]
        messages = [Message("migrate", plan.run, destination=name) for name in names]
        found = ask(at, messages, lambda m: here.stage.migrated(m.run, m.destination), _lost)
        return [found[name] for name in names]
    finally:
        try:
            with suppress(SharderError):
                gc.remove(here.stage, plan.run)
        finally:
            leases.release()


def _lost(message: Message, why: str) -> Migrated:
    error = Failure(message=f"destination '{message.destination}' was not migrated: {why}")
    return Migrated(run=message.run, destination=message.destination, error=error)


def exit_code(answers: Sequence[Migrated]) -> Exit:
    """0 when every table is as it should be, 3 when some are, else 2 for a wrong spec and 4."""
    tables = [t for a in answers for t in a.tables]
    wrong = [t for t in tables if t.action == "refused"]
    failed = [a.error for a in answers if a.error]
    if not wrong and not failed:
        return Exit.OK
    if len(wrong) < len(tables):
        return Exit.PARTIAL
    spec_is_wrong = failed and all(e.exit_code == Exit.INPUT for e in failed)
    return Exit.INPUT if spec_is_wrong and not wrong else Exit.OUTSIDE


def shown(answers: Sequence[Migrated]) -> Shown:
    """A line per table, reasons below it; the last line sums up."""
    rows = [
        (a.destination, t.table, t.action, _detail(t), t.error) for a in answers for t in a.tables
    ]
    widths = [max((len(r[i]) for r in rows), default=0) for i in range(3)]
    lines = []
    for *columns, detail, error in rows:
        cells = (c.ljust(w) for c, w in zip(columns, widths, strict=True))
        lines.append("  ".join((*cells, detail)).rstrip())
        lines += [f"    {line.strip()}" for line in error.splitlines()]
    for a in answers:
        lines += [f"error: {line}" if not n else line for n, line in enumerate(_error(a))]
    lines.append(_total(answers))
    documents = [
        {"destination": a.destination, **t.model_dump(mode="json")}
        for a in answers
        for t in a.tables
    ]
    documents += [
        {"destination": a.destination, "error": a.error.message, "exit_code": a.error.exit_code}
        for a in answers
        if a.error
    ]
    return Shown(lines, documents)


def _detail(table: MigratedTable) -> str:
    parts = list(table.changes)
    if table.rows_dropped:
        parts.append(f"{text.count(table.rows_dropped, 'old row')} dropped")
    return "; ".join(parts)


def _error(answer: Migrated) -> Iterator[str]:
    if answer.error:
        yield from answer.error.message.splitlines()


def _total(answers: Sequence[Migrated]) -> str:
    actions = [t.action for a in answers for t in a.tables]
    counts = {a: actions.count(a) for a in dict.fromkeys(actions)}
    said = ", ".join(f"{n:,} {action}" for action, n in counts.items())
    failed = sum(a.error is not None for a in answers)
    more = f"; {text.count(failed, 'destination')} could not be worked with" if failed else ""
    return f"{text.count(len(actions), 'table')}{f': {said}' if said else ''}{more}"
