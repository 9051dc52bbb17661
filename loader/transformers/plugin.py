"""Any transformer plugin of CloudQuery's, a program of its own, as one link of a chain.

What it makes of a table is asked once per load (`TransformSchema`), and every batch is a call of its own: only the
end of a call says that a plugin has nothing more to give for what it got. Which columns it renamed, and which values it
changed, it does not say, so that what a write mode needs is judged by what can be seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import BaseModel, RootModel

from contracts.errors import Permanent, SchemaChanged
from contracts.table import Column, Table, with_cq_columns
from loader.programs import Running, Wanted
from loader.transformers.base import Shown

if TYPE_CHECKING:
    from contracts.plugin.client import Client


class Options(RootModel[dict[str, Any]]):
    """The nested `spec` as it is written: only the plugin knows what it means."""

    root: dict[str, Any] = {}


def open_(options: BaseModel, program: Wanted) -> PluginTransformer:
    """Nothing is started before it is asked for something."""
    assert isinstance(options, Options)
    return PluginTransformer(options, program)


class PluginTransformer:
    """One program for a whole load. `close` it."""

    def __init__(self, options: Options, program: Wanted) -> None:
        self._options = options
        self._running = Running(program, self._begin)
        self._names: dict[str, str] = {}

    def start(self) -> None:
        """Raises what the plugin has against its options, and what starting it raises."""
        with self._running.call():
            return

    def close(self) -> None:
        self._running.close()

    def _begin(self, client: Client) -> None:
        client.init(self._options.root)

    def show(self, table: Table, at: datetime) -> Shown:
        del at
        told = self._asked(table)
        self._names[table.name] = told.name
        result = _known(told, table)

        def batch(given: pa.RecordBatch) -> pa.RecordBatch:
            return self._transformed(given, table, result)

        kept = {c.name for c in result.columns}
        retyped = {c.name for c in table.columns if c.name in kept and result.column(c.name).type != c.type}  # fmt: skip
        return Shown(
            result,
            batch,
            filters=True,
            altered=frozenset(retyped),
            blurred=frozenset(retyped),
            opaque=True,
        )

    def name(self, table: str) -> str:
        """As the schema of that name says; of a table that was not shown yet, as a table of no columns does."""
        if table not in self._names:
            try:
                self._names[table] = self._asked(with_cq_columns(Table(table, ()))).name
            except Permanent:
                # It wants a column that only the real table has: its own load asks with that.
                return table
        return self._names[table]

    def unmet(self, tables: Sequence[Table], at: datetime) -> Iterator[str]:
        """Nothing: what its options name is the plugin's to know."""
        del tables, at
        return iter(())

    def _asked(self, table: Table) -> Table:
        from contracts.plugin.arrow import schema_of, table_of

        with self._running.call() as (client, _):
            return table_of(client.transform_schema(schema_of(table)))

    def _transformed(self, given: pa.RecordBatch, before: Table, after: Table) -> pa.RecordBatch:
        """All rows that come back for a batch, as the schema promised them."""
        from contracts.plugin.arrow import inward, outward

        found = []
        with self._running.call() as (client, watch):
            for back in client.transform(iter((outward(given, before),))):
                watch.moved()
                found.append(self._fitting(back, after, inward))
        if not found:
            return _nothing(after)
        if len(found) == 1:
            return found[0]
        return pa.Table.from_batches(found).combine_chunks().to_batches()[0]

    def _fitting(self, back: pa.RecordBatch, after: Table, inward: Any) -> pa.RecordBatch:
        wanted = [c.name for c in after.columns]
        if sorted(back.schema.names) != sorted(wanted):
            odd = sorted({*back.schema.names} ^ {*wanted})
            raise SchemaChanged(
                f"{self._running.wanted.what} promised other columns of table '{after.name}' than it "
                f"gives: {', '.join(odd)}; nothing was loaded"
            )
        return inward(back.select(wanted), after)


def _known(told: Table, before: Table) -> Table:
    """What came back, with what does not travel: descriptions, and a key that the plugin passed over in silence."""
    silent = not any(c.primary_key for c in told.columns)
    columns = tuple(_column(c, before, silent=silent) for c in told.columns)
    return replace(
        before, name=told.name or before.name, columns=columns, title=told.title or before.title
    )


def _column(told: Column, before: Table, *, silent: bool) -> Column:
    if told.name not in before:
        return told
    was = before.column(told.name)
    return replace(
        told,
        description=was.description,
        sensitive=was.sensitive,
        type_schema=told.type_schema or was.type_schema,
        primary_key=was.primary_key if silent else told.primary_key,
        nullable=told.nullable and was.nullable,
    )


def _nothing(table: Table) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [pa.nulls(0, c.type) for c in table.columns], schema=table.schema
    )
