"""What the source needs of a database engine, and the pure SQL that all of them share.

An engine knows its catalogue, how each column is selected so that nothing is lost on the way to
Arrow, and how to cut a table. Identifiers are quoted here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa


@dataclass(frozen=True)
class ColumnPlan:
    """One column: the expression that selects it (the table's alias is `t`) and its Arrow type."""

    name: str
    expression: str
    type: pa.DataType
    primary_key: bool = False
    nullable: bool = True
    description: str = ""


@dataclass(frozen=True)
class Relation:
    """A table or view as the catalogue describes it. `rows` and `bytes`: estimates, -1 if unknown."""

    schema: str
    name: str
    columns: tuple[ColumnPlan, ...]
    kind: str = "table"
    description: str = ""
    rows: int = -1
    bytes: int = -1
    pages: int = 0  # blocks that may be read by physical position; 0: cannot
    leading: frozenset[str] = frozenset()  # columns that an ordered index starts with
    default_schema: bool = True

    @property
    def table(self) -> str:
        """Our name of it: the engine's default schema is not repeated."""
        return self.name if self.default_schema else f"{self.schema}_{self.name}"

    @property
    def sql(self) -> str:
        return f"{quote(self.schema)}.{quote(self.name)}" if self.schema else quote(self.name)

    def column(self, name: str) -> ColumnPlan | None:
        return next((c for c in self.columns if c.name == name), None)


@dataclass(frozen=True)
class Limits:
    """Finite dates (days) and timestamps (µs) since 1970: what lies outside is the engine's infinity."""

    days: tuple[int, int] = (-(1 << 31) + 2, (1 << 31) - 2)
    micros: tuple[int, int] = (-9223372022400000000, 9223372022400000000)


@dataclass(frozen=True)
class Where:
    """Conditions joined by AND, and an order."""

    conditions: Sequence[str] = ()
    order_by: str = ""
    limit: int = 0


class Engine(Protocol):
    """One connection, inside one read-only transaction where the engine has them.

    Every method may raise the driver's errors; `worker.sources.sql.failures` translates them.
    """

    limits: Limits

    def relations(self, only: str = "") -> list[Relation]:
        """The catalogue, or the one relation that we call `only`."""

    def read(
        self, relation: Relation, columns: Sequence[ColumnPlan], where: Where
    ) -> Generator[pa.RecordBatch, None, None]:
        """Batches of bounded size as the driver delivers them. Closing the iterator ends the query."""

    def quantiles(self, relation: Relation, column: ColumnPlan, n: int) -> list[str]:
        """At most n values (as `literals.encode` writes them, sorted) that cut a column into parts
        of about equal rows; cheap, and empty where the engine cannot tell.
        """

    def export_snapshot(self, relation: Relation) -> str:
        """An id under which others see what this transaction sees while it is open; empty: none."""

    def close(self) -> None: ...


Overrides = Mapping[str, Mapping[str, str]]  # table → column → a name that `literals.parse` knows


def rows_per_batch(columns: int, *, at_most: int, target_bytes: int) -> int:
    """Rows of a batch where the driver counts rows only: wide tables get fewer (64 bytes a value)."""
    return max(min(at_most, target_bytes // (64 * max(columns, 1))), min(at_most, 1024))


def quote(name: str) -> str:
    """An identifier, as ANSI SQL quotes it."""
    return '"' + name.replace('"', '""') + '"'


def text_literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def own(column: str) -> str:
    """The column itself, not the alias of a selected expression."""
    return f"t.{quote(column)}"


def select(relation: Relation, columns: Sequence[ColumnPlan], where: Where) -> str:
    """One SELECT; every column named, so that what a table gained since planning stays out."""
    chosen = ", ".join(f"{c.expression} AS {quote(c.name)}" for c in columns)
    sql = f"SELECT {chosen} FROM {relation.sql} AS t"
    if where.conditions:
        sql += " WHERE " + " AND ".join(f"({c})" for c in where.conditions)
    if where.order_by:
        sql += f" ORDER BY {where.order_by}"
    if where.limit:
        sql += f" LIMIT {where.limit}"
    return sql
