"""What a round will do: which tables for which clients, cut into shards, and in which order.

Pure: specs, opened sources, cursors and histories come in; the plan, the lines of the client files and
a lazy sequence of shards go out. Time and memory grow with tables, ranges and shards, not with cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from contracts import layout
from contracts.cursors import Cursors
from contracts.errors import InputError
from contracts.history import History
from contracts.plan import (
    Plan,
    PlannedDestination,
    PlannedSource,
    PlannedTable,
    Range,
    Shard,
)
from contracts.spec import Source as SourceSpec
from contracts.spec import SourceLimits, Spec
from contracts.specfile import LoadedSpec, nearest
from contracts.table import with_cq_columns
from sharder.clients import ClientFile
from sharder.costs import cutter, known_seconds, mean_seconds
from sharder.pack import Packed, count, pack
from sharder.select import Tree, matcher, narrow, select
from worker.sources.base import Clients, Source

Histories = Callable[[str, str], History | None]  # (source, top-level table)


@dataclass(frozen=True)
class Narrowing:
    """`--source`, `--table` and `--client`: names or globs; empty means all."""

    sources: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()

    @property
    def why(self) -> str:
        """Why such a run does not know who has departed; empty if it was not narrowed."""
        flags = {"--source": self.sources, "--table": self.tables, "--client": self.clients}
        used = " and ".join(flag for flag, patterns in flags.items() if patterns)
        return f"the run was narrowed by {used}" if used else ""


@dataclass(frozen=True)
class Planned:
    """A plan that has not been written yet. Both sequences can be read again and hold nothing."""

    plan: Plan
    clients: Mapping[str, Iterable[str]]  # source → lines of its client file; empty for a retry
    packed: Sequence[Packed] = field(repr=False)  # per table of the plan

    def shards(self) -> Iterator[Shard]:
        """All shards, by number."""
        for table, packed in zip(self.plan.tables, self.packed, strict=True):
            for number, piece in enumerate(packed, start=table.first):
                yield Shard(
                    layout.shard_id(self.plan.round, number),
                    table.source,
                    table.name,
                    piece.clients,
                    round(piece.cost_s, 3),
                    piece.slice,
                )


def plan_round(
    loaded: LoadedSpec,
    sources: Mapping[str, Source],
    *,
    run: str,
    now: datetime,
    cursors: Mapping[str, Cursors],
    histories: Histories = lambda _source, _table: None,
    narrowing: Narrowing = Narrowing(),
    full_refresh: Sequence[str] = (),
) -> Planned:
    """The first round of a run. `sources`: opened, by name, at least those that `narrowing` leaves;
    `cursors`: by destination, as `prepare` found them.

    Raises InputError for names that match nothing.
    """
    spec = loaded.spec
    chosen = chosen_sources(spec, narrowing.sources)
    files: dict[str, ClientFile] = {}
    drafts: list[_Draft] = []
    names: set[str] = set()
    for source in chosen:
        trees = select(
            source, sources[source.name].tables(), loaded.document("source", source.name)
        )
        names.update(name for tree in trees for name in tree.selected)
        file = files[source.name] = ClientFile(source.name, narrowing.clients)
        kept = narrow(trees, narrowing.tables) if narrowing.tables else trees
        found = _drafts(source.name, sources[source.name], kept, file, narrowing)
        drafts += _packed(found, sources[source.name], file, histories, spec.fleet.shard_seconds)
    _all_matched("--table", narrowing.tables, names, set())
    matched = {pattern for file in files.values() for pattern in file.matched}
    _all_matched("--client", narrowing.clients, (), matched)
    tables, packed = _numbered(drafts)
    plan = Plan(
        run=run,
        round=1,
        created=now,
        sync_time=sync_time(now, cursors.values(), [s.name for s in chosen]),
        format=spec.fleet.format,
        part_size=spec.fleet.part_size,
        attempts=spec.fleet.attempts,
        deadline_s=spec.fleet.deadline,
        full_refresh=tuple(full_refresh),
        sources=tuple(_planned_source(loaded, s, len(files[s.name])) for s in chosen),
        destinations=_destinations(loaded, chosen),
        tables=tables,
        shards=sum(t.shards for t in tables),
        cells=sum(t.cells for t in tables),
    )
    return Planned(plan, files, packed)


def chosen_sources(spec: Spec, patterns: Sequence[str]) -> tuple[SourceSpec, ...]:
    """The sources of the spec that `--source` leaves. Raises InputError for one that matches none."""
    names = [s.name for s in spec.sources]
    _all_matched("--source", patterns, names, set())
    matches = [matcher(p) for p in patterns]
    return tuple(s for s in spec.sources if not matches or any(m(s.name) for m in matches))


def sync_time(now: datetime, cursors: Iterable[Cursors], sources: Sequence[str]) -> datetime:
    """Now, but later than every earlier sync of these sources, whatever the clocks of this fleet say."""
    last = [c.last_sync[s] + timedelta(microseconds=1) for c in cursors for s in sources if s in c.last_sync]  # fmt: skip
    return max([now, *last])


@dataclass(frozen=True)
class _Draft:
    """A table before it has shard numbers."""

    source: str
    tree: Tree
    clients: tuple[Range, ...]
    why_not: str
    packed: Packed | None = None


def _drafts(
    name: str, source: Source, trees: Sequence[Tree], file: ClientFile, narrowing: Narrowing
) -> list[_Draft]:
    """Every table with its clients. A table to which `--client` leaves nobody is left out."""
    drafts: list[_Draft] = []
    for tree in trees:
        clients = source.clients(tree.top)
        lines = file.add(clients)
        if lines or not narrowing.clients:
            drafts.append(_Draft(name, tree, lines, _why_not(clients, lines, narrowing)))
    return drafts


def _why_not(clients: Clients, lines: Sequence[Range], narrowing: Narrowing) -> str:
    """Why clients outside the plan may not count as departed; empty if they do."""
    if narrowing.why:
        return narrowing.why
    if not clients.whole:
        return clients.why_not or "the source could not list all of its clients"
    return "" if lines else "the list of clients is empty"


def _packed(
    drafts: Sequence[_Draft],
    source: Source,
    file: ClientFile,
    histories: Histories,
    target_s: float,
) -> Iterator[_Draft]:
    known = {d.tree.top.name: histories(d.source, d.tree.top.name) for d in drafts}
    # One pass over the ids finds the lines of the slow clients of all tables.
    slow = {client for history in known.values() if history for client in history.heavy}
    lines = file.lines_of(slow.__contains__) if slow else {}
    for draft in drafts:
        history = known[draft.tree.top.name]
        costs = known_seconds(source, draft.tree, draft.clients, file, history, lines)
        packed = pack(
            draft.clients,
            mean_s=mean_seconds(history, draft.tree),
            known_s=costs,
            target_s=target_s,
            cut=cutter(source, draft.tree, file),
        )
        yield replace(draft, packed=packed)


def _numbered(drafts: Iterable[_Draft]) -> tuple[tuple[PlannedTable, ...], tuple[Packed, ...]]:
    """Tables with the longest shard first; their shards numbered one after the other."""
    tables: list[PlannedTable] = []
    packings: list[Packed] = []
    first = 0
    for draft in sorted(drafts, key=lambda d: -_heaviest(d)):
        packed = draft.packed
        assert packed
        tables.append(
            PlannedTable(
                source=draft.source,
                name=draft.tree.top.name,
                tree=tuple(with_cq_columns(t) for t in draft.tree.tables),
                selected=draft.tree.selected,
                first=first,
                shards=packed.shards,
                cells=count(draft.clients) * len(draft.tree.selected),
                clients=draft.clients,
                authoritative=not draft.why_not,
                why_not_authoritative=draft.why_not,
                cost_s=round(packed.cost_s, 3),
            )
        )
        packings.append(packed)
        first += packed.shards
    return tuple(tables), tuple(packings)


def _heaviest(draft: _Draft) -> float:
    return draft.packed.heaviest_s if draft.packed else 0.0


def _planned_source(loaded: LoadedSpec, source: SourceSpec, clients: int) -> PlannedSource:
    limits = loaded.spec.fleet.sources.get(source.name, SourceLimits())
    return PlannedSource(
        name=source.name,
        path=source.path,
        spec=loaded.number("source", source.name),
        destinations=source.destinations,
        clients=clients,
        attempts=limits.attempts,
        timeout_s=limits.timeout,
        rate_per_s=limits.rate_limit,
        max_clients_in_flight=limits.max_clients_in_flight,
    )


def _destinations(
    loaded: LoadedSpec, sources: Sequence[SourceSpec]
) -> tuple[PlannedDestination, ...]:
    """Those that the sources write to or keep state in; state holders last, since they load last."""
    holds = {
        d.name: tuple(
            s.name for s in sources if s.backend_options and s.backend_options.destination == d.name
        )
        for d in loaded.spec.destinations
    }
    used = {name for s in sources for name in s.destinations}
    found = [
        PlannedDestination(
            name=d.name,
            path=d.path,
            spec=loaded.number("destination", d.name),
            holds_state_of=holds[d.name],
        )
        for d in loaded.spec.destinations
        if d.name in used or holds[d.name]
    ]
    return tuple(sorted(found, key=lambda d: bool(d.holds_state_of)))


def _all_matched(
    flag: str, patterns: Sequence[str], names: Iterable[str], matched: set[str]
) -> None:
    known = sorted(names)
    for pattern in patterns:
        if pattern in matched or any(map(matcher(pattern), known)):
            continue
        near = nearest(pattern.replace("*", ""), known)
        hint = f"did you mean '{near}'?" if near else ""
        raise InputError(f"{flag} {pattern} matches nothing in this spec", hint)
