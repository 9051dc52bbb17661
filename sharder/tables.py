"""`sharder tables`: of a plugin's name a list; of spec files documents in CloudQuery's layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
from pydantic import ValidationError

from contracts.errors import InputError, Permanent
from contracts.layout import escape
from contracts.specfile import LoadedSpec, load
from contracts.table import Column, Table, to_json, trees
from contracts.types import encode
from sharder import check, sources, tabledocs, text
from sharder.preview import Shown
from sharder.select import select
from sharder.wishes import now
from worker.sources import registry
from worker.sources.base import Context, Facts, Source, facts_of

OUTPUT = "cq-docs"  # CloudQuery's default


@dataclass(frozen=True)
class Wish:
    """`output_dir` empty: specs go to CloudQuery's default, names are only printed."""

    output_dir: str = ""
    format: str = "json"
    selected: bool = False  # only what the spec selects
    printed: bool = False  # as lines on stdout, whatever else was asked for


@dataclass(frozen=True)
class Found:
    """The tables of one source, every tree in one piece, parents first."""

    source: str
    tables: Sequence[Table]
    facts: Mapping[str, Facts]

    def known(self, table: Table) -> Facts:
        return self.facts[table.name]


def tables(names: Sequence[str], wish: Wish, environment: Mapping[str, str]) -> Shown:
    """Tables of plugins by name, or of the sources of specs. Raises InputError, Permanent."""
    shown: list[Found] = []
    written: list[str] = []
    for name in names:
        is_plugin = name in registry.names() and not Path(name).exists()
        for found in [_of_plugin(name)] if is_plugin else _of_spec(name, wish, environment):
            if wish.printed or (is_plugin and not wish.output_dir):
                shown.append(found)
            else:
                written += _written(found, wish)
    rows = [(f.source, t) for f in shown for t in f.tables]
    lines = [line for source, table in rows for line in _described(source, table)]
    lines += [text.count(len(rows), "table")] if shown else []
    return Shown([*lines, *written], [{"source": s, **to_json(t)} for s, t in rows])


def _of_plugin(name: str) -> Found:
    context = Context(name, now, lambda _s: None, lambda: False)
    try:
        registry.options(name).model_validate({})
    except ValidationError as error:
        raise InputError(
            f"the tables of '{name}' depend on its options",
            "name a spec instead: sharder tables spec.yml",
        ) from error
    source = registry.open_source(name, {}, context)
    try:
        return _found(name, source, source.tables())
    finally:
        source.close()


def _of_spec(path: str, wish: Wish, environment: Mapping[str, str]) -> Iterator[Found]:
    loaded = load([path], environment, now(), relaxed=True)
    check.check(loaded)
    if not loaded.spec.sources:
        raise InputError("the spec has no source", "add a document with `kind: source`", path)
    with sources.opened(loaded, loaded.spec.sources) as opened:
        for spec in loaded.spec.sources:
            source = opened[spec.name]
            yield _found(spec.name, source, _chosen(loaded, spec.name, source, wish))


def _chosen(loaded: LoadedSpec, name: str, source: Source, wish: Wish) -> Sequence[Table]:
    if not wish.selected:
        return source.tables()
    spec = loaded.spec.source(name)
    found = select(spec, source.tables(), loaded.document("source", name))
    return [t for tree in found for t in tree.tables]


def _found(name: str, source: Source, listed: Sequence[Table]) -> Found:
    ordered = [t for tree in trees(listed).values() for t in tree]
    return Found(name, ordered, {t.name: facts_of(source, t) for t in ordered})


def _written(found: Found, wish: Wish) -> Iterator[str]:
    """Write one source's documents; a line that says where. Raises Permanent."""
    folder = Path(wish.output_dir or OUTPUT) / escape(found.source)
    if wish.format == "json":
        files = {"__tables.json": tabledocs.as_json(found.tables, found.known)}
        where = folder / "__tables.json"
    else:
        pages = tabledocs.as_pages(found.source, found.tables, found.known)
        files = {name: page.encode() for name, page in pages.items()}
        where = folder / "README.md"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
    except OSError as error:
        raise Permanent(f"{folder} cannot be written: {error.strerror}") from error
    yield f"{found.source}: {text.count(len(found.tables), 'table')} in {where}"


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
