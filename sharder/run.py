"""A run from its spec to its summary: the composition of store, queue, plan and watch.

The order is a promise: nothing is written before the spec is known to be right, nothing is extracted
before every destination has answered, and nothing is loaded twice whatever ends in the middle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from secrets import token_hex

from contracts import layout
from contracts.errors import Exit, InputError, Permanent, SharderError
from contracts.observe import trace
from contracts.plan import Plan
from contracts.spec import Fleet
from contracts.specfile import LoadedSpec, expand, load
from contracts.stage import Stage
from contracts.summary import Summary
from loader import documents
from sharder import (
    again,
    check,
    conclude,
    earlier,
    gc,
    holding,
    lease,
    metrics,
    place,
    planning,
    status,
    storeclock,
    summary_file,
    text,
)
from sharder import drive as driving
from sharder.hide import Hider
from sharder.place import Place
from sharder.planner import chosen_sources
from sharder.report import Report
from sharder.summary_file import Unplanned
from sharder.wishes import Wishes, now


def new_run_id(at: datetime) -> str:
    """Sorted by time, and different for two submits of the same second."""
    return f"{at:%Y%m%dT%H%M%S}-{token_hex(3)}"


def submit(
    paths: Sequence[str],
    wishes: Wishes,
    environment: Mapping[str, str],
    report: Report,
    *,
    moment: datetime | None = None,
) -> Exit:
    """Run a spec to its end, or hand it over to a watch. `moment`: what `${time:now}` is in the spec."""
    at = now()
    loaded = load(paths, environment, moment or at)
    for warning in loaded.warnings:
        report.say(f"warning: {warning}")
    for warning in check.check(loaded):
        report.say(f"warning: {warning}")
    # A misspelt --source is told before anything else.
    chosen = chosen_sources(loaded.spec, wishes.sources)
    fleet = loaded.spec.fleet
    found = place.settle(wishes.over(environment), fleet)
    (check.refuse_literals if found.broker else check.refuse_unset)(loaded)
    run = _run_id(wishes, at)
    for line in planning.introduction(loaded.spec, chosen):
        report.say(line)
    log = Hider(report.say, partial(check.texts, loaded, sealed=not found.broker), environment)
    summary_file.check(wishes.summary_location)
    report = metrics.around(report, wishes.tables_metrics_location, loaded)
    start = Unplanned(wishes.summary_location, loaded, chosen, run, wishes.run_id, at, report.say)
    with start, place.opened(found, environment, log, attempts=fleet.attempts) as here:
        if wishes.detach:
            _can_detach(here)
        if wishes.run_id and here.stage.rounds(run):
            return _again(here, run, loaded, wishes, report, start)
        to = trace.endpoints(found.traces, planning.collectors(chosen))
        with trace.root(run, "submit", to):
            return _submit(here, run, loaded, wishes, report, start)


def _again(
    here: Place, run: str, loaded: LoadedSpec, wishes: Wishes, report: Report, start: Unplanned
) -> Exit:
    """Go on with a run of this id, or tell its summary. Raises InputError if something else is asked for."""
    start.planned()
    report.say(again.told(here.stage, run, loaded, wishes, sealed=here.kind == "embedded"))
    return _go_on(here, run, wishes, report)


def _run_id(wishes: Wishes, at: datetime) -> str:
    """The user's id or a new one; a shard adds its part. Raises InputError."""
    run = layout.check_run(wishes.run_id or new_run_id(at))
    return wishes.part.run(run) if wishes.part else run


def _submit(
    here: Place, run: str, loaded: LoadedSpec, wishes: Wishes, report: Report, start: Unplanned
) -> Exit:
    chosen = chosen_sources(loaded.spec, wishes.sources)
    pairs = [(s.name, d) for s in chosen for d in s.destinations]
    part, names = str(wishes.part or ""), {s.name for s in chosen}
    own = holding.Leases(here.stage.store, run, pairs, part=part, sync_id=wishes.run_id)
    with _leased(own, alone=True) as leases:
        close = partial(_close, here, report)
        earlier.finish(here.stage, run, names, report.say, close, part=part, sync_id=wishes.run_id)
        if here.stage.rounds(run):  # somebody was faster, and may even have ended it by now
            return _again(here, run, loaded, wishes, report, start)
        # Of an older run of this id, which `gc` was removing, a commit or a summary may be left.
        gc.remove(here.stage, run)
        with ExitStack() as planned:
            with trace.step("plan"):
                plan = planned.enter_context(planning.first(here, run, loaded, wishes, report))
            start.planned()
            if wishes.detach:
                leases.leave()
                report.say(f"run {run} is left to the watch; see: sharder status {run}")
                return Exit.OK
            with trace.step("watch"):
                summary = _watched(here, plan, report)
    keep_runs = gc.EMBEDDED_KEEPS if here.kind == "embedded" else 0
    try:
        gc.collect(here.stage, now(), keep_s=loaded.spec.fleet.keep, keep_runs=keep_runs)
    except SharderError as error:  # the run is what was asked for, and it is done
        report.say(f"warning: old runs could not be removed: {error}")
    return _answer(plan, summary, wishes, report)


def resume(run: str, wishes: Wishes, environment: Mapping[str, str], report: Report) -> Exit:
    """Watch an open run to its end; of a closed one tell the summary."""
    summary_file.check(wishes.summary_location)
    with _at(run, wishes, environment, report) as here:
        return _go_on(here, run, wishes, report)


def retry(run: str, wishes: Wishes, environment: Mapping[str, str], report: Report) -> Exit:
    """Add a round for the cells that did not end ok."""
    summary_file.check(wishes.summary_location)
    with _at(run, wishes, environment, report) as here:
        rounds = here.stage.rounds(run)
        if not rounds:
            raise InputError(f"run {run} never had a plan", "submit its spec again")
        # Before the leases: those of an open round are its watcher's, and would be given back with ours.
        _refuse_open(here, run)
        with _leased(status.leases(here.stage, here.stage.plan(run, rounds[-1]))):
            _refuse_open(here, run)  # of two retries at once one has a round by now
            plan = planning.again(here, run, wishes, report)
            if plan is None:
                report.say("every cell of the run is ok; there is nothing to try again")
                return Exit.OK
            summary = _watched(here, plan, report)
        return _answer(plan, summary, wishes, report)


def _refuse_open(here: Place, run: str) -> None:
    if status.open_round(here.stage, run):
        raise InputError(f"run {run} is not closed yet", f"sharder resume {run}")


def cancel(run: str, stage_url: str, environment: Mapping[str, str]) -> str:
    """Ask for the end of a run; returns a sentence about what happens next."""
    stage = place.open_stage(Wishes(stage=stage_url).over(environment))
    round_ = status.open_round(stage, status.known(stage, run))
    if not round_:
        return f"run {run} is closed already"
    driving.cancel(stage, run, f"cancelled at {now():%Y-%m-%d %H:%M:%S} UTC by `sharder cancel`")
    if status.holder(stage, stage.plan(run, round_)):
        return f"run {run} ends now: what is extracted is loaded, the rest fails"
    return f"nobody watches run {run}; end it with: sharder resume {run}"


def _go_on(here: Place, run: str, wishes: Wishes, report: Report) -> Exit:
    rounds = here.stage.rounds(run)
    if not rounds:
        raise InputError(f"run {run} ended before it had a plan", "submit its spec again")
    plan = here.stage.plan(run, rounds[-1])
    summary = here.stage.summary(run, plan.round)
    if summary is None:
        with _leased(status.leases(here.stage, plan)):
            summary = _watched(here, plan, report)
    elif conclude.missing(here.stage, plan):
        with _leased(status.leases(here.stage, plan)):
            summary = watcher(here, plan, report).conclude(summary)
    return _answer(plan, conclude.told(here.stage, plan, summary), wishes, report)


def _answer(plan: Plan, summary: Summary, wishes: Wishes, report: Report) -> Exit:
    """Tell the summary, to the file too if there is one; its exit code is the run's."""
    if why := summary_file.write(wishes.summary_location, plan, summary):
        report.say(f"warning: {why}")
    report.summary(summary)
    return Exit(summary.exit_code)


def _watched(here: Place, plan: Plan, report: Report) -> Summary:
    counts = ((len(plan.tables), "table"), (plan.cells, "cell"), (plan.shards, "shard"))
    report.say(f"run {plan.run}: {', '.join(text.count(n, noun) for n, noun in counts)}")
    try:
        return watcher(here, plan, report).run()
    except (KeyboardInterrupt, SharderError):
        report.say(f"run {plan.run} is not finished; go on with: sharder resume {plan.run}")
        raise


def _close(here: Place, report: Report, plan: Plan) -> None:
    watcher(here, plan, report).run()


def watcher(here: Place, plan: Plan, report: Report) -> driving.Drive:
    """What watches one round here."""
    return driving.Drive(
        here.stage,
        here.queue,
        plan,
        replace(here.rules, attempts=plan.attempts),
        report,
        pause=here.pause,
    )


@contextmanager
def _leased(leases: holding.Leases, *, alone: bool = False) -> Iterator[holding.Leases]:
    leases.take(alone=alone)
    try:
        yield leases
    finally:
        leases.release()


def _can_detach(here: Place) -> None:
    if here.kind == "embedded":
        raise InputError(
            "--detach needs a fleet: without a broker the workers end with this command",
            "set --broker, or leave --detach out",
        )
    if not lease.watched(here.stage.store, storeclock.clock(here.stage.store)()):
        raise Permanent(
            f"--detach: no `sharder watch` is alive on the stage {here.stage.store.url}",
            "start one (`sharder watch --stage … --broker …`), or leave --detach out",
        )


@contextmanager
def _at(
    run: str, wishes: Wishes, environment: Mapping[str, str], report: Report
) -> Iterator[Place]:
    """Where a run that exists already goes on; its fleet document says what flags leave open."""
    found = wishes.over(environment)
    stage = place.open_stage(found)
    status.known(stage, run)
    fleet = fleet_of(stage, run, environment)
    found = place.settle(replace(found, stage=found.stage_url), fleet)
    log = Hider(report.say, partial(_texts, stage, run), environment)
    with place.opened(found, environment, log, attempts=fleet.attempts) as here:
        yield here


def fleet_of(stage: Stage, run: str, environment: Mapping[str, str]) -> Fleet:
    """The fleet document that a run was submitted with; the defaults if it had none."""
    for number, kind, _ in documents.outlines(stage, run):
        if kind == Fleet.kind:
            key = layout.spec(run, number)
            found = expand(stage.text(key), environment, key)
            if isinstance(found, Fleet):
                return found
    return Fleet()


def _texts(stage: Stage, run: str) -> Iterable[str]:
    for entry in stage.store.list(f"{layout.run_prefix(run)}spec/"):
        yield stage.text(entry.key)
