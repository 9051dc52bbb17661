"""A run from its spec to its summary: the composition of store, queue, plan and watch.

The order is a promise: nothing is written before the spec is known to be right, nothing is extracted
before every destination has answered, and nothing is loaded twice whatever ends in the middle.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from secrets import token_hex

from contracts import layout
from contracts.errors import Exit, InputError, Permanent, SharderError
from contracts.plan import Plan
from contracts.spec import Fleet
from contracts.specfile import LoadedSpec, expand, load
from contracts.stage import Stage
from contracts.summary import Summary
from sharder import check, gc, lease, place, planning, status, text
from sharder import drive as driving
from sharder.place import Place
from sharder.planner import chosen_sources
from sharder.report import Report
from sharder.wishes import Wishes, now


def new_run_id(at: datetime) -> str:
    """Sorted by time, and different for two submits of the same second."""
    return f"{at:%Y%m%dT%H%M%S}-{token_hex(3)}"


def submit(
    paths: Sequence[str], wishes: Wishes, environment: Mapping[str, str], report: Report
) -> Exit:
    """Run a spec to its end, or hand it over to a watch."""
    at = now()
    loaded = load(paths, environment, at)
    for warning in loaded.warnings:
        report.say(f"warning: {warning}")
    check.check(loaded)
    chosen_sources(loaded.spec, wishes.sources)  # a misspelt --source is told before anything else
    fleet = loaded.spec.fleet
    found = place.settle(wishes.over(environment), fleet)
    (check.refuse_literals if found.broker else check.refuse_unset)(loaded)
    with place.opened(found, environment, report.say, attempts=fleet.attempts) as here:
        if wishes.detach:
            _can_detach(here)
        run = layout.check_run(wishes.run_id or new_run_id(at))
        if wishes.run_id and here.stage.rounds(run):
            return _go_on(here, run, report)
        return _submit(here, run, loaded, wishes, report)


def _submit(here: Place, run: str, loaded: LoadedSpec, wishes: Wishes, report: Report) -> Exit:
    chosen = chosen_sources(loaded.spec, wishes.sources)
    pairs = [(s.name, d) for s in chosen for d in s.destinations]
    with _leased(here.stage, run, pairs, alone=True) as leases:
        _finish_earlier(here, run, {s.name for s in chosen}, report)
        with planning.first(here, run, loaded, wishes, report) as plan:
            if wishes.detach:
                leases.leave()
                report.say(f"run {run} is left to the watch; see: sharder status {run}")
                return Exit.OK
            summary = _watched(here, plan, report)
    keep_runs = gc.EMBEDDED_KEEPS if here.kind == "embedded" else 0
    try:
        gc.collect(here.stage, now(), keep_s=loaded.spec.fleet.keep, keep_runs=keep_runs)
    except SharderError as error:  # the run is what was asked for, and it is done
        report.say(f"warning: old runs could not be removed: {error}")
    report.summary(summary)
    return Exit(summary.exit_code)


def resume(run: str, wishes: Wishes, environment: Mapping[str, str], report: Report) -> Exit:
    """Watch an open run to its end; of a closed one tell the summary."""
    with _at(run, wishes, environment, report) as here:
        return _go_on(here, run, report)


def retry(run: str, wishes: Wishes, environment: Mapping[str, str], report: Report) -> Exit:
    """Add a round for the cells that did not end ok."""
    with _at(run, wishes, environment, report) as here:
        rounds = here.stage.rounds(run)
        if not rounds:
            raise InputError(f"run {run} never had a plan", "submit its spec again")
        if status.open_round(here.stage, run):
            raise InputError(f"run {run} is not closed yet", f"sharder resume {run}")
        with _leased(here.stage, run, status.pairs(here.stage.plan(run, rounds[-1]))):
            plan = planning.again(here, run, wishes, report)
            if plan is None:
                report.say("every cell of the run is ok; there is nothing to try again")
                return Exit.OK
            summary = _watched(here, plan, report)
        report.summary(summary)
        return Exit(summary.exit_code)


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


def _go_on(here: Place, run: str, report: Report) -> Exit:
    rounds = here.stage.rounds(run)
    if not rounds:
        raise InputError(f"run {run} ended before it had a plan", "submit its spec again")
    plan = here.stage.plan(run, rounds[-1])
    summary = here.stage.summary(run, plan.round)
    if summary is None:
        with _leased(here.stage, run, status.pairs(plan)):
            summary = _watched(here, plan, report)
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


def _finish_earlier(here: Place, run: str, sources: set[str], report: Report) -> None:
    """Close open rounds of the same sources that nobody is at work on: their rows come first."""
    for plan in list(status.open_rounds(here.stage)):
        shared = sources & {s.name for s in plan.sources}
        if plan.run == run or not shared or status.holder(here.stage, plan):
            continue
        report.say(
            f"run {plan.run} of {', '.join(sorted(shared))} was left open; loading what it extracted"
        )
        driving.cancel(here.stage, plan.run, f"given up by the later run {run}")
        watcher(here, plan, report).run()
    for source in sorted(sources):
        _warn_of_failed_loads(here, run, source, report)


def _warn_of_failed_loads(here: Place, run: str, source: str, report: Report) -> None:
    """Where the newest closed run of a source could not load everything, `retry` is what loads it."""
    for earlier in reversed(here.stage.runs()):
        closed = [s for n in here.stage.rounds(earlier) if (s := here.stage.summary(earlier, n))]
        if earlier == run or not closed or source not in {t.source for t in closed[-1].tables}:
            continue
        failed = [d for d in closed[-1].destinations if d.source == source and d.error]
        if failed:
            tables = text.count(len(failed), "table")
            report.say(
                f"warning: {tables} of run {earlier} could not be loaded; `sharder retry {earlier}` loads what was "
                "extracted then. This run extracts anew: where rows are appended, a destination that did "
                "load them may get them twice"
            )
        return


@contextmanager
def _leased(
    stage: Stage, run: str, pairs: Sequence[tuple[str, str]], *, alone: bool = False
) -> Iterator[lease.Leases]:
    leases = lease.Leases(stage.store, run, pairs)
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
    if not lease.watched(here.stage.store, now()):
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
    with place.opened(found, environment, report.say, attempts=fleet.attempts) as here:
        yield here


_FLEET = re.compile(r"^kind:\s*['\"]?fleet\b", re.MULTILINE)


def fleet_of(stage: Stage, run: str, environment: Mapping[str, str]) -> Fleet:
    """The fleet document that a run was submitted with; the defaults if it had none."""
    for entry in stage.store.list(f"{layout.run_prefix(run)}spec/"):
        document = stage.store.get(entry.key).decode()
        if _FLEET.search(document):
            found = expand(document, environment, entry.key)
            if isinstance(found, Fleet):
                return found
    return Fleet()
