"""A source of small trees of tables, reproducible to the last value, that a test can stop in the middle.

`root0`, `root1`, … each with the child `root0_leaves`. Without keys all ids are random, and a leaf's link
to its parent is only in `_cq_parent_id`. Arrow is imported when it is needed: every program of a test
imports this module's registry entry, and few of them read.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import pyarrow as pa

    from contracts.table import Table
    from worker.sources.base import Clients, Context, Event, Rows, Work


class Options(BaseModel):
    """`gate`: a directory; each shard writes `TABLE.PID` there and goes on when there is a file `open`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    clients: tuple[str, ...] = ("ann", "bob")
    trees: int = 1
    rows: int = 3
    leaves: int = 2  # per row
    keyed: bool = True
    text: str = "v"  # in every root
    gate: str = ""
    delay_s: float = 0.0  # of each client
    poison: str = ""  # whoever reads this client dies
    together: bool = False  # its trees may share shards
    failing: str = ""  # the leaves of this root are denied


def open(spec: Mapping[str, Any], context: Context) -> TreeSource:  # noqa: A001 the registry's name
    options = Options.model_validate(dict(spec))
    return (Together if options.together else TreeSource)(options, context)


class TreeSource:
    def __init__(self, options: Options, context: Context) -> None:
        self._options, self._context = options, context

    def tables(self) -> Sequence[Table]:
        import pyarrow as pa

        from contracts.table import Column, Table

        keyed = self._options.keyed
        found: list[Table] = []
        for n in range(self._options.trees):
            text = (
                Column("client", pa.string(), primary_key=keyed),
                Column("name", pa.string(), primary_key=keyed),
            )
            found.append(Table(f"root{n}", (*text, Column("text", pa.string()))))
            number = Column("number", pa.int64(), primary_key=keyed)
            found.append(Table(f"root{n}_leaves", (*text, number), parent=f"root{n}"))
        return found

    def clients(self, table: Table) -> Clients:
        from worker.sources.base import Clients

        del table
        return Clients("all", self._options.clients)

    def read(self, work: Work, cursors: Mapping[str, str]) -> Iterator[Event]:
        from worker.sources.base import CellDone

        del cursors
        for client in work.clients:
            if client == self._options.poison:
                os.kill(os.getpid(), signal.SIGKILL)
            for top, *children in work.trees:
                roots, leaves = self._rows(top.name, client)
                yield roots
                self._wait(top.name)
                yield leaves
                for table in (top, *children):
                    if table.name == f"{self._options.failing}_leaves":
                        yield CellDone(table.name, client, "failed", "denied", "no leaves")
                    elif table.name in work.selected:
                        yield CellDone(table.name, client)

    def _rows(self, table: str, client: str) -> tuple[Rows, Rows]:
        import pyarrow as pa

        from worker.sources.base import Rows

        o = self._options
        names = [f"{client} {n}" for n in range(o.rows)]
        roots: dict[str, Any] = {
            "client": [client] * o.rows,
            "name": names,
            "text": [f"{o.text} {table}"] * o.rows,
        }
        of = [name for name in names for _ in range(o.leaves)]
        leaves = {
            "client": [client] * len(of),
            "name": of,
            "number": list(range(o.leaves)) * o.rows,
        }
        ids = self._ids(pa.record_batch(roots))
        roots["_cq_id"] = ids
        at = pa.array([n for n in range(o.rows) for _ in range(o.leaves)], pa.int64())
        leaves["_cq_parent_id"] = ids.take(at)
        return (
            Rows(table, client, pa.record_batch(roots)),
            Rows(f"{table}_leaves", client, pa.record_batch(leaves)),
        )

    def _ids(self, roots: pa.RecordBatch) -> pa.Array:
        from worker.ids import deterministic_ids, random_ids

        if self._options.keyed:
            return deterministic_ids(roots, ("client", "name"))
        return random_ids(roots.num_rows)

    def _wait(self, table: str) -> None:
        if self._options.delay_s:
            select.select([], [], [], self._options.delay_s)
        if not self._options.gate:
            return
        gate = Path(self._options.gate)
        (gate / f"{table}.{os.getpid()}").touch()
        while not (gate / "open").exists() and not self._context.cancelled():
            select.select([], [], [], 0.02)

    def close(self) -> None:
        """Nothing is held open."""


class Together(TreeSource):
    def groups(self, trees: Sequence[tuple[Table, ...]]) -> Sequence[Sequence[str]]:
        return [[tree[0].name for tree in trees]]
