"""A run's documents, as a submitter would have written them, for tests of what comes after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import orjson

from contracts import layout
from contracts.cursors import Cursors
from contracts.plan import Plan, PlannedDestination, PlannedSource, PlannedTable, Shard, Slice
from contracts.queue import Message
from contracts.stage import Stage
from contracts.store.local import LocalStore
from contracts.table import Table, trees, with_cq_columns

SYNC_TIME = datetime(2026, 5, 4, 3, 2, 1, 654321, tzinfo=UTC)
RUN = "r1"


def local_stage(path: Path) -> Stage:
    return Stage(LocalStore(path))


class Steady:
    """A heart that beats for nobody; `is_fresh` says that somebody else's does."""

    def __init__(self, *, is_fresh: bool = False) -> None:
        self.beats = 0
        self._fresh = is_fresh

    def beat(self, run: str, job: str, attempt: str) -> None:
        self.beats += 1

    def fresh(self, run: str, job: str) -> bool:
        return self._fresh

    def stop(self, run: str, job: str) -> None:
        self.beats = 0


def write_run(
    stage: Stage,
    tables: Sequence[Table],
    clients: Sequence[str],
    *,
    path: str,
    spec: Mapping[str, object],
    run: str = RUN,
    round_: int = 1,
    name: str = "src",
    selected: Sequence[str] | None = None,
    cursors: Mapping[str, str] | None = None,
    slices: Sequence[Mapping[str, object]] | None = None,
    format_: str = "parquet",
    part_size: int = 128 << 20,
    full_refresh: bool = False,
    timeout_s: float = 0.0,
    max_clients_in_flight: int = 0,
) -> list[Message]:
    """One shard per top-level table (or slice), over all clients; the messages to work on them."""
    document = {
        "kind": "source",
        "spec": {
            "name": name, "path": path, "version": "v1.0.0", "tables": ["*"], "destinations": ["w"],
            "spec": dict(spec),
        },
    }  # fmt: skip
    stage.store.put(layout.spec(run, 0), orjson.dumps(document))
    stage.write_clients(run, name, clients)
    shards: list[Shard] = []
    planned: list[PlannedTable] = []
    ranges = ((0, len(clients)),)
    for top, tree in trees(tables).items():
        frozen = tuple(with_cq_columns(t) for t in tree)
        cuts = [Slice(n, len(slices), b) for n, b in enumerate(slices)] if slices else [None]
        planned.append(
            PlannedTable(
                source=name, name=top, tree=frozen,
                selected=tuple(t.name for t in tree if selected is None or t.name in selected),
                first=len(shards), shards=len(cuts), cells=len(clients) * len(tree),
                clients=ranges, authoritative=True,
            )
        )  # fmt: skip
        for cut in cuts:
            shards.append(Shard(layout.shard_id(round_, len(shards)), name, top, ranges, 1.0, cut))
    plan = Plan(
        run=run, round=round_, created=SYNC_TIME, sync_time=SYNC_TIME, format=format_,
        part_size=part_size, full_refresh=(name,) if full_refresh else (),
        sources=(
            PlannedSource(
                name=name, path=path, spec=0, destinations=("w",), clients=len(clients),
                timeout_s=timeout_s, max_clients_in_flight=max_clients_in_flight,
            ),
        ),
        destinations=(PlannedDestination(name="w", path="cloudquery/duckdb", spec=1, holds_state_of=(name,)),),
        tables=tuple(planned), shards=len(shards), cells=sum(t.cells for t in planned),
    )  # fmt: skip
    stage.write_plan(plan, shards)
    if cursors is not None:
        stage.write_cursors(Cursors(run=run, destination="w", cursors={name: dict(cursors)}))
    return [Message("shard", run, shard=s.id) for s in shards]
