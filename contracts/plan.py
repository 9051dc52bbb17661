"""The plan of a round: every shard, written before the first task is sent.

The index holds what is true per source and table (schemas, client ranges, shard numbers); chunks of
1,000 shards hold the shards themselves, one JSON line each. Clients are named by ranges of the
source's client file, so that a plan grows with the number of shards, not of cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

import orjson
from pydantic import BaseModel, ConfigDict

from contracts import layout
from contracts.documents import Document
from contracts.errors import Permanent
from contracts.table import Table, TableDocument

Range = tuple[int, int]  # [start, stop) of lines in clients/<source>.jsonl


@dataclass(frozen=True)
class Slice:
    """One of `of` parts of a single huge cell; `bounds` is the source's own JSON."""

    n: int
    of: int
    bounds: Mapping[str, Any]


@dataclass(frozen=True)
class Shard:
    """The work of one task: one top-level table with its descendants, over many clients."""

    id: str
    source: str
    table: str
    clients: tuple[Range, ...]
    cost_s: float = 0.0
    slice: Slice | None = None

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
            ranges = tuple((int(a), int(b)) for a, b in d["clients"])
            return cls(d["id"], d["source"], d["table"], ranges, d.get("cost_s", 0.0), slice_)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise Permanent(f"a line of the plan is not a shard: {error}") from error


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
    timeout_s: float = 0.0  # of one attempt at a shard
    rate_per_s: float = 0.0
    max_clients_in_flight: int = 0
    version: str = ""  # as in the spec, like `tables`: for the summary
    tables: tuple[str, ...] = ()


class PlannedTable(_Model):
    """A top-level table with its descendants (parents first), schemas frozen, `_cq_*` included.

    `selected` names the tables of the tree that are written; the others are only walked through.
    Its shards are numbers `first` to `first + shards - 1` of the round.
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


class PlannedDestination(_Model):
    """A destination of the round; `holds_state_of` names the sources whose cursors live in it."""

    name: str
    path: str
    spec: int
    holds_state_of: tuple[str, ...] = ()
    send_sync_summary: bool = False
    sync_group_id: str = ""  # as in the spec, its placeholders not yet filled
    version: str = ""


class Plan(Document):
    """plan/<round>/index.json. Shard numbers run from 0 in the order in which they are fed."""

    kind: ClassVar[str] = "plan"

    run: str
    round: int
    created: datetime
    sync_time: datetime
    format: str = "parquet"
    part_size: int = 128 << 20
    attempts: int = 3
    deadline_s: float = 0.0
    full_refresh: tuple[str, ...] = ()  # sources; of plans from before tables could be named
    sync_id: str = ""  # CloudQuery's invocation id; empty: the run's id
    part: str = ""  # `n/m` of `--shard`: the plan has only every m-th table; empty: all of them
    migrate: bool = True  # False: tables must be there and fit; nothing is created or altered
    sources: tuple[PlannedSource, ...]
    destinations: tuple[PlannedDestination, ...]
    tables: tuple[PlannedTable, ...]
    shards: int
    cells: int

    def source(self, name: str) -> PlannedSource:
        return next(s for s in self.sources if s.name == name)

    def destination(self, name: str) -> PlannedDestination:
        return next(d for d in self.destinations if d.name == name)

    def refreshes(self, table: PlannedTable) -> bool:
        """Whether the table is read anew from its beginning."""
        return table.full_refresh or table.source in self.full_refresh

    def table(self, source: str, name: str) -> PlannedTable:
        for t in self.tables:
            if (t.source, t.name) == (source, name):
                return t
        raise Permanent(
            f"the plan of run {self.run}, round {self.round}, has no table '{name}' of source '{source}'"
        )
