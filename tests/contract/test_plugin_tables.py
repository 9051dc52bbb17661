"""DuckDB and PostgreSQL with tables of plugins: clients of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.test_duckdb import DuckDBPlace
from tests.contract.test_postgresql import PostgresPlace
from tests.suites.own_clients import OwnClientsSuite


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
