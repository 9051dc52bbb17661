"""The Source protocol: what a source declares at plan time and what it yields when it is read.

A source is made by its factory `open(spec: dict, context: Context) -> Source`, found by name in
`worker.sources.registry`; it is used by one process at a time and may use threads inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, cast

import pyarrow as pa

from contracts.commit import Outcome
from contracts.errors import Reason
from contracts.spec import PluginSettings
from contracts.table import Table


@dataclass(frozen=True)
class Clients:
    """The clients of one table: ranges of one of the source's lists.

    Tables that share a list name share the list, which is written once. `ids` may be lazy
    (`len` and indexing suffice). `whole`: fresh, complete, unfiltered; otherwise `why_not` says why,
    and nothing outside the planned cells counts as departed.
    """

    list: str
    ids: Sequence[str]
    ranges: tuple[tuple[int, int], ...] | None = None  # None: all of `ids`
    whole: bool = True
    why_not: str = ""


@dataclass(frozen=True)
class Work:
    """What to read: a tree of tables (parents first) for some clients, or one slice of one cell.

    `selected` names the tables whose rows are wanted; the others are only walked through.
    `tree` carries the frozen schemas, `_cq_*` columns included; of a source that groups its tables
    (`Grouper`) it may hold several trees, one after the other.
    """

    tree: tuple[Table, ...]
    selected: frozenset[str]
    clients: Sequence[str]
    slice: Mapping[str, Any] | None = None

    @property
    def top(self) -> Table:
        return self.tree[0]

    @property
    def trees(self) -> tuple[tuple[Table, ...], ...]:
        """One per top-level table, parents first."""
        starts = [n for n, table in enumerate(self.tree) if not table.parent]
        return tuple(
            self.tree[a:b] for a, b in zip(starts, [*starts[1:], len(self.tree)], strict=True)
        )


@dataclass(frozen=True)
class Rows:
    """A batch of one table for one client.

    Its columns and types must fit the frozen schema, unless the table says that it `evolves`: then it grows.
    Columns in any order; columns of the schema that are missing are null. A source may supply
    `_cq_id` and `_cq_parent_id` itself (children need the latter), and `_cq_client_id` of a table whose
    `own_client_ids` is set; everything else `_cq_*` is added.
    """

    table: str
    client: str
    batch: pa.RecordBatch


@dataclass(frozen=True)
class Deleted:
    """Rows that the source knows to be gone: older ones, and those that it has sent before in this attempt.

    `where`: alternatives, each column → an array of one value; a row goes if it has all values of one of them.
    `relations`: (child, parent) of tables whose rows go with those of their parents (by `_cq_parent_id`).
    Takes effect with the rows of its cell: not at all if that fails.
    """

    table: str
    client: str
    where: Sequence[Mapping[str, pa.Array]]
    relations: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Checkpoint:
    """All rows of an incremental cell before this one may be kept, with this cursor, whatever comes after."""

    table: str
    client: str
    cursor: Mapping[str, str]


@dataclass(frozen=True)
class CellDone:
    """The end of one cell. Every selected table of the tree ends for every client, once.

    A cell for which the stream ends without it has failed.
    """

    table: str
    client: str
    outcome: Outcome = "ok"
    reason: Reason | None = None
    message: str = ""
    cursor: Mapping[str, str] = field(default_factory=dict)


Event = Rows | Deleted | Checkpoint | CellDone


class Cancelled(Exception):
    """The attempt should stop: nothing more is asked, and its open cells end without an outcome."""


class Pace(Protocol):
    """How fast a source may call. Counted per source, client and service, over all workers; thread-safe."""

    def take(self, client: str, service: str, per_s: float, burst: float = 0.0) -> None:
        """Return when a call may be made. Raises Cancelled if the attempt should stop before.

        Never more than `per_s` calls in a second, or `burst` at once after a rest and 0.95 · per_s from
        then on. per_s 0: only the pauses of `hold`.
        """

    def hold(self, client: str, service: str, seconds: float) -> None:
        """The other side asked us to slow down (a throttled call, Retry-After): no calls for so long,
        by any worker, then half as fast; all is as before a minute later.
        """


class Flight(Protocol):
    """How many clients are read at once, over all workers. A shard that reads has a place for one."""

    def another(self, stop: Callable[[], bool]) -> AbstractContextManager[bool]:
        """A place for one client more, waited for, until the end of the block. False: `stop` came first."""


class Free:
    """No pace and no limit of clients: what lists tables, and tests, need."""

    def take(self, client: str, service: str, per_s: float, burst: float = 0.0) -> None:
        del client, service, per_s, burst

    def hold(self, client: str, service: str, seconds: float) -> None:
        del client, service, seconds

    def another(self, stop: Callable[[], bool]) -> AbstractContextManager[bool]:
        return nullcontext(not stop())


@dataclass(frozen=True)
class Context:
    """What a source may use of its surroundings; clocks and waiting come in, so that tests own them."""

    name: str  # the source's name in the spec
    now: Callable[[], datetime]  # zone-aware, UTC
    sleep: Callable[[float], None]
    cancelled: Callable[[], bool]  # true once this attempt should stop; long loops look at it
    deterministic_cq_id: bool = False
    rate_per_s: float = 0.0  # per client and service; 0: the source's own default
    max_clients_in_flight: int = 0  # over all workers; 0: the source's own default
    pace: Pace = field(default_factory=Free)  # ask it before every call of an API
    flight: Flight = field(default_factory=Free)  # ask it before a second client is read at once
    stays: bool = (
        True  # False: closed before the slices that it cuts are read; they may not need it
    )
    # What a program of its own is given.
    environment: Mapping[str, str] = field(default_factory=dict)
    masked: Callable[[str], str] = str  # takes the document's secrets out of what the program says
    settings: PluginSettings = field(default_factory=PluginSettings)
    state_table: str = ""  # of `backend_options`; empty: the source keeps no state
    run: str = ""
    memory_bytes: int = 0  # that this process and what it starts may have; 0: no limit


class Source(Protocol):
    """Reads one system. Errors of one cell are outcomes; an exception fails what is left of the shard."""

    def tables(self) -> Sequence[Table]:
        """All tables, parents before children; no rows are read. Without `_cq_*` columns."""

    def clients(self, table: Table) -> Clients:
        """Whom to ask for a top-level table. Cheap calls only; no credential and no object per client."""

    def read(self, work: Work, cursors: Mapping[str, str]) -> Iterator[Event]:
        """Rows as they come, each cell closed by CellDone. `cursors`: the state of this source, key → value."""

    def close(self) -> None: ...


class Splitter(Protocol):
    """A source that can cut a huge cell into slices."""

    def split(self, table: Table, client: str, n: int) -> Sequence[Mapping[str, Any]]:
        """About n slices, as JSON for `Work.slice`: together the whole cell, once. Empty: cannot be cut."""


class Grouper(Protocol):
    """A source of which one shard may read several top-level tables: reading begins with something slow,
    like the start of a program, that one table alone is not worth.
    """

    def groups(self, trees: Sequence[tuple[Table, ...]]) -> Sequence[Sequence[str]]:
        """Sets of top-level tables, by name, that may share a shard; what is in none of them stays alone.

        `trees`: those that are planned, parents first. Which of a set share one is decided by their costs.
        """


class Tester(Protocol):
    """A source that can say, cheaply, whether what it reads can be reached."""

    def test(self) -> str:
        """One cheap call to everything that the spec names; a phrase about who answered.

        Raises SharderError with the reason of the first that does not.
        """


@dataclass(frozen=True)
class Facts:
    """What reading a table asks for: names of permissions, and whether its calls are billed."""

    permissions: tuple[str, ...] = ()
    paid: bool = False


class Documented(Protocol):
    """A source that knows more of its tables than their columns."""

    def facts(self, table: Table) -> Facts: ...


def facts_of(source: Source, table: Table) -> Facts:
    return cast("Documented", source).facts(table) if hasattr(source, "facts") else Facts()


class Noted(Protocol):
    """A source that knows of surprises before it is read."""

    def notes(self) -> Iterator[str]:
        """A sentence each, for whoever plans a run."""


def notes_of(source: Source) -> Iterator[str]:
    return cast("Noted", source).notes() if hasattr(source, "notes") else iter(())


class Sizer(Protocol):
    """A source that knows from a catalogue, without reading rows, how large its cells are."""

    def size(self, table: Table, client: str) -> float:
        """Seconds that reading the cell may take; 0 if that is not known."""
