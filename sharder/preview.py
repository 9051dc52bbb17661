"""Answers to questions: what would run, which tables there are, which runs. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from contracts.errors import InputError
from contracts.plan import Plan
from contracts.spec import Source as SourceSpec
from contracts.specfile import LoadedSpec, load
from contracts.table import Column, Table, to_json, trees
from contracts.types import encode
from sharder import check, place, planning, sources, status, text
from sharder.select import select
from sharder.wishes import Wishes, now
from worker.sources import registry
from worker.sources.base import Context, Source

SPEC_TABLES = "sharder tables spec.yml"


@dataclass(frozen=True)
class Shown:
    """An answer: `lines` for people, `documents` for programs; `notes` are said beside it."""

    lines: Sequence[str]
    documents: Sequence[Mapping[str, Any]]
    notes: Sequence[str] = ()


def plan(paths: Sequence[str], wishes: Wishes, environment: Mapping[str, str]) -> Shown:
    """What `submit` of this spec would do."""
    loaded = load(paths, environment, now())
    check.check(loaded)
    found = place.settle(wishes.over(environment), loaded.spec.fleet)
    stage = place.open_stage(found)
    planned = planning.preview(loaded, wishes, stage)
    workers = "" if found.broker else f" on {text.count(place.embedded_workers(found), 'worker')}"
    lines = [*_tables(planned), *_destinations(loaded, planned), *_totals(planned, workers)]
    documents = [_document(planned, i) for i in range(len(planned.tables))]
    return Shown(lines, documents, [f"warning: {w}" for w in loaded.warnings])


def _tables(planned: Plan) -> list[str]:
    head = ("source", "table", "cells", "shards", "expected", "departed clients' rows")
    rows = [
        (
            t.source,
            t.name + (f" (+{len(t.selected) - 1})" if len(t.selected) > 1 else ""),
            f"{t.cells:,}",
            f"{t.shards:,}",
            text.duration(t.cost_s),
            "kept: incremental" if t.tree[0].incremental
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
        guarantee = traits(destination.plugin).guarantee
        holds = f", holds the cursors of {', '.join(d.holds_state_of)}" if d.holds_state_of else ""
        yield f"{d.name}: {destination.write_mode}, {guarantee}{holds}"
        if destination.write_mode == "append" and guarantee == "at-least-once":
            yield f"  warning: after a crash '{d.name}' may hold rows twice"


def _totals(planned: Plan, workers: str) -> Iterator[str]:
    cost_s = sum(t.cost_s for t in planned.tables)
    yield (
        f"{text.count(len(planned.tables), 'table')}, {text.count(planned.cells, 'cell')}, "
        f"{text.count(planned.shards, 'shard')}; about {text.duration(cost_s)} of work{workers}"
    )


def _document(planned: Plan, i: int) -> dict[str, Any]:
    t = planned.tables[i]
    return {
        "source": t.source,
        "table": t.name,
        "selected": t.selected,
        "cells": t.cells,
        "shards": t.shards,
        "cost_s": t.cost_s,
        "authoritative": t.authoritative,
        "why_not_authoritative": t.why_not_authoritative,
    }


def tables(names: Sequence[str], environment: Mapping[str, str]) -> Shown:
    """Tables of sources by plugin name, or of those that specs select."""
    found: list[tuple[str, Table]] = []
    for name in names:
        if name in registry.names() and not Path(name).exists():
            found += [(name, t) for t in _of_plugin(name)]
        else:
            found += _of_spec(name, environment)
    lines = [line for source, table in found for line in _described(source, table)]
    lines.append(text.count(len(found), "table"))
    return Shown(lines, [{"source": s, **to_json(t)} for s, t in found])


def _of_plugin(name: str) -> Sequence[Table]:
    context = Context(name, now, lambda _s: None, lambda: False)
    try:
        registry.options(name).model_validate({})
    except ValidationError as error:
        raise InputError(
            f"the tables of '{name}' depend on its options", f"name a spec instead: {SPEC_TABLES}"
        ) from error
    source = registry.open_source(name, {}, context)
    try:
        return _ordered(source.tables())
    finally:
        source.close()


def _of_spec(path: str, environment: Mapping[str, str]) -> Iterator[tuple[str, Table]]:
    loaded = load([path], environment, now(), relaxed=True)
    check.check(loaded)
    with sources.opened(loaded, loaded.spec.sources) as opened:
        for spec in loaded.spec.sources:
            yield from ((spec.name, t) for t in _selected(spec, opened[spec.name], loaded))


def _selected(spec: SourceSpec, source: Source, loaded: LoadedSpec) -> list[Table]:
    chosen = select(spec, source.tables(), loaded.document("source", spec.name))
    return [t for tree in chosen for t in tree.tables]


def _ordered(found: Sequence[Table]) -> list[Table]:
    """Every tree in one piece, parents first."""
    return [t for tree in trees(found).values() for t in tree]


def _described(source: str, table: Table) -> Iterator[str]:
    marks = [f"child of {table.parent}"] if table.parent else []
    marks += ["incremental"] if table.incremental else []
    yield f"{source}  {table.name}" + (f" ({', '.join(marks)})" if marks else "")
    for c in table.columns:
        flags = [f for f in ("primary_key", "incremental_key") if getattr(c, f)]
        yield f"    {c.name}  {_type(c)}" + "".join(f"  {f.replace('_', ' ')}" for f in flags)


def _type(column: Column) -> str:
    found = encode(column.type)
    return found if isinstance(found, str) else orjson.dumps(found).decode()


def status_of(run: str, stage_url: str, environment: Mapping[str, str]) -> Shown:
    stage = place.open_stage(Wishes(stage=stage_url).over(environment))
    found = status.status(stage, run)
    return Shown(status.lines(found), [found.to_json()])


def runs(stage_url: str, environment: Mapping[str, str]) -> Shown:
    """One line per run, the newest last."""
    stage = place.open_stage(Wishes(stage=stage_url).over(environment))
    found = status.table(stage)
    if not found:
        return Shown([], [], [f"the stage {stage.store.url} holds no run"])
    rows = [("run", "state", "started", "sources", "rows", "cells failed")]
    rows += [
        (
            s.run,
            s.state,
            f"{s.started:%Y-%m-%d %H:%M}" if s.started else "",
            ", ".join(s.sources),
            f"{s.summary.rows:,}" if s.summary else "",
            f"{s.summary.cells.failed:,}" if s.summary else "",
        )
        for s in found
    ]
    return Shown(text.columns(rows, right=(4, 5)), [s.to_json() for s in found])
