"""DuckDB and PostgreSQL show transformed tables; and what is decided before either is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import InputError, Permanent
from contracts.queue import Message
from loader.documents import destination
from loader.migrating import migrate
from tests.contract.test_duckdb import DuckDBPlace
from tests.contract.test_postgresql import PostgresPlace
from tests.fakes.stage import StageRun, rows, shard
from tests.fakes.transforms import AT
from tests.suites.transformed import TransformedSuite, declare


class TestDuckDB(TransformedSuite):
    @pytest.fixture
    def place(self, tmp_path: Path) -> DuckDBPlace:
        return DuckDBPlace(tmp_path / "w.duckdb")


@pytest.mark.postgres
class TestPostgreSQL(TransformedSuite):
    @pytest.fixture
    def place(self, postgres_dsn: str) -> PostgresPlace:
        return PostgresPlace(postgres_dsn)


@pytest.fixture
def run(tmp_path: Path) -> StageRun:
    return StageRun(
        tmp_path / "stage", spec={"connection_string": str(tmp_path / "w.duckdb")},
        transformers=["second", "first"], write_mode="append",
    )  # fmt: skip


def suffix(letter: str, **outer: object) -> dict:
    template = f"{{{{.OldName}}}}_{letter}"
    kind = {"kind": "change_table_names", "new_table_name_template": template}
    return {"transformations": [kind], **outer}


def opened(run: StageRun, **environment: str):
    return destination(run.stage, run.run, "w", environment)


def test_the_order_is_that_of_the_documents_not_of_the_list(run):
    declare(run, 2, "first", "basic", suffix("a"))
    declare(run, 10, "second", "basic", suffix("b"))
    assert opened(run).chain.name("t") == "t_a_b"


def test_a_transformer_that_is_not_named_is_not_applied(run):
    declare(run, 2, "first", "basic", suffix("a"))
    declare(run, 3, "second", "basic", suffix("b"))
    declare(run, 4, "third", "basic", suffix("c"))
    assert opened(run).chain.name("t") == "t_a_b"


def test_its_variables_are_filled_in_by_the_loader(run):
    declare(run, 2, "first", "basic", suffix("${LETTER}"))
    declare(run, 3, "second", "basic", suffix("b"))
    assert opened(run, LETTER="x").chain.name("t") == "t_x_b"
    with pytest.raises(InputError, match="LETTER"):
        opened(run)


def test_a_wrong_option_is_told_with_its_place(run):
    declare(run, 2, "first", "basic", {"transformations": [{"kind": "remove_colums"}]})
    declare(run, 3, "second", "basic", suffix("b"))
    with pytest.raises(InputError, match="did you mean 'remove_columns'"):
        opened(run)


def test_a_document_that_is_missing_is_named(run):
    declare(run, 2, "first", "basic", suffix("a"))
    with pytest.raises(Permanent, match="no document of a transformer 'second'"):
        opened(run)


def test_a_destination_without_transformers_shows_tables_as_they_are(tmp_path):
    run = StageRun(tmp_path / "stage", spec={"connection_string": str(tmp_path / "w.duckdb")})
    chain = opened(run).chain
    assert chain.show(run.top, AT).table is run.top


@pytest.mark.parametrize(("name", "offered"), [("change_table_names", True), ("uppercase", False)])
def test_files_are_read_in_place_unless_rows_are_touched(tmp_path, name, offered, monkeypatch):
    from loader.warehouses import duckdb

    seen = []
    copy = duckdb.DuckDB.copy
    monkeypatch.setattr(
        duckdb.DuckDB, "copy", lambda w, t, r: (seen.append(r.files is not None), copy(w, t, r))[1]
    )
    run = StageRun(
        tmp_path / "stage", spec={"connection_string": str(tmp_path / "w.duckdb")},
        transformers=["t"],
    )  # fmt: skip
    fields = {"new_table_name_template": "x"} if offered else {"columns": ["v"]}
    declare(run, 2, "t", "basic", {"transformations": [{"kind": name, **fields}]})
    run.round([shard({"a": rows(1)})])
    assert run.load().error == ""
    assert seen[0] is offered


def test_migrate_makes_the_table_that_a_load_will_want(run, tmp_path):
    for n, letter in ((2, "a"), (3, "b")):
        declare(run, n, {"a": "first", "b": "second"}[letter], "basic", suffix(letter))
    run.round([shard({"a": rows(1)})])
    run.stage.write_tables(run.stage.plan(run.run, 1))
    message = Message("migrate", run.run, destination="w")
    migrated = migrate(message, stage=run.stage, environment={})
    assert [(t.table, t.action) for t in migrated.tables] == [("items_a_b", "created")]
    assert run.load().error == ""
