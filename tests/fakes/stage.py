"""A run written by hand: documents, plan, parts and commits, without a worker or a planner.

run = StageRun(tmp_path, table, spec={"connection_string": "w.duckdb"})
run.round([shard({"a": rows(1, 2)}), shard({"b": Bad("denied")})], clients=["a", "b"])
run.load()
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import pyarrow as pa
import pyarrow.parquet as pq

from contracts import layout
from contracts.commit import Cell, Commit, Part
from contracts.plan import Plan, PlannedDestination, PlannedSource, PlannedTable, Shard, Slice
from contracts.queue import Message
from contracts.receipt import Receipt
from contracts.stage import Stage
from contracts.stagefile import parquet, quoted
from contracts.store import open_store
from contracts.table import Column, Table, with_cq_columns
from loader.cache import Warehouses
from loader.load import load

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = UUID("00000000-0000-0000-0000-000000000001")


class StillHeart:
    """No other attempt is ever alive."""

    def beat(self, run: str, job: str, attempt: str) -> None: ...

    def fresh(self, run: str, job: str) -> bool:
        return False

    def stop(self, run: str, job: str) -> None: ...


@dataclass(frozen=True)
class Bad:
    """A cell that did not end ok; `rows` of it lie in a part, `kept` of them up to a checkpoint."""

    reason: str = "denied"
    outcome: str = "failed"
    rows: tuple[Mapping[str, Any], ...] = ()
    kept: tuple[Mapping[str, Any], ...] = ()
    cursor: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Good:
    """A cell that ended ok, with a cursor."""

    rows: tuple[Mapping[str, Any], ...] = ()
    cursor: Mapping[str, str] = field(default_factory=dict)


Cells = Mapping[str, Any]  # client → rows, Good or Bad


@dataclass(frozen=True)
class Content:
    """One shard: table → client → cell. `verdict`: the commit of a watcher, without any cell."""

    tables: Mapping[str, Cells]
    clients: tuple[str, ...]
    slice: tuple[int, int] | None = None
    verdict: str = ""
    forget: bool = False  # the commit mentions no cell
    missing: bool = False  # there is no commit


def shard(cells: Cells, *, children: Mapping[str, Cells] | None = None, **kwargs: Any) -> Content:
    return Content({"": cells, **(children or {})}, tuple(cells), **kwargs)


def table(name: str = "items", *columns: Column, **kwargs: Any) -> Table:
    """A table with a key `id` and a text `v`, unless columns are given; `_cq_*` included."""
    own = columns or (
        Column("id", pa.int64(), nullable=False, primary_key=True),
        Column("v", pa.string()),
    )
    return with_cq_columns(Table(name, own, **kwargs))


def rows(*ids: int, v: str = "x") -> tuple[dict[str, Any], ...]:
    return tuple({"id": i, "v": f"{v}{i}"} for i in ids)


class StageRun:
    """One run of one source into one destination `w`."""

    def __init__(
        self,
        place: Path,
        *tree: Table,
        spec: Mapping[str, Any],
        run: str = "run-1",
        sync_time: datetime = NOW,
        path: str = "cloudquery/duckdb",
        source: str = "src",
        format_: str = "parquet",
        state: str = "",
        full_refresh: bool = False,
        environment: Mapping[str, str] | None = None,
        warehouses: Warehouses | None = None,
        store: Any = None,
        **outer: Any,
    ) -> None:
        self.tree = tree or (table(),)
        self.run, self.source, self.format, self.sync_time = run, source, format_, sync_time
        self.full_refresh = full_refresh
        self.stage = Stage(store or open_store(str(place)))
        self.heart = StillHeart()
        self.environment = environment or {}
        self.warehouses = warehouses
        self._holds_state = (source,) if state else ()
        self._path = path
        body: dict[str, Any] = {
            "name": source, "path": "cloudquery/test", "tables": ["*"], "destinations": ["w"],
        }  # fmt: skip
        if state:
            body["backend_options"] = {"table_name": state, "connection": "@@plugins.w.connection"}
        documents = [
            {"kind": "source", "spec": body},
            {
                "kind": "destination",
                "spec": {"name": "w", "path": path, "spec": dict(spec), **outer},
            },
        ]
        for n, document in enumerate(documents):
            self.stage.store.put(layout.spec(run, n), json.dumps(document).encode())

    @property
    def top(self) -> Table:
        return self.tree[0]

    def round(
        self,
        shards: Sequence[Content],
        *,
        number: int = 1,
        clients: Sequence[str] | None = None,
        authoritative: bool = True,
        selected: Sequence[str] | None = None,
    ) -> None:
        """Write plan, parts and commits; clients that are new are added to the source's list."""
        key = layout.clients(self.run, self.source)
        known = [] if number == 1 else [
            json.loads(line) for line in self.stage.store.get(key).splitlines()
        ]  # fmt: skip
        named = (c for s in shards for c in s.clients)
        known = list(dict.fromkeys([*known, *(clients or ()), *named]))
        self.stage.write_clients(self.run, self.source, known)
        names = tuple(selected or (t.name for t in self.tree))
        planned = [self._shard(number, n, s, known) for n, s in enumerate(shards)]
        cells = sum(s.cells for s in planned) * len(names)
        planned_table = PlannedTable(
            source=self.source, name=self.top.name, tree=self.tree, selected=names, first=0,
            shards=len(planned), cells=cells, clients=((0, len(known)),), authoritative=authoritative,
            full_refresh=self.full_refresh,
        )  # fmt: skip
        plan = Plan(
            run=self.run, round=number, created=NOW, sync_time=self.sync_time, format=self.format,
            sources=(PlannedSource(
                name=self.source, path="cloudquery/test", spec=0, destinations=("w",), clients=len(known),
            ),),
            destinations=(PlannedDestination(
                name="w", path=self._path, spec=1, holds_state_of=self._holds_state,
            ),),
            tables=(planned_table,), shards=len(planned), cells=cells,
        )  # fmt: skip
        for planned_shard, content in zip(planned, shards, strict=True):
            if not content.missing:
                self.stage.create_commit(self._commit(planned_shard, content))
        self.stage.write_plan(plan, planned)

    def message(self, number: int = 1, table: str = "") -> Message:
        name = table or self.top.name
        return Message(
            "load", self.run, destination="w", source=self.source, table=name, round=number
        )

    def load(self, number: int = 1) -> Receipt:
        return self.load_of("", number)

    def load_of(self, table: str, number: int = 1) -> Receipt:
        """`table`: a top-level table; empty: the first."""
        receipt = load(
            self.message(number, table),
            stage=self.stage,
            heart=self.heart,
            environment=self.environment,
            warehouses=self.warehouses,
        )
        assert receipt is not None
        return receipt

    def _shard(self, number: int, n: int, content: Content, known: list[str]) -> Shard:
        ranges = tuple((known.index(c), known.index(c) + 1) for c in sorted(content.clients, key=known.index))  # fmt: skip
        cut = Slice(*content.slice, {}) if content.slice else None
        return Shard(layout.shard_id(number, n), self.source, self.top.name, ranges, slice=cut)

    def _commit(self, planned: Shard, content: Content) -> Commit:
        base: dict[str, Any] = {
            "run": self.run, "shard": planned.id, "attempt": "a1", "started": NOW, "ended": NOW,
        }  # fmt: skip
        if content.verdict:
            verdict = Cell(table="", client="", outcome="failed", reason=content.verdict)
            return Commit(**base, verdict=verdict)
        parts: list[Part] = []
        cells: list[Cell] = []
        for t in self.tree:
            found = content.tables.get(t.name) or (content.tables[""] if t is self.top else {})
            part = self._part(planned, t, found)
            parts += [part] if part else []
            cells += [_cell(t.name, c, found.get(c, ())) for c in content.clients]
        return Commit(**base, parts=tuple(parts), cells=() if content.forget else tuple(cells))

    def _part(self, planned: Shard, of: Table, cells: Cells) -> Part | None:
        written: list[dict[str, Any]] = []
        counts: dict[str, int] = {}
        dropped = []
        for client, cell in cells.items():
            own = _rows(cell)
            counts |= {client: len(own)} if own else {}
            if isinstance(cell, Bad) and cell.rows:
                dropped.append(client)
            written += [self._stamped(of, row, client) for row in own]
        if not written:
            return None
        data = encoded(rows_to_table(of, written), of, self.format)
        key = layout.part(self.run, self.source, of.name, planned.id, "a1", 0, self.format)
        self.stage.store.put(key, data)
        return Part(
            key=key, table=of.name, rows=len(written), bytes=len(data),
            checksum=f"crc32:{zlib.crc32(data):08x}", cells=counts, dropped=tuple(dropped),
        )  # fmt: skip

    def _stamped(self, of: Table, row: Mapping[str, Any], client: str) -> dict[str, Any]:
        key = json.dumps([row.get(k) for k in of.primary_key], default=str)
        return {
            "_cq_sync_time": self.sync_time,
            "_cq_source_name": self.source,
            "_cq_id": uuid5(NAMES, f"{of.name} {key}").bytes,
            "_cq_parent_id": None,
            "_cq_client_id": client,
            **row,
        }


def _rows(cell: Any) -> tuple[Mapping[str, Any], ...]:
    if isinstance(cell, Bad):
        return cell.rows or cell.kept
    return cell.rows if isinstance(cell, Good) else tuple(cell)


def _cell(name: str, client: str, cell: Any) -> Cell:
    if isinstance(cell, Bad):
        return Cell.model_validate({
            "table": name, "client": client, "outcome": cell.outcome, "rows": len(cell.kept),
            "reason": cell.reason, "message": f"{cell.reason}: no", "cursor": cell.cursor,
        })  # fmt: skip
    cursor = cell.cursor if isinstance(cell, Good) else {}
    return Cell(table=name, client=client, outcome="ok", rows=len(_rows(cell)), cursor=cursor)


def rows_to_table(of: Table, written: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows as Python values (or one-element Arrow arrays) → the table's schema."""
    listed = list(written)
    columns = []
    for column in of.columns:
        cells = [row.get(column.name) for row in listed]
        if any(isinstance(c, pa.Array) for c in cells):
            columns.append(pa.concat_arrays([
                c if isinstance(c, pa.Array) else pa.nulls(1, column.type) for c in cells
            ]))  # fmt: skip
        else:
            columns.append(pa.array(cells, column.type))
    return pa.Table.from_arrays(columns, schema=of.schema)


def encoded(data: pa.Table, of: Table, format_: str) -> bytes:
    """One part's bytes, as a worker writes them."""
    if format_ == "csv":
        batch = data.combine_chunks().to_batches()[0]
        return bytes(quoted.encode(batch, header=True))
    sink = io.BytesIO()
    schema = parquet.physical(of.schema)
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        writer.write_table(parquet.encode(data, schema))
    return sink.getvalue()
