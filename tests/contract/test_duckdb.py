"""DuckDB keeps the warehouse contract; and what is its own: files, locks, keys that exist already."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest

from contracts.errors import InputError, Permanent, Transient, Unreachable
from loader.publication import take_fence
from loader.warehouses import registry
from tests.fakes.stage import Bad, StageRun, rows, shard
from tests.suites.warehouse import WarehouseSuite


class DuckDBPlace:
    path = "cloudquery/duckdb"

    def __init__(self, file: Path) -> None:
        self.file = file
        self.spec = {"connection_string": str(file)}

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.file)) as connection:
            return connection.execute(sql).fetchall()

    @contextmanager
    def beside(self, warehouse: Any) -> Iterator[Callable[[str], list[tuple[Any, ...]]]]:
        with warehouse._connection.cursor() as cursor:
            yield lambda sql: cursor.execute(sql).fetchall()


@pytest.fixture
def place(tmp_path: Path) -> DuckDBPlace:
    return DuckDBPlace(tmp_path / "w.duckdb")


class TestDuckDB(WarehouseSuite):
    """The whole contract."""


def open_(connection_string: str, **options: object) -> Any:
    return registry.open_warehouse("duckdb", {"connection_string": connection_string, **options})


def test_a_database_in_memory_is_refused_with_a_sentence():
    with pytest.raises(InputError, match="gone with the loader"):
        open_(":memory:")


def test_a_database_of_motherduck_is_refused_with_a_sentence():
    with pytest.raises(InputError, match="MotherDuck"):
        open_("md:mine")


def test_a_file_that_is_no_database_is_named(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("x" * 10_000)
    with pytest.raises(Permanent, match=r"notes\.txt"):
        open_(str(file))


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Permanent, match="cannot be made"):
        open_(str(tmp_path / "file" / "below" / "w.duckdb"))


def test_an_unknown_setting_is_the_users_to_mend(tmp_path):
    with pytest.raises(InputError, match="cannot be opened"):
        open_(f"{tmp_path}/w.duckdb?nonsense=1")


def test_directories_above_the_file_are_made(tmp_path):
    open_(str(tmp_path / "a" / "b" / "w.duckdb?threads=1")).close()
    assert (tmp_path / "a" / "b" / "w.duckdb").exists()


def test_a_file_that_another_process_has_open_asks_for_another_try(place):
    holder = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(place.file)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout.readline() == "open\n"
        with pytest.raises(Unreachable, match="open in another process"):
            open_(str(place.file))
        process.communicate("\n")


@pytest.mark.parametrize("write_mode", ["overwrite", "overwrite-delete-stale"])
def test_a_table_of_cloudquery_keeps_its_primary_key_and_its_types(place, tmp_path, write_mode):
    place.rows(
        "CREATE TABLE items (_cq_sync_time TIMESTAMP, _cq_source_name VARCHAR, _cq_id UUID NOT NULL, "
        "_cq_parent_id UUID, id BIGINT PRIMARY KEY, v VARCHAR, old VARCHAR)"
    )
    place.rows("INSERT INTO items VALUES ('2020-01-01', 'src', uuid(), NULL, 1, 'old', 'o')")
    run = StageRun(tmp_path / "stage", spec=place.spec, write_mode=write_mode)
    run.round([shard({"a": rows(1, 2), "b": Bad("denied")})])
    assert run.load().error == ""
    assert place.rows("SELECT id, v, _cq_client_id FROM items ORDER BY id") == [
        (1, "x1", "a"),
        (2, "x2", "a"),
    ]
    assert place.rows(
        "SELECT constraint_column_names FROM duckdb_constraints() "
        "WHERE constraint_type = 'PRIMARY KEY' AND table_name = 'items'"
    ) == [(["id"],)]


def test_a_stage_whose_path_looks_like_a_pattern_is_read(place, tmp_path):
    run = StageRun(tmp_path / "st[a]ge*", spec=place.spec)
    run.round([shard({"a": rows(1), "b": Bad(rows=rows(2))})])
    assert run.load().published == 1


def test_a_stage_elsewhere_is_read_through_arrow(place, tmp_path, monkeypatch):
    run = StageRun(tmp_path / "stage", spec=place.spec)
    run.round([shard({"a": rows(1), "b": Bad(rows=rows(2))})])
    monkeypatch.setattr(run.stage.store, "local_path", lambda key: None)
    assert run.load().published == 1
    assert place.rows("SELECT id FROM items") == [(1,)]


def test_an_error_of_the_stage_is_not_hidden_by_the_engine(place, tmp_path, monkeypatch):
    run = StageRun(tmp_path / "stage", spec=place.spec, format_="csv")
    run.round([shard({"a": rows(1)})])

    def away(key: str) -> Any:
        raise Unreachable("the bucket does not answer")

    monkeypatch.setattr(run.stage.store, "open_read", away)
    with pytest.raises(Unreachable, match="bucket"):
        run.load()


def test_a_part_that_is_gone_is_named(place, tmp_path):
    run = StageRun(tmp_path / "stage", spec=place.spec)
    run.round([shard({"a": rows(1)})])
    key = run.stage.commit("run-1", "01-0000000").parts[0].key
    run.stage.store.delete([key])
    receipt = run.load()
    assert receipt.outcome == "failed"
    assert key in receipt.error


def test_a_query_beyond_the_memory_limit_says_which_option_to_raise(place):
    warehouse = open_(str(place.file), memory_limit="10MB", threads=1)
    with pytest.raises(Permanent, match="memory_limit"):
        warehouse.query("SELECT string_agg(range::VARCHAR, '') FROM range(20000000)")
    warehouse.close()


def test_two_publishes_that_meet_at_the_fence_are_not_both_committed(place, tmp_path):
    """Before the first load of a table there is no row to lock, so its key decides; afterwards the row does."""
    first, second = open_(str(place.file)), open_(str(place.file))
    first.prepare()

    def meet() -> None:
        with second.transaction():
            take_fence(second, second.dialect, "src", "items")
            first.query("COMMIT")
            first.query("BEGIN")

    for _ in range(2):
        with first.transaction():
            take_fence(first, first.dialect, "src", "items")
            with pytest.raises(Transient):
                meet()
        assert first.query("SELECT count(*) FROM sharder.fence") == [(1,)]
    first.close()
    second.close()
