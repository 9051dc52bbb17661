"""Answers to questions: what would run, which tables there are, which runs. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.errors import SharderError
from contracts.plan import Plan, PlannedTable, groups
from contracts.specfile import LoadedSpec, load
from contracts.stage import Stage
from sharder import check, crew, detail, listing, place, planning, status, text
from sharder.wishes import Wishes, now


@dataclass(frozen=True)
class Shown:
    """An answer: `lines` for people, `documents` for programs; `notes` are said beside it."""

    lines: Sequence[str]
    documents: Sequence[Mapping[str, Any]]
    notes: Sequence[str] = ()


def plan(paths: Sequence[str], wishes: Wishes, environment: Mapping[str, str]) -> Shown:
    """What `submit` of this spec would do."""
    loaded = load(paths, environment, now())
    moot = check.check(loaded)
    found = place.settle(wishes.over(environment), loaded.spec.fleet)
    stage = place.open_stage(found)
    planned = planning.preview(loaded, wishes, stage)
    workers = "" if found.broker else f" on {text.count(place.embedded_workers(found), 'worker')}"
    lines = [*_tables(planned), *_destinations(loaded, planned), *_totals(planned, workers)]
    shared = _groups(planned)
    documents = [_document(t, shared.get((t.source, t.name), ())) for t in planned.tables]
    return Shown(lines, documents, [f"warning: {w}" for w in (*loaded.warnings, *moot)])


def _tables(planned: Plan) -> list[str]:
    head = ("source", "table", "cells", "shards", "expected", "departed clients' rows")
    shared = _groups(planned)
    rows = [
        (
            t.source,
            t.name + (f" (+{len(t.selected) - 1})" if len(t.selected) > 1 else ""),
            f"{t.cells:,}",
            f"{t.shards:,} shared" if (t.source, t.name) in shared else f"{t.shards:,}",
            text.duration(t.cost_s),
            "kept: incremental" if t.tree[0].incremental
            else "kept: full refresh" if planned.refreshes(t)
            else "removed" if t.authoritative
            else f"kept: {t.why_not_authoritative}",
        )
        for t in planned.tables
    ]  # fmt: skip
    return text.columns([head, *rows], right=(2, 3, 4))


def _destinations(loaded: LoadedSpec, planned: Plan) -> Iterator[str]:
    from loader.warehouses.registry import traits

    yield ""
    for d in planned.destinations:
        destination = loaded.spec.destination(d.name)
        found = traits(destination)
        guarantee = found.guarantee
        holds = f", holds the cursors of {', '.join(d.holds_state_of)}" if d.holds_state_of else ""
        mode = destination.write_mode if found.merges else "new files, none are removed"
        yield f"{d.name}: {mode}, {guarantee}{holds}"
        if destination.write_mode == "append" and guarantee == "at-least-once":
            yield f"  warning: after a crash '{d.name}' may hold rows twice"


def _totals(planned: Plan, workers: str) -> Iterator[str]:
    cost_s = sum(t.cost_s for t in planned.tables)
    yield (
        f"{text.count(len(planned.tables), 'table')}, {text.count(planned.cells, 'cell')}, "
        f"{text.count(planned.shards, 'shard')}; about {text.duration(cost_s)} of work{workers}"
    )


def _groups(planned: Plan) -> dict[tuple[str, str], tuple[str, ...]]:
    """Tables that share their shards with others → the names of all that do."""
    return {
        (t.source, t.name): tuple(one.name for one in group)
        for group in groups(planned.tables)
        for t in group
        if len(group) > 1
    }


def _document(t: PlannedTable, group: Sequence[str]) -> dict[str, Any]:
    """`shards` of tables of one `group` are the same ones."""
    return {
        "source": t.source,
        "table": t.name,
        "selected": t.selected,
        "cells": t.cells,
        "shards": t.shards,
        "cost_s": t.cost_s,
        "authoritative": t.authoritative,
        "why_not_authoritative": t.why_not_authoritative,
        **({"group": group} if group else {}),
    }


def status_of(run: str, wishes: Wishes, environment: Mapping[str, str]) -> Shown:
    """How far a run is or how it ended, what goes on in it, and who is there to work on it."""
    found = wishes.over(environment)
    stage = place.open_stage(found)
    now_is = status.status(stage, run)
    if not now_is.round:
        return Shown(status.lines(now_is), [now_is.to_json()])
    inside = detail.detail(stage, stage.plan(run, now_is.round), now())
    there = crew.crew(found.broker or _broker_of(stage, run, environment))
    said = detail.lines(inside)
    if not now_is.summary:  # a summary tells these itself
        said += [*text.problems(inside.problems), *crew.lines(there)]
    document = now_is.to_json() | inside.to_json() | there.to_json()
    return Shown(status.lines(now_is, said), [document])


def _broker_of(stage: Stage, run: str, environment: Mapping[str, str]) -> str:
    """As the run's own fleet document says, if we can read it here."""
    from sharder.run import fleet_of

    try:
        return fleet_of(stage, run, environment).broker
    except SharderError:  # its variables are set where it was submitted
        return ""


def runs(stage_url: str, environment: Mapping[str, str], limit: int = 0) -> Shown:
    """One line per run, the newest last; with `limit` only the newest so many."""
    stage = place.open_stage(Wishes(stage=stage_url).over(environment))
    found, older = listing.table(stage, now(), limit)
    if not found:
        return Shown([], [], [f"the stage {stage.store.url} holds no run"])
    notes = [f"{text.count(older, 'older run')} not shown; --limit 0 shows all"] if older else []
    return Shown(listing.lines(found), [one.to_json() for one in found], notes)
