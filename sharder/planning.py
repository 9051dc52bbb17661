"""The planning step of a run: ask the destinations, ask the sources, decide, write.

The plan is on the stage, whole, before the first message is sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

from contracts import layout
from contracts.cursors import Cursors
from contracts.errors import SharderError
from contracts.observe import trace
from contracts.plan import Plan
from contracts.spec import Plugin, Spec
from contracts.spec import Source as SourceSpec
from contracts.specfile import LoadedSpec
from contracts.stage import Stage
from sharder import check, gc, select, shown, sources, text, undone
from sharder.deal import Part
from sharder.place import Place
from sharder.planner import Narrowing, Planned, chosen_sources, plan_round
from sharder.prepare import prepare
from sharder.report import Report
from sharder.retry import plan_retry
from sharder.wishes import Wishes, now
from worker.sources.base import Source, notes_of


@contextmanager
def first(
    here: Place, run: str, loaded: LoadedSpec, wishes: Wishes, report: Report
) -> Iterator[Plan]:
    """The first round of a run, written to the stage; its sources stay open within.

    A run that gets no plan leaves nothing behind.
    """
    chosen = chosen_sources(loaded.spec, wishes.sources)
    with ExitStack() as stack:
        try:
            for n, document in enumerate(check.texts(loaded, sealed=here.kind == "embedded")):
                here.stage.store.put(layout.spec(run, n), document.encode())
            cursors = _prepared(here, run, destinations(chosen), report)
            opened = stack.enter_context(sources.opened(loaded, chosen, stay=not wishes.detach))
            planned = _planned(loaded, wishes, run, opened, here.stage, cursors)
            for s in chosen:
                for note in notes_of(opened[s.name]):
                    report.say(note)
                written = loaded.document("source", s.name)
                for warning in select.surprises(s, opened[s.name].tables(), written):
                    report.say(f"warning: {warning}")
            if not (wishes.sources or wishes.tables or wishes.clients or wishes.part):
                for warning in shown.surprises(loaded, planned.plan):
                    report.say(f"warning: {warning}")
            for source, lines in planned.clients.items():
                here.stage.write_clients(run, source, lines)
            if wishes.part:
                report.say(explained(wishes.part, len(planned.plan.tables), planned.dealt))
            here.stage.write_plan(planned.plan, planned.shards())
        except BaseException:
            with suppress(SharderError):
                gc.remove(here.stage, run)
            raise
        yield planned.plan


def preview(loaded: LoadedSpec, wishes: Wishes, stage: Stage) -> Plan:
    """What `first` would write, from the same sources and history; nothing is written."""
    chosen = chosen_sources(loaded.spec, wishes.sources)
    with sources.opened(loaded, chosen) as opened:
        return _planned(loaded, wishes, "preview", opened, stage, {}).plan


def again(here: Place, run: str, wishes: Wishes, report: Report) -> Plan | None:
    """The next round of a run, written to the stage; None if every cell ended ok and is loaded."""
    rounds = [here.stage.plan(run, n) for n in here.stage.rounds(run)]
    failed = undone.loads(here.stage, rounds)
    not_ok = list(undone.cells(here.stage, rounds))
    if not failed and not not_ok:
        return None
    names = [d.name for d in rounds[0].destinations]
    _prepared(here, run, names, report)  # the cursors moved when the earlier rounds were loaded
    planned = plan_retry(rounds, not_ok, now=now(), load_again=failed)
    # Who tries a cancelled run again wants it to go on; nobody is at work on it any more.
    here.stage.store.delete([layout.cancel(run)])
    plan = planned.plan.model_copy(update={"deadline_s": wishes.deadline or 0.0})
    # What ended the earlier rounds must not end this one.
    here.stage.store.delete([layout.cancel(run)])
    here.stage.write_plan(plan, planned.shards(), once=True)
    return plan


def collectors(chosen: Sequence[SourceSpec]) -> list[str]:
    """Where the sources want their traces."""
    return [trace.url(s.otel_endpoint, insecure=s.otel_endpoint_insecure) for s in chosen]


def introduction(spec: Spec, chosen: Sequence[SourceSpec]) -> Iterator[str]:
    """A line per source: where it is read from, and where its rows go."""
    for source in chosen:
        into = ", ".join(_named(spec.destination(d)) for d in source.destinations)
        yield f"{_named(source)} -> {into}"


def _named(plugin: Plugin) -> str:
    version = f"@{plugin.version}" if plugin.version else ""
    return f"{plugin.name} ({plugin.path}{version})"


def explained(part: Part, ours: int, dealt: int) -> str:
    """What `--shard` means here, in one line."""
    return (
        f"shard {part}: {ours:,} of {text.count(dealt, 'table')}; tables are dealt whole, so that each is "
        "loaded by one submitter. Without --shard the plan is split by account anyway, on a fleet over "
        "all workers"
    )


def destinations(chosen: Sequence[SourceSpec]) -> list[str]:
    """Destinations that the sources write to or keep their cursors in."""
    written = [d for s in chosen for d in s.destinations]
    backends = [s.backend_options.destination for s in chosen if s.backend_options]
    return list(dict.fromkeys(written + backends))


def _prepared(here: Place, run: str, names: Sequence[str], report: Report) -> Mapping[str, Cursors]:
    return prepare(here.stage, here.queue, run, names, here.rules, report.say, pause=here.pause)


def _planned(
    loaded: LoadedSpec,
    wishes: Wishes,
    run: str,
    opened: Mapping[str, Source],
    stage: Stage,
    cursors: Mapping[str, Cursors],
) -> Planned:
    def of(part: Part | None) -> Planned:
        return plan_round(
            loaded,
            opened,
            run=run,
            now=now(),
            cursors=cursors,
            histories=stage.history,
            narrowing=Narrowing(wishes.sources, wishes.tables, wishes.clients, part),
            full_refresh=wishes.full_refresh,
            sync_id=wishes.run_id,
            migrate=wishes.migrate,
        )

    planned = of(wishes.part)
    # What two shards would write under one name is in the plan of neither.
    shown.refuse_unfit(loaded, of(None).plan if wishes.part else planned.plan)
    more: dict[str, object] = {"asked": wishes.asked()}
    if wishes.deadline is not None:
        more["deadline_s"] = wishes.deadline
    return replace(planned, plan=planned.plan.model_copy(update=more))
