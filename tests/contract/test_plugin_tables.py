"""Destinations with tables of plugins: clients of their own, schemas that grow."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from contracts.store.local import LocalStore
from tests.contract.test_duckdb import DuckDBPlace
from tests.contract.test_postgresql import PostgresPlace
from tests.suites.evolution import EvolutionSuite
from tests.suites.files import FilesPlace
from tests.suites.own_clients import OwnClientsSuite
from tests.suites.tombstones import TombstonesSuite


class DuckDB:
    @pytest.fixture
    def place(self, tmp_path: Path) -> DuckDBPlace:
        return DuckDBPlace(tmp_path / "w.duckdb")


class PostgreSQL:
    @pytest.fixture
    def place(self, postgres_dsn: str) -> PostgresPlace:
        return PostgresPlace(postgres_dsn)


class TestOwnClientsInDuckDB(DuckDB, OwnClientsSuite):
    pass


@pytest.mark.postgres
class TestOwnClientsInPostgreSQL(PostgreSQL, OwnClientsSuite):
    pass


class Columns:
    """What the suite asks of a table, whichever columns it has."""

    def found(self, place: Any) -> list[dict[str, Any]]:
        of = "FROM information_schema.columns WHERE table_name = 'items' AND table_schema IN ('main', 'public')"
        names = [name for (name,) in place.rows(f"SELECT column_name {of}")]
        wanted = [name for name in ("id", "n", "x") if name in names]
        rows = place.rows(f"SELECT {', '.join(wanted)} FROM items ORDER BY id")
        return [dict(zip(wanted, row, strict=True)) for row in rows]


class TestEvolutionInDuckDB(DuckDB, Columns, EvolutionSuite):
    pass


@pytest.mark.postgres
class TestEvolutionInPostgreSQL(PostgreSQL, Columns, EvolutionSuite):
    pass


class TestEvolutionInFiles(EvolutionSuite):
    keeps: ClassVar[dict[str, str]] = {}

    @pytest.fixture
    def place(self, tmp_path: Path) -> FilesPlace:
        spec = {"path": f"{tmp_path}/out", "format": "json"}
        return FilesPlace("cloudquery/file", LocalStore(tmp_path / "out"), spec, "")

    def found(self, place: Any) -> list[dict[str, Any]]:
        rows = [{k: v for k, v in r.items() if not k.startswith("_cq_")} for r in place.rows()]
        return sorted(rows, key=lambda row: int(row["id"]))


class TestTombstonesInDuckDB(DuckDB, TombstonesSuite):
    pass


@pytest.mark.postgres
class TestTombstonesInPostgreSQL(PostgreSQL, TombstonesSuite):
    pass
