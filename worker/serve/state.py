"""The state backend: cursors kept in a table of a destination, which the CLI offers by its address."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa

from contracts.plugin.client import Client
from contracts.plugin.cursor import KEY, VALUE, values_of
from contracts.plugin.messages import Backend, Insert, MigrateTable, WriteMessage
from contracts.table import Column, Table

PATIENCE_S = 30.0


class State:
    """Cursors of one source, key → value. Nothing is kept open between two calls: a sync takes hours."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.table = Table(
            backend.table_name,
            (
                Column(KEY, pa.string(), nullable=False, primary_key=True),
                Column(VALUE, pa.string()),
            ),
        )

    def read(self) -> dict[str, str]:
        """The cursors of earlier syncs; the table is made if it is missing. Raises Unreachable, Permanent."""
        self._write([MigrateTable(self.table)])
        with Client(self._backend.connection, what="the state backend") as client:
            client.connect(PATIENCE_S)
            return values_of(client.read(self.table))

    def write(self, cursor: Mapping[str, str]) -> None:
        """Raises Unreachable."""
        self._write([Insert(self.table, self.record(cursor))])

    def record(self, cursor: Mapping[str, str]) -> pa.RecordBatch:
        """Cursors as rows of the table."""
        columns = [
            pa.array(list(column), pa.string()) for column in (cursor.keys(), cursor.values())
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self.table.schema)

    def _write(self, messages: Iterable[WriteMessage]) -> None:
        with Client(self._backend.connection, what="the state backend") as client:
            client.connect(PATIENCE_S)
            client.write(messages)
