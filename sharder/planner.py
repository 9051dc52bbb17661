"""What a round will do: which tables for which clients, cut into shards, and in which order.

Pure: specs, opened sources, cursors and histories come in; the plan, the lines of the client files and
a lazy sequence of shards go out. Time and memory grow with tables, ranges and shards, not with cells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from contracts import layout
from contracts.cursors import Cursors
from contracts.errors import InputError
from contracts.observe import trace
from contracts.plan import (
    Plan,
    PlannedDestination,
    PlannedSource,
    PlannedTable,
    Range,
    Shard,
    groups,
    version_of,
)
from contracts.selection import matcher
from contracts.spec import PluginSettings, SourceLimits, Spec
from contracts.spec import Source as SourceSpec
from contracts.specfile import LoadedSpec, nearest
from contracts.table import with_cq_columns
from sharder.clients import ClientFile
from sharder.deal import Part
from sharder.group import Bundle, Draft, Histories, bundles
from sharder.pack import Packed, count
from sharder.select import Tree, narrow, select
from worker.sources import registry
from worker.sources.base import Clients, Source


@dataclass(frozen=True)
class Narrowing:
    """`--source`, `--table` and `--client`: names or globs; empty means all. `part`: `--shard`."""

    sources: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()
    part: Part | None = None

    @property
    def why(self) -> str:
        """Why such a run does not know who has departed; empty if it was not narrowed."""
        flags: Mapping[str, object] = {
            "--source": self.sources,
            "--table": self.tables,
            "--client": self.clients,
            "--shard": self.part,
        }
        used = " and ".join(flag for flag, given in flags.items() if given)
        return f"the run was narrowed by {used}" if used else ""


@dataclass(frozen=True)
class Planned:
    """A plan that has not been written yet. Both sequences can be read again and hold nothing."""

    plan: Plan
    clients: Mapping[str, Iterable[str]]  # source → lines of its client file; empty for a retry
    packed: Sequence[Packed] = field(repr=False)  # per table of the plan, or group of tables
    dealt: int = 0  # top-level tables that `--shard` dealt out, ours among them

    def shards(self) -> Iterator[Shard]:
        """All shards, by number."""
        for tables, packed in zip(groups(self.plan.tables), self.packed, strict=True):
            first = tables[0]
            for number, piece in enumerate(packed, start=first.first):
                yield Shard(
                    layout.shard_id(self.plan.round, number),
                    first.source,
                    first.name,
                    piece.clients,
                    round(piece.cost_s, 3),
                    piece.slice,
                    len(tables),
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
    sync_id: str = "",
    migrate: bool = True,
) -> Planned:
    """The first round of a run. `sources`: opened, by name, at least those that `narrowing` leaves;
    `cursors`: by destination, as `prepare` found them; `full_refresh`: tables, globs.

    Raises InputError for names that match nothing.
    """
    spec = loaded.spec
    chosen = chosen_sources(spec, narrowing.sources)
    files: dict[str, ClientFile] = {}
    packed_up: list[Bundle] = []
    trees = {
        s.name: select(s, sources[s.name].tables(), loaded.document("source", s.name))
        for s in chosen
    }
    names = {name for found in trees.values() for tree in found for name in tree.selected}
    _all_matched("--table", narrowing.tables, names, set())
    _all_matched("--full-refresh", full_refresh, names, set())
    keys = [(name, tree.top.name) for name, found in trees.items() for tree in found]
    ours = narrowing.part.deal(keys) if narrowing.part else frozenset(keys)
    for name, found in trees.items():
        file = files[name] = ClientFile(name, narrowing.clients)
        mine = [tree for tree in found if (name, tree.top.name) in ours]
        kept = narrow(mine, narrowing.tables) if narrowing.tables else mine
        drafts = _drafts(name, sources[name], kept, file, narrowing, full_refresh)
        target_s = spec.fleet.shard_seconds
        packed_up += bundles(drafts, sources[name], file, histories, target_s)
    matched = {pattern for file in files.values() for pattern in file.matched}
    if narrowing.part and not matched.issuperset(narrowing.clients):
        matched |= _matched_elsewhere(trees, sources, narrowing.clients)
    _all_matched("--client", narrowing.clients, (), matched)
    tables, packed = _numbered(packed_up)
    plan = Plan(
        version=version_of(tables),
        run=run,
        round=1,
        created=now,
        sync_time=sync_time(now, cursors.values(), [s.name for s in chosen]),
        format=spec.fleet.format,
        part_size=spec.fleet.part_size,
        attempts=spec.fleet.attempts,
        shard_timeout_s=spec.fleet.shard_timeout,
        deadline_s=spec.fleet.deadline,
        sync_id=sync_id,
        part=str(narrowing.part or ""),
        clients=narrowing.clients,
        migrate=migrate,
        sources=tuple(_planned_source(loaded, s, len(files[s.name])) for s in chosen),
        destinations=_destinations(loaded, chosen),
        tables=tables,
        shards=sum(p.shards for p in packed),
        cells=sum(t.cells for t in tables),
    )
    return Planned(plan, files, packed, len(keys))


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


def _drafts(
    name: str,
    source: Source,
    trees: Sequence[Tree],
    file: ClientFile,
    narrowing: Narrowing,
    full_refresh: Sequence[str],
) -> list[Draft]:
    """Every table with its clients. A table to which `--client` leaves nobody is left out."""
    refreshes = [matcher(pattern) for pattern in full_refresh]
    drafts: list[Draft] = []
    for tree in trees:
        clients = source.clients(tree.top)
        lines = file.add(clients)
        if lines or not narrowing.clients:
            refreshed = any(hit(t) for hit in refreshes for t in tree.selected)
            why_not = _why_not(clients, lines, narrowing)
            drafts.append(Draft(name, tree, lines, why_not, refreshed))
    return drafts


def _matched_elsewhere(
    trees: Mapping[str, Sequence[Tree]], sources: Mapping[str, Source], patterns: Sequence[str]
) -> set[str]:
    """Patterns that name a client of some table, also of those that other shards were dealt."""
    found: set[str] = set()
    for name, planted in trees.items():
        file = ClientFile(name, patterns)
        for tree in planted:
            file.add(sources[name].clients(tree.top))
        found |= file.matched
    return found


def _why_not(clients: Clients, lines: Sequence[Range], narrowing: Narrowing) -> str:
    """Why clients outside the plan may not count as departed; empty if they do."""
    if narrowing.why:
        return narrowing.why
    if not clients.whole:
        return clients.why_not or "the source could not list all of its clients"
    return "" if lines else "the list of clients is empty"


def _numbered(found: Iterable[Bundle]) -> tuple[tuple[PlannedTable, ...], tuple[Packed, ...]]:
    """Tables with the longest shard first; their shards numbered one after the other."""
    tables: list[PlannedTable] = []
    packings: list[Packed] = []
    first = 0
    for bundle in sorted(found, key=lambda b: -b.packed.heaviest_s):
        packed = bundle.packed
        tables += [
            PlannedTable(
                source=draft.source,
                name=draft.name,
                tree=tuple(with_cq_columns(t) for t in draft.tree.tables),
                selected=draft.tree.selected,
                first=first,
                shards=packed.shards,
                cells=count(draft.clients) * len(draft.tree.selected),
                clients=draft.clients,
                authoritative=not draft.why_not,
                why_not_authoritative=draft.why_not,
                cost_s=round(cost_s, 3),
                full_refresh=draft.full_refresh,
            )
            for draft, cost_s in zip(bundle.drafts, bundle.costs_s, strict=True)
        ]
        packings.append(packed)
        first += packed.shards
    return tuple(tables), tuple(packings)


def _planned_source(loaded: LoadedSpec, source: SourceSpec, clients: int) -> PlannedSource:
    limits = loaded.spec.fleet.sources.get(source.name, SourceLimits())
    program = registry.home(source) == "plugin"
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
        version=source.version,
        tables=source.tables,
        otel=trace.url(source.otel_endpoint, insecure=source.otel_endpoint_insecure),
        plugin=loaded.spec.fleet.plugins.get(source.name, PluginSettings()) if program else None,
        state_table=source.backend_options.table_name if program and source.backend_options else "",
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
            send_sync_summary=d.send_sync_summary,
            sync_group_id=d.sync_group_id,
            version=d.version,
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
