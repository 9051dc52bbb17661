"""Rows → a record batch in exactly the schema that the plan froze, `_cq_*` columns filled in.

What a source yields may lack columns and differ in order; a value is converted only where nothing
can be lost. Everything else is a SchemaChanged, which fails the cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache

import pyarrow as pa

from contracts import table as cq
from contracts.errors import SchemaChanged
from contracts.table import Column, Table
from contracts.types import storage_of
from worker.ids import deterministic_ids, random_ids

_BOOKS = frozenset({cq.SYNC_TIME, cq.SOURCE_NAME, cq.CLIENT_ID})


@dataclass(frozen=True)
class Stamp:
    """What all rows of one table of one run have in common."""

    table: Table
    source: str
    sync_time: datetime

    @cached_property
    def schema(self) -> pa.Schema:
        return self.table.schema

    @cached_property
    def key(self) -> tuple[str, ...]:
        """The columns that `_cq_id` is made of; empty: it is random."""
        return () if self.table.primary_key == (cq.ID,) else self.table.primary_key

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(self.schema.names)

    @cached_property
    def _required(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.table.columns if not c.nullable)

    @cached_property
    def _books(self) -> frozenset[str]:
        """Columns that are never the source's: which rows are loaded and which are stale goes by them."""
        return _BOOKS - {cq.CLIENT_ID} if self.table.own_client_ids else _BOOKS

    @cached_property
    def _constants(self) -> dict[str, pa.Scalar]:
        values = {cq.SYNC_TIME: self.sync_time, cq.SOURCE_NAME: self.source}
        return {
            name: pa.scalar(value, self.table.column(name).type)
            for name, value in values.items()
            if name in self.table
        }

    def __call__(self, client: str, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Raises SchemaChanged: an unknown column, a type that does not fit, a null where none may be."""
        given = dict(zip(batch.schema.names, batch.columns, strict=True))
        if unknown := self._unknown(given):
            raise SchemaChanged(
                f"{self.table.name}: the source sent the column '{min(unknown)}', "
                "which the plan of this run does not have"
            )
        rows = batch.num_rows
        theirs = given.keys() - self._books
        columns = {
            c.name: fit(self.table, c, given[c.name])
            if c.name in theirs
            else self._made(c, client, rows)
            for c in self.table.columns
        }
        if cq.CLIENT_ID in columns and cq.CLIENT_ID in theirs:
            columns[cq.CLIENT_ID] = _filled(columns[cq.CLIENT_ID], client)
        if cq.ID in columns and cq.ID not in given:
            columns[cq.ID] = self._ids(columns, rows)
        for name in self._required:
            if missing := columns[name].null_count:
                raise SchemaChanged(
                    f"{self.table.name}: the column '{name}' must not be null, "
                    f"and {missing} of {rows} rows have no value in it"
                )
        return pa.RecordBatch.from_arrays(list(columns.values()), schema=self.schema)

    def _unknown(self, given: Mapping[str, pa.Array]) -> set[str]:
        """Columns that the table does not have. One without any value and type is no reason to grow."""
        unknown = given.keys() - self._names
        if unknown and self.table.evolves:
            return {name for name in unknown if not pa.types.is_null(given[name].type)}
        return unknown

    def _made(self, column: Column, client: str, rows: int) -> pa.Array:
        """A column that does not come from the source."""
        if column.name == cq.CLIENT_ID:
            return pa.repeat(pa.scalar(client, column.type), rows)
        if (constant := self._constants.get(column.name)) is not None:
            return pa.repeat(constant, rows)
        return pa.nulls(rows, column.type)

    def _ids(self, columns: Mapping[str, pa.Array], rows: int) -> pa.Array:
        if not self.key:
            return random_ids(rows)
        keys = pa.RecordBatch.from_arrays([columns[k] for k in self.key], names=list(self.key))
        return deterministic_ids(keys, self.key)


def fit(table: Table, column: Column, values: pa.Array) -> pa.Array:
    """The values in the column's type. Raises SchemaChanged if that would lose something."""
    name, wanted = column.name, column.type
    if values.type == wanted:
        return values
    if not is_exact(values.type, wanted):
        raise SchemaChanged(
            f"{table.name}: the column '{name}' came as {values.type}, the plan of this run says {wanted}"
        )
    try:
        return convert(values, wanted)
    except pa.ArrowException as error:  # also of a cast that Arrow does not have
        raise SchemaChanged(
            f"{table.name}: a value of the column '{name}' does not fit into {wanted}: {error}"
        ) from error


@lru_cache(maxsize=1024)
def is_exact(have: pa.DataType, want: pa.DataType) -> bool:
    """Whether a safe cast either keeps every value or fails."""
    test = pa.types
    have, want = storage_of(have), storage_of(want)
    if have == want or test.is_null(have):
        return True
    if test.is_dictionary(have):
        return is_exact(have.value_type, want)
    if test.is_dictionary(want):
        return is_exact(have, want.value_type)
    if test.is_integer(have):
        return bool(test.is_integer(want) or test.is_floating(want) or test.is_decimal(want))
    if test.is_floating(have):
        return bool(test.is_floating(want) and want.bit_width >= have.bit_width)
    if test.is_timestamp(have):
        # The zone says how an instant is shown; with and without zone are different things.
        return bool(test.is_timestamp(want) and bool(have.tz) == bool(want.tz))
    alike = (_is_text, _is_bytes, test.is_decimal, test.is_date, test.is_time, test.is_duration)
    if any(kind(have) and kind(want) for kind in alike):
        return True
    if test.is_struct(have) and test.is_struct(want):
        one, other = list(have.fields), list(want.fields)
        return [f.name for f in one] == [f.name for f in other] and all(
            is_exact(f.type, g.type) for f, g in zip(one, other, strict=True)
        )
    if test.is_map(have) and test.is_map(want):
        return is_exact(have.key_type, want.key_type) and is_exact(have.item_type, want.item_type)
    if _is_list(have) and _is_list(want):
        return is_exact(have.value_type, want.value_type)
    return False


def convert(values: pa.Array, want: pa.DataType) -> pa.Array:
    """A safe cast, through the storage of extension types. Raises pa.ArrowInvalid if a value does not fit."""
    storage = values.storage if isinstance(values.type, pa.BaseExtensionType) else values
    if isinstance(want, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(want, storage.cast(want.storage_type))
    return storage.cast(want)


def _filled(clients: pa.Array, client: str) -> pa.Array:
    """The source's own ids of clients; ours where it has none. Ids that are no texts stay as they are."""
    if not clients.null_count or not _is_text(clients.type):
        return clients
    return clients.cast(pa.string()).fill_null(client).cast(clients.type)


def _is_text(type_: pa.DataType) -> bool:
    test = pa.types
    return bool(test.is_string(type_) or test.is_large_string(type_) or test.is_string_view(type_))


def _is_bytes(type_: pa.DataType) -> bool:
    test = pa.types
    views = test.is_binary_view(type_) or test.is_fixed_size_binary(type_)
    return bool(views or test.is_binary(type_) or test.is_large_binary(type_))


def _is_list(type_: pa.DataType) -> bool:
    return bool(pa.types.is_nested(type_)) and not (
        pa.types.is_struct(type_) or pa.types.is_map(type_)
    )
