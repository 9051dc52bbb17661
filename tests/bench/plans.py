"""Planning 10,000 accounts × 17 regions × 500 tables: seconds, and memory against a tenth of the accounts."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from contracts.stage import Stage
from contracts.store.local import LocalStore
from contracts.table import Column, Table
from tests.bench.pairs import Figure, Result, peak_mb
from tests.bench.scale import Scale
from worker.sources.base import Clients

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
SPEC = """\
kind: source
spec: {name: aws, path: cloudquery/aws, tables: ["*"], destinations: [duck]}
---
kind: destination
spec: {name: duck, path: cloudquery/duckdb}
"""


class Estate:
    """Tables of 20 columns, half of them per account and half per account and region."""

    def __init__(self, accounts: int, regions: int, tables: int) -> None:
        from worker.sources.aws.clientlist import RegionMajor

        numbers = tuple(f"{n:012d}" for n in range(accounts))
        names = tuple(f"region-{n}" for n in range(regions))
        self._regional = Clients("regions", RegionMajor({names: numbers}))
        self._global = Clients("accounts", numbers)
        columns = tuple(Column(f"column_{n}", pa.string(), primary_key=not n) for n in range(20))
        self._tables = [Table(f"aws_table_{n:03d}", columns) for n in range(tables)]

    def tables(self) -> list[Table]:
        return self._tables

    def clients(self, table: Table) -> Clients:
        return self._global if table.name.endswith("0") else self._regional

    def read(self, work: object, cursors: object) -> Iterator[object]:
        raise AssertionError("planning reads no rows")

    def close(self) -> None:
        """Nothing is open."""


def plan(accounts: int, regions: int, tables: int) -> tuple[float, int, int]:
    """Seconds to decide and to write the plan; its shards and cells."""
    from contracts.specfile import load
    from sharder.planner import plan_round

    with tempfile.TemporaryDirectory() as directory:
        spec = Path(directory) / "spec.yml"
        spec.write_text(SPEC)
        loaded = load([spec], {}, NOW)
        stage = Stage(LocalStore(Path(directory) / "stage"))
        estate = Estate(accounts, regions, tables)
        start = time.perf_counter()
        planned = plan_round(loaded, {"aws": estate}, run="r", now=NOW, cursors={})  # type: ignore[dict-item]
        for source, lines in planned.clients.items():
            stage.write_clients("r", source, lines)
        stage.write_plan(planned.plan, planned.shards())
        return time.perf_counter() - start, planned.plan.shards, planned.plan.cells


def bench(scale: Scale) -> Iterator[Result]:
    seconds, shards, cells = plan(scale.accounts, scale.regions, scale.tables)
    name = f"plan {scale.accounts:,} accounts × {scale.regions} regions × {scale.tables} tables"
    yield Figure(
        name,
        seconds,
        "s",
        60,
        detail=f"{cells:,} cells in {shards:,} shards, written to a local stage",
    )
    few = max(1, scale.accounts // 10)
    sizes = [
        peak_mb("tests.bench.plans", str(n), str(scale.regions), str(scale.tables))
        for n in (few, scale.accounts)
    ]
    yield Figure(f"{name}: memory", sizes[1] / sizes[0], "×", 1.1, f"{few:,} accounts",
                 f"peak of the process: {sizes[0]:.0f} and {sizes[1]:.0f} MB")  # fmt: skip


if __name__ == "__main__":
    plan(*map(int, sys.argv[1:]))
