"""Rows of a load that their own source took back: deleted after they were sent, and perhaps sent again.

A tombstone stands between the rows of its stream. Rows in the warehouse are older than all of them; of the rows of its
own attempt those before its place go, and with them the children that came before it (docs/design/tombstones.md).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from contracts.commit import Cell, Tombstone, Value
from contracts.evolution import widened
from contracts.stagefile.read import filtered
from contracts.stagefile.text import from_text, to_text
from contracts.table import CLIENT_ID, ID, PARENT_ID, Table
from contracts.types import decode

Found = dict[tuple[Any, ...], Tombstone]  # (client, what rows are told by) → the last tombstone


def value_of(value: Value, type_: pa.DataType) -> pa.Array:
    """An array of the one value, as the column has it now."""
    return widened(from_text(pa.array([value.text]), decode(value.type)), type_)


class Sieve:
    """The tombstones of one commit, held against the rows of that commit; parents are read before children."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._given = [(c.table, c.client, t) for c in cells for t in c.deletes]
        self._tables = {name for _, _, t in self._given for name in t.before}
        self._rules: dict[str, dict[tuple[str, ...], Found]] = {}
        self._orphans: dict[str, Found] = defaultdict(dict)

    def touches(self, table: str) -> bool:
        return table in self._tables

    def kept(self, table: Table, clients: Sequence[str], rows: Counter[str], batch: pa.RecordBatch) -> pa.RecordBatch:  # fmt: skip
        """The batch without what went. `clients`: whose each row is; `rows` of them so far, counted on."""
        keys = [
            (list(zip(clients, *_texts(batch, columns), strict=True)), found)
            for columns, found in self._of(table).items()
        ]
        if orphans := self._orphans[table.name]:
            parents = batch.column(PARENT_ID).to_pylist()
            keys.append((list(zip(clients, parents, strict=True)), orphans))
        ids = batch.column(ID).to_pylist() if ID in table else [None] * batch.num_rows
        mask = []
        for n, client in enumerate(clients):
            at = rows[client]
            rows[client] += 1
            hit = [
                t for key, found in keys if (t := found.get(key[n])) and at < t.before[table.name]
            ]
            for tombstone in hit:
                self._take_along(table.name, client, ids[n], tombstone)
            mask.append(not hit)
        return batch if all(mask) else filtered(batch, pa.array(mask, pa.bool_()))

    def _take_along(self, table: str, client: str, id_: Any, tombstone: Tombstone) -> None:
        for child, parent in tombstone.relations:
            if parent == table:
                last = self._orphans[child].get((client, id_), tombstone)
                later = max(last, tombstone, key=lambda t: t.before[child])
                self._orphans[child][client, id_] = later

    def _of(self, table: Table) -> Mapping[tuple[str, ...], Found]:
        """Columns → the tombstones that tell rows by them; later ones of the same values stand for earlier ones."""
        if table.name not in self._rules:
            rules: dict[tuple[str, ...], Found] = defaultdict(dict)
            for name, client, tombstone in self._given:
                if name == table.name:
                    columns = tuple(sorted(tombstone.where))
                    values = (value_of(tombstone.where[c], table.column(c).type) for c in columns)
                    rules[columns][client, *(to_text(v)[0].as_py() for v in values)] = tombstone
            self._rules[table.name] = rules
        return self._rules[table.name]


def _texts(batch: pa.RecordBatch, columns: Sequence[str]) -> list[list[str | None]]:
    return [to_text(batch.column(name)).to_pylist() for name in columns]


@dataclass(frozen=True)
class Place:
    """Where a part stands in its commit: rows of each client before it. `cells`: whose rows it has."""

    sieve: Sieve
    before: Mapping[str, int]
    cells: tuple[str, ...]

    def sifted(self, table: Table, rows: Counter[str], batch: pa.RecordBatch) -> pa.RecordBatch:
        # A part of a table with client ids of its own has one cell.
        mine = table.own_client_ids
        clients = self.cells * batch.num_rows if mine else batch.column(CLIENT_ID).to_pylist()
        return self.sieve.kept(table, clients, rows, batch)
