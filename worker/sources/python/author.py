"""What one writes a source with: a class that says its tables, its clients, and their rows in chunks.

    class Options(BaseModel):
        shops: list[str]

    class Shop(SimpleSource[Options]):
        declares = (table("orders", {"id": "int64", "total": "decimal(12,2)"}, key="id"),)

        def client_ids(self, table: str) -> Sequence[str]:
            return self.options.shops

        def rows(self, table: str, client: str, cursor: str) -> Iterator[Chunk]:
            for page in pages_of(client):
                yield page  # a list of dicts, or an Arrow batch

A spec names it `registry: python`, `path: acme.shop:Shop`. What is here stays compatible.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar, cast

import pyarrow as pa
from pydantic import BaseModel

from contracts import types
from contracts.errors import Denied, NotFound, Reason, SharderError
from contracts.table import Column, Table
from worker.sources import exact
from worker.sources.base import Clients, Context, Event, Source, Work
from worker.sources.python import find

__all__ = [
    "Chunk",
    "Clients",
    "Column",
    "Context",
    "Cursor",
    "Denied",
    "NotFound",
    "SharderError",
    "SimpleSource",
    "Skip",
    "Source",
    "Table",
    "table",
]

O = TypeVar("O", bound=BaseModel)  # noqa: E741 — as short as type variables are
PER_S = 0.0  # no limit of calls but the fleet's


@dataclass(frozen=True)
class Cursor:
    """All rows before this one are whole: the next run may go on behind `value`, whatever comes after."""

    value: str


# Rows as dicts by column (keys that are no columns are left out), the same as Arrow, or how far we are.
Chunk: TypeAlias = Sequence[Mapping[str, Any]] | pa.RecordBatch | pa.Table | Cursor


class Skip(Exception):
    """There is nothing to read for this client, and that is no failure: a feature that it does not have.

    Not for a call that was refused: that is `Denied`.
    """

    def __init__(self, message: str, reason: Reason = "off") -> None:
        super().__init__(message)
        self.reason: Reason = reason


def table(
    name: str,
    columns: Mapping[str, str | pa.DataType],
    *,
    key: str | Sequence[str] = (),
    cursor: str = "",
    parent: str | None = None,
    incremental: bool = False,
    title: str = "",
    description: str = "",
    about: Mapping[str, str] | None = None,
) -> Table:
    """A table. A type is Arrow's, or a name: text, int64, float64, bool, date, timestamptz, json, uuid,
    decimal(12,2), … (docs/reference/types.md). `key`: the primary key, from which `_cq_id` is made.
    `cursor`: the column by which the table is read on; such a table is incremental, and so is one
    that is marked. `about`: descriptions by column.

    Raises ValueError: an unknown type, or a key or cursor that is no column.
    """
    keys = (key,) if isinstance(key, str) else tuple(key)
    for wanted in (*keys, *([cursor] if cursor else ()), *(about or ())):
        if wanted not in columns:
            raise ValueError(f"table '{name}' has no column '{wanted}'")
    return Table(
        name,
        tuple(
            Column(
                column,
                _type(type_, f"column '{column}' of table '{name}'"),
                nullable=column not in keys,
                primary_key=column in keys,
                incremental_key=column == cursor,
                description=(about or {}).get(column, ""),
            )
            for column, type_ in columns.items()
        ),
        parent=parent,
        incremental=incremental or bool(cursor),
        title=title,
        description=description,
    )


def _type(type_: str | pa.DataType, what: str) -> pa.DataType:
    if not isinstance(type_, str):
        types.encode(type_)  # raises TypeError for a type that no document can hold
        return type_
    for read in (exact.named, types.decode):
        try:
            return read(type_)
        except (ValueError, TypeError):
            continue
    raise ValueError(f"{what}: no type is called {type_!r}; write for example int64, text or json")


class SimpleSource(Generic[O]):
    """A Source of which a subclass says `declares`, `rows` and, if it has them, `client_ids` and `children`.

    An exception of `rows` or `children` is the end of that client's cells, told with its reason; the other
    clients are read. Used by one thread at a time.
    """

    declares: ClassVar[Sequence[Table]] = ()

    def __init__(self, spec: Mapping[str, Any], context: Context) -> None:
        self.context = context
        self.options = cast("O", find.options(type(self)).model_validate(dict(spec)))
        self._known: dict[str, frozenset[str]] = {}

    # What a subclass says.

    def client_ids(self, table: str) -> Sequence[str]:
        """Whom to ask for a top-level table: all there are. Without accounts of any kind it is the source."""
        del table
        return (self.context.name,)

    def rows(self, table: str, client: str, cursor: str) -> Iterable[Chunk]:
        """The rows of a top-level table for one client, from behind `cursor` on (empty: all of them).

        A chunk is what is in memory at once; a page of an API or some thousand rows suit.
        """
        raise NotImplementedError(f"{type(self).__name__} has no rows() for the table '{table}'")

    def children(self, table: str, client: str, parent: Mapping[str, Any]) -> Iterable[Chunk]:
        """The rows of a child table that belong to one row of its parent, as `rows` had yielded it."""
        del client, parent
        raise NotImplementedError(
            f"{type(self).__name__} has no children() for the table '{table}'"
        )

    # What a subclass may use, and may say in its own way.

    def pace(self, client: str, *, per_s: float = PER_S, service: str = "api") -> None:
        """Return when a call may be made: the fleet's `rate_limit`, else `per_s`, over all workers."""
        self.context.pace.take(client, service, self.context.rate_per_s or per_s)

    def tables(self) -> Sequence[Table]:
        return self.declares

    def clients(self, table: Table) -> Clients:
        """`client_ids` as a whole list. Override it if the list may lack somebody (`whole=False`)."""
        ids = tuple(self.client_ids(table.name))
        return Clients(list=f"{table.name} clients", ids=ids)

    def close(self) -> None:
        """Connections go here."""

    def read(self, work: Work, cursors: Mapping[str, str]) -> Iterator[Event]:
        from worker.sources.python.reading import Reading

        known = self._clients_of(work.top)
        for client in work.clients:
            yield from Reading(self, work, client, is_known=client in known).events(cursors)

    def _clients_of(self, top: Table) -> frozenset[str]:
        """Asked once as long as the source is open."""
        if top.name not in self._known:
            self._known[top.name] = frozenset(self.clients(top).ids)
        return self._known[top.name]
