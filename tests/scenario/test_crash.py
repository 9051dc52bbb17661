"""Numbered crash points of whole runs: whatever dies after whichever write, the warehouse ends the same."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import doomed, specs
from tests.fakes.contents import Contents, of_duckdb, of_postgresql
from tests.fakes.fleet import Fleet
from tests.fakes.matrix import Cell, Found, tried
from tests.fakes.servers import S3, Postgres

pytestmark = pytest.mark.timeout(300)

CLIENTS = ("ann", "bob")
ROWS, LEAVES = 3, 2
DOOMED = "from tests.fakes.doomed import main; main()"


def expected(trees: int) -> dict[str, list[tuple[str, ...]]]:
    """Table → its rows: what a run without any death loads."""
    roots = [(client, f"{client} {n}") for client in CLIENTS for n in range(ROWS)]
    leaves = [(*root, str(leaf)) for root in roots for leaf in range(LEAVES)]
    found: dict[str, list[tuple[str, ...]]] = {}
    for n in range(trees):
        found |= {f"root{n}": roots, f"root{n}_leaves": leaves}
    return found


def loaded(contents: Contents, source: str = "trees") -> dict[str, list[tuple[str, ...]]]:
    """Table → its rows in the warehouse, one entry per row."""
    keys = ("client", "name", "number")
    return {
        table: sorted(
            tuple(str(row[k]) for k in keys if k in row)
            for row in rows
            if row["_cq_source_name"] == source
        )
        for table, rows in contents.items()
    }


@pytest.fixture
def deaths(tmp_path: Path) -> Path:
    place = tmp_path / "deaths"
    place.mkdir()
    return place


def die_and_go_on(fleet: Fleet, deaths: Path, roles: str, stride: int = 1) -> str:
    """A whole run in which every job's first attempt dies, at another write each; the summary."""
    process = fleet.start(
        "sharder", "submit", "spec.yml", code=DOOMED,
        DOOMED_DEATHS=str(deaths), DOOMED_ROLES=roles, DOOMED_STRIDE=str(stride),
    )  # fmt: skip
    out, err = process.communicate()
    assert process.returncode == 0, out + err
    return out


def test_workers_killed_after_every_write_of_a_shard(embedded: Fleet, deaths: Path) -> None:
    trees = 10  # a shard of this size has eight writes
    spec = specs.spec(specs.tree(trees=trees, keyed=False), specs.duckdb(write_mode="append"))
    (embedded.home / "spec.yml").write_text(spec)
    out = die_and_go_on(embedded, deaths, "worker")
    died = len(list(deaths.iterdir()))
    assert 6 < died < trees  # the last shards have no write left to die after
    assert "attempts lost and done again" in out
    assert loaded(of_duckdb(embedded.home / "w.duckdb")) == expected(trees)


def kill_loaders(embedded: Fleet, deaths: Path, warehouse: specs.Document, trees: int) -> None:
    spec = specs.spec(specs.tree(trees=trees, keyed=False), warehouse)
    (embedded.home / "spec.yml").write_text(spec)
    die_and_go_on(embedded, deaths, "loader", stride=6)
    assert len(list(deaths.iterdir())) > trees // 2


def test_loaders_killed_all_along_a_load_into_duckdb(embedded: Fleet, deaths: Path) -> None:
    kill_loaders(embedded, deaths, specs.duckdb(write_mode="append"), 7)
    assert loaded(of_duckdb(embedded.home / "w.duckdb")) == expected(7)


@pytest.mark.postgres
def test_loaders_killed_all_along_a_load_into_postgresql(
    embedded: Fleet, deaths: Path, postgres_dsn: str
) -> None:
    kill_loaders(embedded, deaths, specs.postgresql(postgres_dsn, write_mode="append"), 5)
    assert loaded(of_postgresql(postgres_dsn)) == expected(5)


@pytest.fixture
def manned(tmp_path: Path, redis_url: str, postgres_dsn: str) -> Iterator[Fleet]:
    """A fleet that stays alive while one submitter after the other is killed."""
    environment = {
        "SHARDER_BROKER": redis_url,
        "SHARDER_STAGE": str(tmp_path / "stage"),
        specs.DSN: postgres_dsn,
    }
    with Fleet(tmp_path, environment) as fleet:
        fleet.start("worker", "run")
        fleet.start("loader", "run")
        yield fleet


@pytest.mark.redis
@pytest.mark.postgres
def test_submitters_killed_after_every_write_to_the_stage(
    manned: Fleet, postgres: Postgres
) -> None:
    """Each submits a source of its own, into both engines, and is resumed from the stage alone."""
    at, died = 0, True
    while died:
        at += 1
        source = specs.source(f"n{at}", {"keyed": False}, plugin="tree", destinations=["w", "file"])
        both = (
            specs.postgresql(write_mode="append"),
            specs.duckdb(name="file", write_mode="append"),
        )
        (manned.home / "spec.yml").write_text(specs.spec(source, *both))
        run = f"run-{at:02}"
        words = ("submit", "spec.yml", "--run-id", run)
        code, said = doomed.submitter(manned.home, manned.environment, at, *words)
        assert code in (0, -signal.SIGKILL), said
        died = code != 0
        again = ("resume", run) if has_plan(manned.home, run) else words
        code, said = doomed.submitter(manned.home, manned.environment, 0, *again)
        assert code == 0, said
    assert at > 12
    manned.stop()  # its loader keeps the file to itself
    one, other = of_postgresql(manned.environment[specs.DSN]), of_duckdb(manned.home / "w.duckdb")
    for n in range(1, at + 1):
        assert loaded(one, f"n{n}") == loaded(other, f"n{n}") == expected(1), (
            f"killed after write {n}"
        )


def has_plan(home: Path, run: str) -> bool:
    return (home / "stage" / "runs" / run / "plan" / "1" / "index.json").exists()


# A few cells of the matrix of places, engines and write modes; `python -m tests.model.matrix` goes through all.


def whole(found: Found, least: int) -> None:
    assert not found.lost
    assert not found.doubled
    assert found.killed >= least


def test_workers_and_loaders_killed_while_stale_rows_go_from_duckdb(embedded: Fleet) -> None:
    whole(tried(Cell("embedded", "duckdb", "overwrite-delete-stale", trees=4), embedded), 6)


@pytest.mark.postgres
def test_workers_and_loaders_killed_while_rows_of_postgresql_are_written_over(
    embedded: Fleet, postgres_dsn: str
) -> None:
    found = tried(Cell("embedded", "postgresql", "overwrite", trees=4), embedded, postgres_dsn)
    whole(found, 6)


def test_workers_and_loaders_killed_while_files_are_written(embedded: Fleet) -> None:
    whole(tried(Cell("embedded", "file", "append", trees=4), embedded), 5)


@pytest.mark.redis
@pytest.mark.postgres
@pytest.mark.s3
def test_workers_and_loaders_of_a_fleet_killed_while_stale_rows_go(
    tmp_path: Path, redis_url: str, s3: S3, s3_url: str, postgres_dsn: str
) -> None:
    environment = {
        **s3.environment(),
        "SHARDER_BROKER": redis_url,
        "SHARDER_STAGE": s3_url,
        specs.DSN: postgres_dsn,
    }
    with Fleet(tmp_path, environment) as fleet:
        cell = Cell("fleet", "postgresql", "overwrite-delete-stale", trees=4)
        whole(tried(cell, fleet, postgres_dsn), 6)
