"""The plan of a round: every shard, written before the first task is sent.

The index holds what is true per source and table (schemas, client ranges, shard numbers); chunks of
1,000 shards hold the shards themselves, one JSON line each. Clients are named by ranges of the
source's client file, so that a plan grows with the number of shards, not of cells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Self, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict

from contracts import layout
from contracts.documents import Document
from contracts.errors import InputError, Permanent
from contracts.spec import PluginSettings
from contracts.table import Table, TableDocument

MOST = 10**8  # shards of a plan, or clients of a source: beyond that it is no number of ours
Range = tuple[int, int]  # [start, stop) of lines in clients/<source>.jsonl


@dataclass(frozen=True)
class Slice:
    """One of `of` parts of a single huge cell; `bounds` is the source's own JSON."""

    n: int
    of: int
    bounds: Mapping[str, Any]


@dataclass(frozen=True)
class Shard:
    """The work of one task: one top-level table with its descendants, or a group of them, over many clients.

    `tables` counts the top-level tables of a group, whose names are in the index (`Plan.tables_of`); `table` is
    the first of them.
    """

    id: str
    source: str
    table: str
    clients: tuple[Range, ...]
    cost_s: float = 0.0
    slice: Slice | None = None
    tables: int = 1

    @property
    def cells(self) -> int:
        return sum(stop - start for start, stop in self.clients)

    def to_line(self) -> bytes:
        document: dict[str, Any] = {
            "id": self.id,
            "source": self.source,
            "table": self.table,
            "clients": self.clients,
            "cost_s": round(self.cost_s, 3),
        }
        if self.tables > 1:
            document["tables"] = self.tables
        if self.slice:
            document["slice"] = {
                "n": self.slice.n,
                "of": self.slice.of,
                "bounds": dict(self.slice.bounds),
            }
        return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def from_line(cls, line: bytes) -> Shard:
        try:
            d = orjson.loads(line)
            slice_ = Slice(**d["slice"]) if "slice" in d else None
            if slice_ and not (
                _is_count(slice_.n) and _is_count(slice_.of) and isinstance(slice_.bounds, dict)
            ):
                raise ValueError("its slice is none")
            ranges = tuple((a, b) for a, b in d["clients"])
            _check_ranges(ranges)
            names, tables = (d["id"], d["source"], d["table"]), d.get("tables", 1)
            if not all(isinstance(name, str) for name in names):
                raise ValueError("its names are no texts")
            if not (_is_count(tables) and tables):
                raise ValueError("its tables are no number")
            layout.parse_shard_id(d["id"])
            return cls(*names, ranges, float(d.get("cost_s", 0.0)), slice_, tables)
        except (orjson.JSONDecodeError, InputError, KeyError, TypeError, ValueError) as error:
            raise Permanent(f"a line of the plan is not a shard: {error}") from error


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST


def _check_ranges(ranges: Iterable[Range]) -> None:
    """Raises ValueError unless they ascend and do not overlap."""
    at = 0
    for start, stop in ranges:
        if not (_is_count(start) and _is_count(stop) and at <= start <= stop):
            raise ValueError("its clients are no ascending ranges")
        at = stop


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)


class PlannedSource(_Model):
    """A source of the round; `spec` is the number of its document on the stage.

    Limits come from the fleet document (`sources.NAME`); 0: none, or the source's own default.
    """

    name: str
    path: str
    spec: int
    destinations: tuple[str, ...]
    clients: int  # lines of clients/<source>.jsonl
    attempts: int = 0  # per shard; 0: as the plan says
    timeout_s: float = 0.0  # of one attempt at a shard; 0: as the plan says
    rate_per_s: float = 0.0
    max_clients_in_flight: int = 0
    version: str = ""  # as in the spec, like `tables`: for the summary
    tables: tuple[str, ...] = ()
    otel: str = ""  # URL to which traces of this source go, besides where the programs send theirs
    plugin: PluginSettings | None = None  # of a source that is a program; left out for all others
    state_table: str = ""  # of `backend_options`, for such a source


class PlannedTable(_Model):
    """A top-level table with its descendants (parents first), schemas frozen, `_cq_*` included.

    `selected` names the tables of the tree that are written; the others are only walked through.
    Its shards are numbers `first` to `first + shards - 1` of the round; tables of a group have the same
    ones, and the same clients.
    """

    source: str
    name: str
    tree: tuple[TableDocument, ...]
    selected: tuple[str, ...]
    first: int
    shards: int
    cells: int
    clients: tuple[Range, ...]
    authoritative: bool
    why_not_authoritative: str = ""
    cost_s: float = 0.0
    full_refresh: bool = False  # its cursors are ignored and nothing of it is deleted

    def table(self, name: str) -> Table:
        """Raises KeyError if the tree has no such table."""
        for t in self.tree:
            if t.name == name:
                return t
        raise KeyError(name)

    def shard_ids(self, round_: int) -> Iterator[str]:
        for n in range(self.first, self.first + self.shards):
            yield layout.shard_id(round_, n)


def _common(table: PlannedTable) -> tuple[object, ...]:
    """What tables of a group have in common, besides the first of their shards."""
    return table.source, table.shards, table.clients, table.full_refresh


class PlannedDestination(_Model):
    """A destination of the round; `holds_state_of` names the sources whose cursors live in it."""

    name: str
    path: str
    spec: int
    holds_state_of: tuple[str, ...] = ()
    send_sync_summary: bool = False
    sync_group_id: str = ""  # as in the spec, its placeholders not yet filled
    version: str = ""


def _check_tree(planned: PlannedTable) -> None:
    """Each table once, parents first: whoever walks up a tree gets to its end."""
    names, above = {t.name for t in planned.tree}, set[str]()
    for t in planned.tree:
        if t.name in above:
            raise ValueError(f"the tree of table '{planned.name}' has '{t.name}' twice")
        if t.parent in names and t.parent not in above:
            raise ValueError(f"the tree of table '{planned.name}' has '{t.name}' before its parent")
        above.add(t.name)


N = TypeVar("N", PlannedSource, PlannedDestination)


def version_of(tables: Iterable[PlannedTable]) -> int:
    """The format version of a plan of these tables: 2 if some of them share shards, which programs that
    read up to 1 would take for shards of the first one alone.
    """
    return 1 if all(len(group) == 1 for group in groups(tables)) else 2


def groups(tables: Iterable[PlannedTable]) -> tuple[tuple[PlannedTable, ...], ...]:
    """Tables that share their shards together, each of the others alone; in the given order."""
    found: dict[tuple[str, int], list[PlannedTable]] = {}
    for n, table in enumerate(tables):
        key = ("shards", table.first) if table.shards else ("none", n)
        found.setdefault(key, []).append(table)
    return tuple(map(tuple, found.values()))


class Plan(Document):
    """plan/<round>/index.json. Shard numbers run from 0 in the order in which they are fed.

    A plan is written in the oldest version that can say it (`version_of`).
    """

    kind: ClassVar[str] = "plan"
    current: ClassVar[int] = 2

    run: str
    round: int
    created: datetime
    sync_time: datetime
    format: str = "parquet"
    part_size: int = 128 << 20
    attempts: int = 3
    shard_timeout_s: float = 0.0  # of one attempt, where the source says nothing; 0: none
    deadline_s: float = 0.0
    full_refresh: tuple[str, ...] = ()  # sources; of plans from before tables could be named
    sync_id: str = ""  # CloudQuery's invocation id; empty: the run's id
    part: str = ""  # `n/m` of `--shard`: the plan has only every m-th table; empty: all of them
    clients: tuple[str, ...] = ()  # of `--client`: clients that none of them matches are left out
    migrate: bool = True  # False: tables must be there and fit; nothing is created or altered
    asked: Mapping[str, tuple[str, ...]] | None = None  # flags that shaped it; None: not known
    sources: tuple[PlannedSource, ...]
    destinations: tuple[PlannedDestination, ...]
    tables: tuple[PlannedTable, ...]
    shards: int
    cells: int

    @classmethod
    def from_bytes(cls, data: bytes, key: str = "") -> Self:
        """Also raises Permanent where numbers do not fit together: memory is asked for by them."""
        plan = super().from_bytes(data, key)
        try:
            plan.check()
        except ValueError as error:
            raise Permanent(f"{key or 'document'} is not a valid plan: {error}") from error
        return plan

    def check(self) -> None:
        """Raises ValueError where its parts do not fit together."""
        layout.check_run(self.run)
        if not (_is_count(self.shards) and _is_count(self.round)):
            raise ValueError("its numbers are too large")
        for table in self.tables:
            _check_ranges(table.clients)
            if not (_is_count(table.first) and _is_count(table.shards)):
                raise ValueError(f"the shards of table '{table.name}' have no numbers")
            _check_tree(table)
            self.source(table.source)
        for first, *others in groups(self.tables):
            for table in others:
                if _common(table) != _common(first):
                    raise ValueError(f"table '{table.name}' has the shards of '{first.name}'")
        for source in self.sources:
            for name in source.destinations:
                self.destination(name)

    def source(self, name: str) -> PlannedSource:
        return self._named(self.sources, name, "source")

    def timeout_s(self, source: str) -> float:
        """The longest time for one attempt at a shard of the source; 0: none."""
        return self.source(source).timeout_s or self.shard_timeout_s

    def attempts_of(self, source: str) -> int:
        """How many attempts a shard of the source may have."""
        return self.source(source).attempts or self.attempts

    def loaded_into(self, table: PlannedTable) -> tuple[str, ...]:
        """The destinations that take a load of the table: those of its rows, and the one of its cursors,
        which gets nothing else if the source does not write to it.
        """
        written = self.source(table.source).destinations
        incremental = any(t.incremental for t in table.tree)
        return written + tuple(
            d.name
            for d in self.destinations
            if incremental and table.source in d.holds_state_of and d.name not in written
        )

    def destination(self, name: str) -> PlannedDestination:
        return self._named(self.destinations, name, "destination")

    def _named(self, all_: Iterable[N], name: str, noun: str) -> N:
        for one in all_:
            if one.name == name:
                return one
        raise Permanent(f"the plan of run {self.run}, round {self.round}, has no {noun} '{name}'")

    def refreshes(self, table: PlannedTable) -> bool:
        """Whether the table is read anew from its beginning."""
        return table.full_refresh or table.source in self.full_refresh

    def tables_of(self, shard: Shard) -> tuple[PlannedTable, ...]:
        """The top-level tables of a shard, in the order in which they are read.

        Raises Permanent if the plan has no such table, or group of so many.
        """
        first = self.table(shard.source, shard.table)
        if shard.tables == 1:
            return (first,)
        found = tuple(t for t in self.tables if t.first == first.first and t.shards)
        if len(found) != shard.tables:
            raise Permanent(
                f"shard {shard.id} of run {self.run} has {shard.tables} tables, "
                f"but the plan gives its number to {len(found)}"
            )
        return found

    def table(self, source: str, name: str) -> PlannedTable:
        for t in self.tables:
            if (t.source, t.name) == (source, name):
                return t
        raise Permanent(
            f"the plan of run {self.run}, round {self.round}, has no table '{name}' of source '{source}'"
        )
