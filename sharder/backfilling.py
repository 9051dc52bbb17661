"""`submit --backfill START..END`: one run per interval, oldest first, each of them at most once.

A run is named after its interval, so that whoever repeats the command goes on with the run that was open.
That an interval is done is remembered on the stage for longer than its run is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from contracts import layout
from contracts.errors import Exit, InputError, SharderError
from contracts.spec import Destination, Source
from contracts.specfile import LoadedSpec, SpecDocument, load
from contracts.specfile.split import files, read_text, sections
from contracts.stage import Stage
from sharder import place, run, status, text
from sharder.backfill import (
    Backfilled,
    Every,
    Interval,
    default_name,
    every,
    intervals,
    outline,
    window,
)
from sharder.planner import chosen_sources
from sharder.report import Report
from sharder.wishes import Wishes, now


@dataclass(frozen=True)
class _Backfill:
    """What the intervals share. `name` is the first part of their runs' ids."""

    paths: Sequence[str]
    wishes: Wishes
    environment: Mapping[str, str]
    report: Report
    stage: Stage
    name: str

    def run_id(self, interval: Interval) -> str:
        return layout.check_run(f"{self.name}-{interval.name}")

    def whole_id(self, interval: Interval) -> str:
        """As the stage has it: a shard adds its part."""
        run_id = self.run_id(interval)
        return self.wishes.part.run(run_id) if self.wishes.part else run_id

    @property
    def records(self) -> str:
        return f"{self.name} {self.wishes.part or ''}".rstrip()

    def done(self) -> frozenset[str]:
        """Names of the intervals that are loaded."""
        prefix = layout.backfills(self.records)
        found = (e.key[len(prefix) :].removesuffix(".json") for e in self.stage.store.list(prefix))
        return frozenset(map(layout.unescape, found))


def backfill(
    paths: Sequence[str],
    span: str,
    length: str,
    wishes: Wishes,
    environment: Mapping[str, str],
    report: Report,
    *,
    keep_going: bool = False,
) -> Exit:
    """Run what is left of the intervals. The first that fails ends it, unless it is to keep going."""
    if wishes.detach:
        raise InputError(
            "--backfill runs one interval after the other, and --detach waits for none",
            "leave one of them out",
        )
    step = every(length)
    found = intervals(span, step, now())
    loaded = load(paths, environment, found[-1].end)
    texts = check(loaded, paths, wishes.sources, found, step, length, report)
    with _opened(wishes, environment, loaded) as stage:
        own = [*texts, *wishes.sources, *wishes.tables, *wishes.clients]
        name = wishes.run_id or default_name(own)
        one = _Backfill(paths, wishes, environment, report, stage, name)
        one.whole_id(found[-1])  # a name that is too long is told before anything runs
        done = one.done()
        todo = [i for i in found if i.name not in done]
        report.say(
            f"backfill {name}: {text.count(len(found), 'interval')} of {length}, {len(todo):,} to do"
        )
        for line in outline(found, done):
            report.say(line)
        return _run_all(one, found, todo, keep_going=keep_going)


def _run_all(
    one: _Backfill, found: Sequence[Interval], todo: Sequence[Interval], *, keep_going: bool
) -> Exit:
    failed: list[Exit] = []
    for interval in todo:
        at = f"interval {found.index(interval) + 1:,} of {len(found):,}"
        one.report.say(f"{at}: {interval}")
        try:
            code = _run_one(one, interval)
        except KeyboardInterrupt:
            one.report.say(f"{at} is not finished; the same command goes on with it")
            raise
        if code == Exit.OK:
            _remember(one, interval)
            continue
        failed.append(code)
        again = "the same command tries it again and goes on"
        one.report.say(f"{at} ended with exit code {int(code)}; {again}")
        if not keep_going:
            return code
    done = len(found) - len(failed)
    one.report.say(
        f"backfill {one.name}: {done:,} of {text.count(len(found), 'interval')} are done"
    )
    if not failed:
        return Exit.OK
    return Exit.PARTIAL if Exit.PARTIAL in failed or done else max(failed)


def _run_one(one: _Backfill, interval: Interval) -> Exit:
    """Submit an interval, go on with its open run, or try again what failed in its closed one."""
    run_id, whole_id = one.run_id(interval), one.whole_id(interval)
    rounds = one.stage.rounds(whole_id)
    closed = one.stage.summary(whole_id, rounds[-1]) if rounds else None
    try:
        if closed and closed.exit_code != Exit.OK:
            return run.retry(whole_id, one.wishes, one.environment, one.report)
        wishes = replace(one.wishes, run_id=run_id)
        return run.submit(one.paths, wishes, one.environment, one.report, moment=interval.end)
    except SharderError as error:
        # Data of one interval may be as wrong as a spec; a run that is open goes on with the next command.
        known = error.exit_code in {Exit.INPUT, Exit.OUTSIDE}
        if not known or status.open_round(one.stage, whole_id):
            raise
        one.report.say(f"error: {error}")
        return error.exit_code


def _remember(one: _Backfill, interval: Interval) -> None:
    record = Backfilled(
        run=one.whole_id(interval), start=interval.start, end=interval.end, done=now()
    )
    one.stage.store.create(layout.backfilled(one.records, interval.name), record.to_bytes())


@contextmanager
def _opened(wishes: Wishes, environment: Mapping[str, str], loaded: LoadedSpec) -> Iterator[Stage]:
    stage = place.open_stage(place.settle(wishes.over(environment), loaded.spec.fleet))
    try:
        yield stage
    finally:
        stage.store.close()


def check(
    loaded: LoadedSpec,
    paths: Sequence[str | Path],
    patterns: Sequence[str],
    found: Sequence[Interval],
    step: Every,
    length: str,
    report: Report,
) -> list[str]:
    """Refuse specs whose intervals would read the same rows, or delete each other's. Raises InputError.

    Returns the texts of the sources and destinations, as they are written.
    """
    chosen = {s.name for s in chosen_sources(loaded.spec, patterns)}
    written = [s.blanked for path in files(paths) for s in sections(read_text(path), str(path))]
    texts = []
    for document, blanked in zip(loaded.documents, written, strict=True):
        match document.model:
            case Source(name=name) if name in chosen:
                _windows(document, blanked, loaded, found, step, length, report)
            case Destination() if _deletes(document.model, loaded, chosen):
                raise document.error(
                    f"destination '{document.name}' deletes what a later run did not read, so every "
                    "interval would delete the rows of those before it",
                    "write `write_mode: overwrite` (or append) for a backfill",
                    ("spec", "write_mode"),
                )
            case Destination():
                pass
            case _:
                continue
        texts.append(blanked)
    return texts


def _deletes(destination: Destination, loaded: LoadedSpec, chosen: set[str]) -> bool:
    """Whether a chosen source writes to it, in the mode that deletes, and it is a warehouse that can."""
    from loader.warehouses import registry

    used = {d for s in loaded.spec.sources if s.name in chosen for d in s.destinations}
    return (
        destination.name in used
        and destination.write_mode == "overwrite-delete-stale"
        and registry.traits(destination).merges
    )


def _windows(
    document: SpecDocument,
    blanked: str,
    loaded: LoadedSpec,
    found: Sequence[Interval],
    step: Every,
    length: str,
    report: Report,
) -> None:
    """What the source reads must begin where the interval does: a warning, or worse where rows are appended."""
    hint = (
        f"write `${{time:{_ago(step, length)}}}` where what it reads begins, and `${{time:now}}` "
        "where it ends"
    )
    for interval in (found[0], found[-1]):
        begins = window(blanked, interval)
        if begins is None:
            raise document.error(
                f"{document.what} has no `${{time:…}}` that moves, so every interval would read the same",
                hint,
                ("spec", "spec"),
            )
        if begins == interval.start:
            continue
        appended = [
            d
            for d in loaded.spec.source(document.name).destinations
            if loaded.spec.destination(d).write_mode == "append"
        ]
        what = f"in the interval {interval} {document.what} reads from {begins:%Y-%m-%d %H:%M:%S}"
        if begins < interval.start and appended and len(found) > 1:
            raise document.error(
                f"{what}, so rows before it would be in '{appended[0]}' twice",
                f"{hint}, with END a whole number of intervals after START",
                ("spec", "spec"),
            )
        report.say(f"warning: {what}; {hint}")
        return


def _ago(step: Every, length: str) -> str:
    """An expression of the spec for the start of an interval that ends now."""
    if step.months:
        return f"{step.months} month{'s' if step.months > 1 else ''} ago"
    days, rest = divmod(step.seconds, 86400)
    if not rest:
        return f"{days:.0f} day{'s' if days > 1 else ''} ago"
    return f"-{length}"
