"""Any transformer plugin of CloudQuery's in a chain; here a real one, a program that speaks the protocol."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest

from contracts import layout
from contracts.errors import Transient
from contracts.plugin.plugin import Plugin, Surroundings
from contracts.plugin.program import running
from contracts.queue import Message
from contracts.table import Column, Table
from loader.documents import destination
from loader.migrating import migrate
from loader.prepare import prepare
from tests.contract.test_duckdb import DuckDBPlace
from tests.fakes.plugins.programs import python
from tests.fakes.stage import StageRun, rows, shard, table
from tests.fakes.transforms import AT

CHILD = table("children", Column("n", pa.int64(), nullable=False, primary_key=True), parent="items")


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    plugin = Plugin("transformer", "served", python("transformer"), "local")
    with running(plugin, Surroundings(os.environ)) as program:
        yield program.target


@pytest.fixture
def place(tmp_path: Path) -> DuckDBPlace:
    return DuckDBPlace(tmp_path / "w.duckdb")


@pytest.fixture
def start(place: DuckDBPlace, served: str, tmp_path: Path) -> Any:
    """`start(options, *tree, basic=[…], local=…, …)`: a run whose destination has the transformer, and `basic` behind it."""

    def begin(
        options: Mapping[str, Any],
        *tree: Table,
        basic: list[Any] | None = None,
        local: bool = False,
        **outer: Any,
    ) -> StageRun:
        documents = [
            {
                "name": "t-plugin",
                "path": python("transformer") if local else served,
                "registry": "local" if local else "grpc",
                "spec": dict(options),
            },
            *(
                [
                    {
                        "name": "t-basic",
                        "path": "cloudquery/basic",
                        "spec": {"transformations": basic},
                    }
                ]
                if basic
                else []
            ),
        ]
        run = StageRun(
            tmp_path / "stage", *tree, spec=place.spec, path=place.path,
            transformers=[d["name"] for d in documents], **outer,
        )  # fmt: skip
        for n, body in enumerate(documents, 2):
            text = orjson.dumps({"kind": "transformer", "spec": body})
            run.stage.store.put(layout.spec(run.run, n), text)
        return run

    return begin


def test_rows_arrive_as_the_plugin_shows_them(place, start):
    run = start(
        {"add": {"team": "core"}, "rename": {"v": "w"}, "drop": ["no"], "table": "cq_{}"},
        basic=[{"kind": "uppercase", "columns": ["w"]}],
    )
    run.round([shard({"a": (*rows(1, 2), *rows(3, v="no"))}), shard({"b": rows(4, v="no")})])
    receipt = run.load()
    assert receipt.error == ""
    assert [(t.table, t.published, t.dropped) for t in receipt.tables] == [("cq_items", 2, 2)]
    found = place.rows("SELECT id, w, team, _cq_client_id FROM cq_items ORDER BY id")
    assert found == [(1, "X1", "core", "a"), (2, "X2", "core", "a")]
    (kept,) = place.rows("SELECT count(DISTINCT _cq_id) FROM cq_items")
    assert kept == (2,)


def test_the_schema_keeps_what_does_not_travel(start):
    run = start({"add": {"team": "x"}})
    described = Column("v", pa.string(), description="What it is worth", sensitive=True)
    keyed = Column("id", pa.int64(), nullable=False, primary_key=True)
    opened = destination(run.stage, run.run, "w", {})
    try:
        shown = opened.chain.show(table("items", keyed, described), AT).table
    finally:
        opened.close()
    assert shown.primary_key == ("id",)
    assert (shown.column("v").description, shown.column("v").sensitive) == (
        "What it is worth",
        True,
    )
    assert shown.column("team").type == pa.string()


def test_children_and_parents_are_renamed_alike_and_so_are_names_that_nobody_showed(start):
    run = start({"table": "x_{}"})
    opened = destination(run.stage, run.run, "w", {})
    try:
        assert opened.chain.name("anything") == "x_anything"
    finally:
        opened.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"remove": ["id"]}, "key column 'id'"),
        ({"rename": {"id": "nr"}}, "key column 'id'"),
        ({"retype": ["id"]}, "key column 'id'"),
        ({"remove": ["_cq_client_id"]}, "column '_cq_client_id'"),
        ({"change": "_cq_client_id"}, "changed values in column '_cq_client_id'"),
    ],
)
def test_what_the_write_mode_needs_is_refused(place, start, options, said):
    run = start(options)
    run.round([shard({"a": rows(1)})])
    error = run.load().error
    assert said in error
    assert "`write_mode: append`" in error
    assert place.rows("SELECT count(*) FROM sharder_loads") == [(0,)]
    place.rows("DROP TABLE IF EXISTS items")
    run = start(options, run="run-2", write_mode="append")
    run.round([shard({"a": rows(1)})])
    assert run.load().error == ""


def test_batches_that_break_the_promise_of_the_schema_fail_the_load(start):
    run = start({"add": {"team": "x"}, "wrong": True}, write_mode="append")
    run.round([shard({"a": rows(1)})])
    assert "promised other columns of table 'items' than it gives: odd, team" in run.load().error


def test_its_refusal_is_told_before_anything_is_extracted(start):
    run = start({"refuse": "no such licence"})
    prepare(Message("prepare", run.run, destination="w"), stage=run.stage, environment={})
    error = run.stage.cursors(run.run, "w").error
    assert "no such licence" in error.message
    assert "destination 'w'" in error.message


@pytest.mark.slow
def test_a_program_lives_as_long_as_its_load(start, place):
    run = start({"add": {"team": "x"}}, local=True)
    run.round([shard({"a": rows(1)})])
    run.environment = os.environ
    assert run.load().error == ""
    assert place.rows("SELECT team FROM items") == [("x",)]


@pytest.mark.slow
def test_a_program_that_dies_is_named_with_its_end(start):
    run = start({"die": 1}, local=True, write_mode="append")
    run.round([shard({"a": rows(1)})])
    run.environment = os.environ
    with pytest.raises(Transient, match="code 7"):
        run.load()


def test_migrate_shows_tables_as_a_load_will(place, start):
    run = start({"add": {"team": "x"}, "table": "cq_{}"}, table(), CHILD)
    run.round([shard({"a": rows(1)})])
    run.stage.write_tables(run.stage.plan(run.run, 1))
    found = migrate(Message("migrate", run.run, destination="w"), stage=run.stage, environment={})
    assert [(t.table, t.action) for t in found.tables] == [
        ("cq_items", "created"), ("cq_children", "created"),
    ]  # fmt: skip
    assert place.rows("SELECT team FROM cq_items") == []
