"""PostgreSQL appends inside of the publish: rows are written once, and all or none of them are there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from contracts import types
from contracts.table import Column, Table
from loader.cache import Warehouses, open_destination
from loader.documents import OpenDestination
from tests.fakes.stage import NOW, StageRun, rows, shard, table

pytestmark = pytest.mark.postgres


@pytest.fixture
def start(postgres_dsn: str, tmp_path: Path) -> Callable[..., StageRun]:
    def begin(day: int, *tree: Table) -> StageRun:
        return StageRun(
            tmp_path / "stage", *tree, spec={"connection_string": postgres_dsn},
            path="cloudquery/postgresql", run=f"run-{day}", sync_time=NOW.replace(day=day + 1),
            write_mode="append",
        )  # fmt: skip

    return begin


@pytest.fixture
def read(postgres_dsn: str) -> Callable[[str], list[tuple[Any, ...]]]:
    def run(sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(postgres_dsn) as connection:
            return connection.execute(sql).fetchall()

    return run


def landed(run: StageRun) -> int:
    """Load the run; how many landing tables were copied into, the one for its cells apart."""
    copied: list[str] = []

    def open_(found: OpenDestination) -> Any:
        warehouse: Any = open_destination(found)
        copy = warehouse.copy

        def counted(landing: Any, given: Any) -> int:
            copied.append(landing.name)
            return int(copy(landing, given))

        warehouse.copy = counted
        return warehouse

    with closing(Warehouses(open_)) as run.warehouses:
        receipt = run.load()
    assert (receipt.outcome, receipt.error) == ("ok", "")
    return len(copied) - 1


def column(name: str, type_: pa.DataType) -> Table:
    return table("items", Column("id", pa.int64()), Column(name, type_))


def test_rows_of_an_append_need_no_landing_table(start, read):
    for day in (0, 1):
        run = start(day)
        run.round([shard({"a": rows(1, 2)}), shard({"b": rows(3)})])
        assert landed(run) == 0
    assert read("SELECT id, count(*) FROM items GROUP BY id ORDER BY id") == [
        (1, 2),
        (2, 2),
        (3, 2),
    ]
    assert read("SELECT copied, rows, duplicates FROM sharder_loads") == [(3, 3, 0)] * 2


def test_a_column_that_travels_as_text_goes_by_way_of_one(start, read):
    run = start(0, column("net", types.INET))
    net = pa.ExtensionArray.from_storage(types.INET, pa.array(["10.0.0.0/8"]))
    run.round([shard({"a": ({"id": 1, "net": net},)})])
    assert landed(run) == 1
    assert read("SELECT net::text FROM items") == [("10.0.0.0/8",)]


def test_a_column_that_is_wider_in_the_warehouse_does_too(start, read):
    for day, type_, expected in ((0, pa.int64(), 0), (1, pa.int32(), 1)):
        run = start(day, column("n", type_))
        run.round([shard({"a": ({"id": day, "n": 5},)})])
        assert landed(run) == expected
    assert read("SELECT id, n FROM items ORDER BY id") == [(0, 5), (1, 5)]


def test_a_damaged_part_leaves_no_row_of_the_others(start, read):
    run = start(0)
    run.round([shard({"a": rows(1, 2)}), shard({"b": rows(3)})])
    key = run.stage.commit("run-0", "01-0000001").parts[0].key
    run.stage.store.put(key, run.stage.store.get(key)[:-9])
    assert run.load().outcome == "failed"
    assert read("SELECT count(*) FROM items") == [(0,)]
    assert read("SELECT count(*) FROM sharder_loads") == [(0,)]
