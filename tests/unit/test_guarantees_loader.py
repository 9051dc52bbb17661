"""What a loader promises where several loads could get in each other's way."""

from __future__ import annotations

import subprocess
import sys

import psycopg
import pytest

from contracts.errors import Transient
from tests.fakes.stage import Good, StageRun, rows, shard, table


def in_schema(dsn: str, schema: str) -> str:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    return f"{dsn}{'&' if '?' in dsn else '?'}options=-csearch_path%3D{schema}"


def read(dsn: str, query: str) -> list[tuple]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.postgres
def test_two_destinations_in_one_database_both_get_every_row(tmp_path, postgres_dsn):
    """Schemas of one database are places of their own: a load into one is no load into the other."""
    for schema in ("one", "two"):
        dsn = in_schema(postgres_dsn, schema)
        run = StageRun(
            tmp_path / schema, spec={"connection_string": dsn}, path="cloudquery/postgresql"
        )
        run.round([shard({"a": rows(1, 2, 3)})])
        receipt = run.load()
        assert (receipt.outcome, receipt.published) == ("ok", 3)
        assert read(postgres_dsn, f"SELECT count(*) FROM {schema}.items") == [(3,)]


def test_two_cells_that_set_one_cursor_differently_are_refused(tmp_path):
    """Whichever of the two came last would pass rows that the other has not read."""
    spec = {"connection_string": str(tmp_path / "w.duckdb")}
    run = StageRun(tmp_path / "stage", table(incremental=True), spec=spec, state="state")
    run.round([
        shard({"a": Good(rows(1), {"key": "10"})}), shard({"b": Good(rows(2), {"key": "20"})}),
    ])  # fmt: skip
    receipt = run.load()
    assert receipt.outcome == "failed"
    assert "'key'" in receipt.error


def test_one_value_of_a_cursor_from_many_cells_is_fine(tmp_path):
    spec = {"connection_string": str(tmp_path / "w.duckdb")}
    run = StageRun(tmp_path / "stage", table(incremental=True), spec=spec, state="state")
    run.round([
        shard({"a": Good(rows(1), {"key": "10"})}), shard({"b": Good(rows(2), {"key": "10"})}),
    ])  # fmt: skip
    assert run.load().cursors == {"key": "10"}


@pytest.mark.parametrize("name", ["sharder_loads", "sharder_cells", "state"])
def test_a_source_table_that_is_called_like_one_of_ours_is_refused_with_its_reason(tmp_path, name):
    spec = {"connection_string": str(tmp_path / "w.duckdb")}
    run = StageRun(tmp_path / "stage", table(name), spec=spec, state="state")
    run.round([shard({"a": rows(1)})])
    receipt = run.load()
    assert receipt.outcome == "failed"
    assert "Sharder's own" in receipt.error
    assert "skip_tables" in receipt.error


def test_a_load_that_has_to_be_tried_again_leaves_its_reason(tmp_path):
    file = tmp_path / "w.duckdb"
    run = StageRun(tmp_path / "stage", spec={"connection_string": str(file)})
    run.round([shard({"a": rows(1)})])
    holder = subprocess.Popen(
        [sys.executable, "-c", f"import duckdb; c = duckdb.connect({str(file)!r}); print(1, flush=True); input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(Transient):
            run.load()
        assert "open in another process" in run.stage.last_error(run.run, run.message().job)
    finally:
        holder.communicate(b"\n")
    assert run.load().published == 1
