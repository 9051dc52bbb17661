"""The Warehouse protocol, and what every SQL engine shares. An engine file quotes, copies and commits.

`SqlWarehouse` turns the protocol into six small things that an engine must do: describe a table, copy
batches into a landing table, run a statement, run a query, open a transaction, close.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import pyarrow as pa

from contracts.cursors import Server
from contracts.errors import Permanent
from contracts.plan import Plan
from contracts.receipt import LoadedTable
from contracts.table import Table
from loader import ours, publication, sql
from loader.dialect import Dialect
from loader.migrate import Change, Rebuild, Refused
from loader.publication import Fence, Publication, Published
from loader.shape import PhysicalTable

Guarantee = Literal["transactional", "keyed-idempotent", "at-least-once"]


@dataclass(frozen=True)
class Traits:
    """What a warehouse can do, as data: tests and the planner ask these, never names.

    `shared`: several loader processes may write to it at once. `lands`: rows wait in landing tables until
    the publish; without it `publish` is handed the rows themselves (`TablePublication.rows`) and writes them.
    `fenced`: it remembers which rounds it holds; for others the receipts on the stage do. `whole`: every load
    writes all rows of its run, those of earlier rounds too. `merges`: a row takes the place of an older one of
    its key; without it every write mode appends.
    """

    guarantee: Guarantee
    shared: bool = True
    lands: bool = True
    fenced: bool = True
    whole: bool = False
    merges: bool = True


@dataclass(frozen=True)
class File:
    """A Parquet part on this machine. Rows of the clients in `dropped` are not loaded; `rows` are."""

    path: Path
    rows: int
    dropped: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Rows:
    """What `copy` copies: batches of exactly `schema`: the landing table's columns in the dialect's Arrow types.

    `files` holds the same rows in place, if the stage is a local one and every column can be read from
    Parquet as it is; `expressions` then gives the landing table's columns in terms of the files'.
    `dropped`: how many rows a transformer left out, once the batches have been read to their end.
    """

    schema: pa.Schema
    batches: Callable[[], Iterator[pa.RecordBatch]]
    files: Sequence[File] | None = None
    expressions: Sequence[str] = ()
    dropped: Callable[[], int] = lambda: 0


class Warehouse(Protocol):
    """One open connection to a destination; used by one thread.

    Errors: Unreachable (Transient) when it does not answer, Denied for credentials, Permanent otherwise.
    """

    traits: Traits
    dialect: Dialect

    def prepare(self) -> None:
        """Make our schema and our tables, if they are missing."""

    def describe(self, table: str) -> PhysicalTable | None:
        """The table as it is, with its key; None if there is none."""

    def apply(self, changes: Sequence[Change]) -> None:
        """Make changes that lose nothing; repeating them changes nothing."""

    def rebuild(self, plan: Rebuild, *, may_drop: bool) -> int:
        """Replace a table outside of a load; the number of old rows that did not come along.

        Raises Refused, and changes nothing, if some would not although they may not be dropped.
        """

    def copy(self, landing: PhysicalTable, rows: Rows) -> int:
        """Create the landing table and fill it by the engine's bulk path; returns its number of rows."""

    def publish(self, p: Publication) -> Published:
        """All tables of a load at once, with cursors, records and fence; or nothing at all."""

    def drop_landings(self, prefix: str) -> None:
        """Drop the landing tables whose names start so."""

    def admit(self, plan: Plan, destination: str, shown: Callable[[str], str]) -> None:
        """Refuse a plan whose tables would write over each other. Raises InputError.

        `shown` gives the name that a planned table has in the destination.
        """

    def withdraw(
        self, plan: Plan, rounds: Sequence[int], source: str, tables: Sequence[str]
    ) -> None:
        """Remove what loads of these rounds left although they never got an ok receipt. `tables`: their
        names in the destination.
        """

    def fence(self, source: str, top: str) -> Fence | None: ...

    def recorded(self, load: str) -> tuple[LoadedTable, ...]:
        """What a published load did; empty if it was covered by a later one."""

    def about(self) -> Server | None:
        """What the engine is, and its clock; None where no server is."""

    def last_syncs(self) -> Mapping[str, datetime]:
        """Source → newest sync time recorded in the fence, naive UTC."""

    def cursors(self, table: str) -> Mapping[str, str]:
        """A state table of CloudQuery's: key → value of the highest version. Empty if there is none."""

    def close(self) -> None: ...


@runtime_checkable
class Migrates(Protocol):
    """A warehouse that itself finds out what must change in its tables."""

    def migrate(self, tables: Sequence[Table]) -> None:
        """Make or alter tables as they are declared, parents first; repeating it changes nothing."""


class SqlWarehouse(ABC):
    """A Warehouse of an SQL engine with transactions. Statements use `$1`, `$2`, … for values."""

    traits: Traits
    dialect: Dialect

    @abstractmethod
    def execute(self, text: str, parameters: Sequence[Any] = ()) -> int:
        """Run one statement; the number of rows that it touched, 0 where it has none."""

    @abstractmethod
    def query(self, text: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]: ...

    @abstractmethod
    def transaction(self) -> AbstractContextManager[None]:
        """Everything inside happens, or nothing does. Never nested."""

    @abstractmethod
    def describe(self, table: str) -> PhysicalTable | None: ...

    @abstractmethod
    def copy(self, landing: PhysicalTable, rows: Rows) -> int: ...

    @abstractmethod
    def about(self) -> Server | None: ...

    @abstractmethod
    def close(self) -> None: ...

    def append(self, table: PhysicalTable, rows: Rows) -> int:
        """Copy rows into a table inside of a transaction; only asked for where `dialect.copies`."""
        del rows
        raise Permanent(f"{self.dialect.name} copies into landing tables only ({table.name})")

    def prepare(self) -> None:
        d = self.dialect
        with self.transaction():
            self.execute(sql.create_schema(d))
            for table in (ours.fence(d), ours.loads(d), ours.cells(d)):
                for text in sql.create_table(d, table, if_missing=True):
                    self.execute(text)

    def apply(self, changes: Sequence[Change]) -> None:
        with self.transaction():
            for change in changes:
                for text in sql.ddl(self.dialect, change):
                    self.execute(text)

    def rebuild(self, plan: Rebuild, *, may_drop: bool) -> int:
        d = self.dialect
        with self.transaction():
            ((before,),) = self.query(f"SELECT count(*) FROM {d.ref(plan.old)}")
            for statement in sql.rebuild(d, plan, d.name_of(f"{plan.old.name} as migrated")):
                self.execute(statement.text, statement.parameters)
            ((after,),) = self.query(f"SELECT count(*) FROM {d.ref(plan.old)}")
            dropped = int(before) - int(after)
            if dropped and not may_drop:
                raise Refused(
                    f"table '{plan.old.name}': {dropped:,} of its rows do not fit the new key",
                    "set `migrate_mode: forced` on the destination to drop them, or rename the table",
                )
        return dropped

    def publish(self, p: Publication) -> Published:
        with self.transaction():
            return publication.publish(self, self.dialect, p)

    def drop_landings(self, prefix: str) -> None:
        d = self.dialect
        found = self.query(
            "SELECT table_name, table_type FROM information_schema.tables "
            "WHERE table_schema = $1 AND starts_with(table_name, $2)",
            (sql.OURS, prefix),
        )
        for name, kind in found:
            landing = PhysicalTable(name, (), schema=sql.OURS)
            self.execute(sql.drop(d, landing, view=kind == "VIEW"))

    def admit(self, plan: Plan, destination: str, shown: Callable[[str], str]) -> None:
        """Nothing: sources may share a table, keys and `_cq_source_name` tell their rows apart."""
        del plan, destination, shown

    def withdraw(
        self, plan: Plan, rounds: Sequence[int], source: str, tables: Sequence[str]
    ) -> None:
        """Nothing: a load that was not published left nothing that readers see."""
        del plan, rounds, source, tables

    def fence(self, source: str, top: str) -> Fence | None:
        return publication.read_fence(self, self.dialect, source, top)

    def recorded(self, load: str) -> tuple[LoadedTable, ...]:
        return publication.recorded(self, self.dialect, load)

    def last_syncs(self) -> Mapping[str, datetime]:
        d = self.dialect
        rows = self.query(
            f"SELECT source, max(sync_time) FROM {d.ref(ours.fence(d))} "
            "WHERE sync_time IS NOT NULL AND schema_name = current_schema() GROUP BY source"
        )
        return dict(rows)

    def cursors(self, table: str) -> Mapping[str, str]:
        if self.describe(table) is None:
            return {}
        shape = ours.physical(self.dialect, ours.state(table))
        statement = sql.select(self.dialect, shape, ("version", "key", "value"), {})
        rows = self.query(statement.text, statement.parameters)
        return {key: value for _, key, value in sorted(rows)}
