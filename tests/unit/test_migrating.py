"""`migrate` makes and alters tables as a load would, says what it did, and never drops a row silently."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest

from contracts import layout
from contracts.migration import Migrated, MigratedTable
from contracts.plan import Plan, PlannedDestination, PlannedSource, PlannedTable
from contracts.queue import Message
from contracts.stage import Stage
from contracts.table import Column, Table, with_cq_columns
from loader.migrating import migrate
from loader.warehouses import registry
from loader.warehouses.base import SqlWarehouse
from tests.fakes.runs import RUN, SYNC_TIME, local_stage

BASE = (
    Column("id", pa.int64(), nullable=False, primary_key=True),
    Column("name", pa.string()),
    Column("size", pa.int32()),
)


class Place:
    def __init__(self, plugin: str, connection: str, stage: Stage) -> None:
        self.plugin, self.stage = plugin, stage
        self.options = {"connection_string": connection}
        self.run = 0

    def migrate(self, *columns: Column, mode: str = "safe", **outer: Any) -> Migrated:
        """One run of the command's loader half for one table `t`."""
        self.run += 1
        run = f"{RUN}-{self.run}"
        destination = {
            "kind": "destination",
            "spec": {"name": "w", "path": f"cloudquery/{self.plugin}", "migrate_mode": mode, **outer,
                     "spec": self.options},
        }  # fmt: skip
        self.stage.store.put(layout.spec(run, 0), orjson.dumps(destination))
        table = with_cq_columns(Table("t", columns or BASE))
        self.stage.write_tables(plan(run, table))
        return migrate(Message("migrate", run, destination="w"), stage=self.stage, environment={})

    def query(self, text: str) -> list[tuple[Any, ...]]:
        warehouse = registry.open_warehouse(self.plugin, self.options)
        assert isinstance(warehouse, SqlWarehouse)
        try:
            return warehouse.query(text)
        finally:
            warehouse.close()

    def execute(self, text: str) -> None:
        warehouse = registry.open_warehouse(self.plugin, self.options)
        assert isinstance(warehouse, SqlWarehouse)
        try:
            warehouse.execute(text)
        finally:
            warehouse.close()

    def columns(self) -> set[str]:
        rows = self.query(
            "SELECT column_name FROM information_schema.columns WHERE table_name = 't'"
        )
        return {name for (name,) in rows}


def plan(run: str, *tables: Table) -> Plan:
    return Plan(
        run=run, round=0, created=SYNC_TIME, sync_time=SYNC_TIME,
        sources=(PlannedSource(name="src", path="cloudquery/x", spec=1, destinations=("w",), clients=0),),
        destinations=(PlannedDestination(name="w", path="cloudquery/y", spec=0),),
        tables=tuple(
            PlannedTable(source="src", name=t.name, tree=(t,), selected=(t.name,), first=0, shards=0,
                         cells=0, clients=(), authoritative=False)
            for t in tables
        ),
        shards=0, cells=0,
    )  # fmt: skip


@pytest.fixture(params=["duckdb", pytest.param("postgresql", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    stage = local_stage(tmp_path / "stage")
    if request.param == "duckdb":
        yield Place("duckdb", str(tmp_path / "w.duckdb"), stage)
    else:
        yield Place("postgresql", request.getfixturevalue("postgres_dsn"), stage)


def only(document: Migrated) -> MigratedTable:
    assert document.error is None
    (table,) = document.tables
    return table


def filled(place: Place, rows: int = 3) -> None:
    """Rows as an earlier load would have left them."""
    only(place.migrate())
    for n in range(rows):
        place.execute(
            "INSERT INTO t (_cq_id, id, name, size) VALUES "
            f"('00000000-0000-0000-0000-00000000000{n}', {n}, '{n}', 7)"
        )


def test_a_table_that_is_missing_is_created_and_empty(place: Place) -> None:
    assert only(place.migrate()).action == "created"
    assert place.query("SELECT count(*) FROM t") == [(0,)]
    assert {"_cq_id", "_cq_sync_time", "_cq_source_name", "id", "name", "size"} <= place.columns()


def test_a_table_that_fits_is_left_as_it_is(place: Place) -> None:
    filled(place)
    table = only(place.migrate())
    assert (table.action, table.changes) == ("unchanged", ())
    assert place.query("SELECT count(*) FROM t") == [(3,)]


def test_a_new_column_is_added_to_the_rows_that_are_there(place: Place) -> None:
    filled(place)
    table = only(place.migrate(*BASE, Column("tag", pa.string())))
    assert table.action == "altered"
    assert "add column 'tag'" in table.changes[0]
    assert place.query("SELECT count(*) FROM t WHERE tag IS NULL") == [(3,)]


def test_a_wider_type_is_altered_in_place(place: Place) -> None:
    filled(place)
    table = only(place.migrate(*BASE[:2], Column("size", pa.int64())))
    assert table.action == "altered"
    assert "widen column 'size'" in table.changes[0]


def test_safe_mode_refuses_what_would_lose_values_and_changes_nothing(place: Place) -> None:
    filled(place)
    table = only(place.migrate(*BASE[:2], Column("size", pa.bool_())))
    assert table.action == "refused"
    assert "column 'size'" in table.error
    assert "migrate_mode: forced" in table.error
    assert place.query("SELECT sum(size) FROM t") == [(21,)]


def test_forced_mode_keeps_the_rows_and_says_which_values_are_gone(place: Place) -> None:
    filled(place)
    table = only(place.migrate(*BASE[:2], Column("size", pa.bool_()), mode="forced"))
    assert table.action == "rebuilt"
    assert "its old values are null now" in table.changes[0]
    assert table.rows_dropped == 0
    assert place.query("SELECT count(*) FROM t WHERE size IS NULL AND name IS NOT NULL") == [(3,)]


def test_forced_mode_says_how_many_rows_could_not_come_along(place: Place) -> None:
    filled(place)
    key = Column("id", pa.bool_(), nullable=False, primary_key=True)
    table = only(place.migrate(key, *BASE[1:], mode="forced"))
    assert (table.action, table.rows_dropped) == ("rebuilt", 3)
    assert place.query("SELECT count(*) FROM t") == [(0,)]


def test_a_key_that_moves_to_cq_id_keeps_every_row_in_safe_mode(place: Place) -> None:
    filled(place)
    table = only(place.migrate(pk_mode="cq-id-only"))
    assert (table.action, table.rows_dropped) == ("rebuilt", 0)
    assert "became (_cq_id)" in table.changes[-1]
    assert place.query("SELECT count(*) FROM t") == [(3,)]


def test_rows_that_a_safe_change_of_key_would_drop_stay(place: Place) -> None:
    only(place.migrate(write_mode="append"))
    for _ in range(2):
        place.execute(
            "INSERT INTO t (_cq_id, id) VALUES ('00000000-0000-0000-0000-000000000000', 1)"
        )
    table = only(place.migrate(pk_mode="cq-id-only"))
    assert table.action == "refused"
    assert "1 of its rows" in table.error
    assert place.query("SELECT count(*) FROM t") == [(2,)]


def test_write_mode_key_mode_and_group_apply_as_in_a_load(place: Place) -> None:
    only(place.migrate(write_mode="append", sync_group_id="{{YEAR}}"))
    assert "_cq_sync_group_id" in place.columns()


def test_transformers_apply_as_in_a_load(place: Place) -> None:
    transformer = {
        "kind": "transformer",
        "spec": {"name": "b", "path": "cloudquery/basic", "spec": {"transformations": [
            {"kind": "remove_columns", "tables": ["*"], "columns": ["size"]},
            {"kind": "change_table_names", "tables": ["*"], "new_table_name_template": "my_{{.OldName}}"},
        ]}},
    }  # fmt: skip
    place.stage.store.put(layout.spec(f"{RUN}-1", 1), orjson.dumps(transformer))
    table = only(place.migrate(transformers=["b"]))
    assert (table.table, table.action) == ("my_t", "created")
    rows = place.query(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'my_t'"
    )
    assert ("name",) in rows
    assert ("size",) not in rows


def test_the_table_of_summaries_is_made_where_a_destination_wants_them(place: Place) -> None:
    made = place.migrate(send_sync_summary=True, write_mode="append")
    assert [(t.table, t.action) for t in made.tables] == [
        ("t", "created"),
        ("cloudquery_sync_summaries", "created"),
    ]
    again = place.migrate(send_sync_summary=True, write_mode="append")
    assert [t.action for t in again.tables] == ["unchanged", "unchanged"]


def test_a_transformer_that_takes_the_key_away_refuses_the_table(place: Place) -> None:
    transformer = {
        "kind": "transformer",
        "spec": {"name": "b", "path": "cloudquery/basic", "spec": {"transformations": [
            {"kind": "remove_columns", "tables": ["*"], "columns": ["id"]},
        ]}},
    }  # fmt: skip
    place.stage.store.put(layout.spec(f"{RUN}-1", 1), orjson.dumps(transformer))
    table = only(place.migrate(transformers=["b"]))
    assert table.action == "refused"
    assert "key column 'id'" in table.error


def test_files_need_no_tables(tmp_path: Path) -> None:
    place = Place("file", "", local_stage(tmp_path / "stage"))
    place.options = {"path": f"{tmp_path}/out/{{{{TABLE}}}}/{{{{UUID}}}}.csv", "format": "csv"}
    table = only(place.migrate(write_mode="append"))
    assert (table.table, table.action) == ("t", "unchanged")
    assert "files" in table.changes[0]


def test_the_same_message_twice_is_one_answer(place: Place) -> None:
    first = place.migrate()
    message = Message("migrate", first.run, destination="w")
    assert migrate(message, stage=place.stage, environment={}) == first


def test_a_table_called_like_one_of_ours_is_refused(place: Place) -> None:
    run = "ours"
    destination = {"kind": "destination", "spec": {"name": "w", "path": place.plugin, "spec": place.options}}  # fmt: skip
    place.stage.store.put(layout.spec(run, 0), orjson.dumps(destination))
    tables = [with_cq_columns(Table(name, BASE)) for name in ("sharder_loads", "t")]
    place.stage.write_tables(plan(run, *tables))
    found = migrate(Message("migrate", run, destination="w"), stage=place.stage, environment={})
    assert [t.action for t in found.tables] == ["refused", "created"]
    assert "skip_tables: [sharder_loads]" in found.tables[0].error


def test_a_destination_that_cannot_be_opened_is_an_answer_too(tmp_path: Path) -> None:
    place = Place("duckdb", "/proc/nope/w.duckdb", local_stage(tmp_path))
    found = place.migrate()
    assert found.error is not None
    assert found.error.kind == "Permanent"
    assert "destination 'w'" in found.error.message
