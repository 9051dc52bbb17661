"""Which tables of a source a spec selects, as CloudQuery has it.

What patterns mean is `contracts.selection`; here every pattern must match something, and what is selected
by surprise is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from contracts.errors import InputError
from contracts.selection import kept, matcher
from contracts.spec import Source
from contracts.specfile import SpecDocument, nearest
from contracts.table import Table, trees


@dataclass(frozen=True)
class Tree:
    """A top-level table with its selected descendants, parents first."""

    tables: tuple[Table, ...]

    @property
    def top(self) -> Table:
        return self.tables[0]

    @property
    def selected(self) -> tuple[str, ...]:
        return tuple(t.name for t in self.tables)


def select(
    source: Source, tables: Sequence[Table], document: SpecDocument | None = None
) -> tuple[Tree, ...]:
    """The selected trees, in the source's order. `document` says where a wrong pattern stands.

    Raises InputError for a pattern that matches no table, and if nothing is left.
    """
    names = [t.name for t in tables]
    chosen = _matched(source, "tables", source.tables, names, document)
    skipped = _matched(source, "skip_tables", source.skip_tables, names, document)
    children_too = not source.skip_dependent_tables
    cut = (kept(t, chosen, skipped, children_too=children_too) for t in trees(tables).values())
    found = tuple(Tree(tables) for tables in cut if tables)
    if not found:
        message = f"source '{source.name}': `skip_tables` leaves none of the {len(names)} tables"
        raise _error(document, message, "leave a pattern out", ("spec", "skip_tables"))
    return found


def surprises(source: Source, tables: Sequence[Table], document: SpecDocument) -> Iterator[str]:
    """Warnings where a table is read, or left out, that the patterns do not show. After `select`."""
    names = [t.name for t in tables]
    parents = {t.name: t.parent for t in tables}
    chosen = _matched(source, "tables", source.tables, names, document)
    skipped = _matched(source, "skip_tables", source.skip_tables, names, document)
    told: set[str] = set()
    for i, pattern in enumerate(source.tables):
        match = matcher(pattern)
        for name in filter(match, names):
            line = [name, *_line(name, parents)]
            place = ("spec", "tables", i)
            if gone := [table for table in line if table in skipped]:
                if name == pattern:
                    why = "it" if gone[0] == name else f"its parent '{gone[0]}'"
                    message = f"'{name}' is left out, since `skip_tables` names {why}"
                    yield document.warning(message, place)
                continue
            extra = [table for table in line[1:] if table not in chosen and table not in told]
            if extra:
                told.update(extra)
                message = (
                    f"'{name}' brings its parent: {', '.join(extra)} is read, and written, too"
                )
                yield document.warning(message, place)


def _line(name: str, parents: dict[str, str | None]) -> Iterator[str]:
    """A table's parent, the parent's parent, and so on."""
    above = parents[name]
    while above is not None and above in parents:
        yield above
        above = parents[above]


def narrow(found: Sequence[Tree], patterns: Sequence[str]) -> tuple[Tree, ...]:
    """The trees cut down to the matching tables, their ancestors and their descendants."""
    matches = [matcher(p) for p in patterns]
    cut = (
        kept(
            tree.tables,
            {name for name in tree.selected if any(match(name) for match in matches)},
            set(),
            children_too=True,
        )
        for tree in found
    )
    return tuple(Tree(tables) for tables in cut if tables)


def _matched(
    source: Source,
    field: str,
    patterns: Sequence[str],
    names: Sequence[str],
    document: SpecDocument | None,
) -> set[str]:
    found: set[str] = set()
    for i, pattern in enumerate(patterns):
        match = matcher(pattern)
        matched = {name for name in names if match(name)}
        if not matched:
            verb = "has no table" if "*" not in pattern else "has no table that matches"
            message = f"source '{source.name}' {verb} '{pattern}'"
            raise _error(document, message, suggestion(source, pattern, names), ("spec", field, i))
        found |= matched
    return found


def suggestion(source: Source, pattern: str, names: Sequence[str]) -> str:
    """The nearest name, and where all of them are listed."""
    listing = f"`sharder tables {source.plugin}` lists all {len(names):,}"
    near = nearest(pattern.replace("*", ""), names)
    return f"did you mean '{near}'? {listing}" if near else listing


def _error(
    document: SpecDocument | None, message: str, hint: str, path: tuple[str | int, ...]
) -> InputError:
    return document.error(message, hint, path) if document else InputError(message, hint)
