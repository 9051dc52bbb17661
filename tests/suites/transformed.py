"""What every destination must do with transformers, said through whole loads of runs written by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from contracts import layout, types
from contracts.table import Column, Table
from tests.fakes.stage import NOW, Bad, Good, StageRun, rows, shard, table
from tests.suites.warehouse import Place

Start = Callable[..., StageRun]
DETAILS = json.dumps({"city": "utf8", "n": "int64"})


def mark(text: str) -> str:
    return f"Redacted by CloudQuery | {sha256(text.encode()).hexdigest()}"


def renamed(name: str = "cq_{{.OldName}}", *tables: str) -> dict[str, Any]:
    return {
        "kind": "change_table_names", "new_table_name_template": name, "tables": tables or ("*",),
    }  # fmt: skip


class TransformedSuite:
    @pytest.fixture
    def start(self, place: Place, tmp_path: Path) -> Start:
        """`start(day, *tree, basic=[…])`: a new run of the source, its destination with transformers."""

        def begin(
            day: int,
            *tree: Table,
            basic: list[Mapping[str, Any]],
            flat: bool = False,
            **kwargs: Any,
        ) -> StageRun:
            documents = [("t-basic", "basic", {"transformations": basic})] if basic else []
            documents += [("t-flat", "jsonflattener", {})] if flat else []
            run = StageRun(
                tmp_path / "stage", *tree, spec=place.spec, path=place.path, run=f"run-{day}",
                sync_time=NOW + timedelta(days=day), transformers=[d[0] for d in documents], **kwargs,
            )  # fmt: skip
            for n, (name, plugin, options) in enumerate(documents, 2):
                declare(run, n, name, plugin, options)
            return run

        return begin

    def test_rows_arrive_as_they_are_shown(self, place, start, format_):
        tree = table(
            "items",
            Column("id", pa.int64(), nullable=False, primary_key=True),
            Column("v", pa.string()),
            Column("j", types.JSON, type_schema=DETAILS),
        )
        run = start(
            0, tree, format_=format_, flat=True,
            basic=[
                {"kind": "obfuscate_columns", "columns": ["v", "j.secret"]},
                {"kind": "add_column", "name": "team", "value": "core"},
                {"kind": "add_current_timestamp_column", "name": "seen_at"},
                {"kind": "rename_column", "name": "v", "value": "w"},
                renamed(),
            ],
        )  # fmt: skip
        cells = (
            {"id": 1, "v": "a", "j": '{"city":"Köln","n":7,"secret":"s"}'},
            {"id": 2, "v": None, "j": None},
        )
        run.round([shard({"a": cells})])
        receipt = run.load()
        assert (receipt.error, receipt.published) == ("", 2)
        assert [t.table for t in receipt.tables] == ["cq_items"]
        found = place.rows("SELECT id, w, team, j__city, j__n FROM cq_items ORDER BY id")
        assert found == [(1, mark("a"), "core", "Köln", 7), (2, None, "core", None, None)]
        ((secret,),) = place.rows("SELECT CAST(j AS VARCHAR) FROM cq_items WHERE id = 1")
        assert json.loads(secret)["secret"] == mark('"s"')
        ((times,),) = place.rows("SELECT count(DISTINCT seen_at) FROM cq_items")
        assert times == 1

    @pytest.fixture(params=["parquet", "csv"])
    def format_(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.mark.parametrize("mode", ["append", "overwrite", "overwrite-delete-stale"])
    def test_dropped_and_copied_rows_together_are_those_of_the_manifest(self, place, start, mode):
        run = start(
            0, write_mode=mode, basic=[{"kind": "drop_rows", "columns": ["v"], "value": "x2"}]
        )
        run.round(
            [shard({"a": rows(1, 2, 3)}), shard({"b": rows(4)}), shard({"c": Bad(rows=rows(5))})]
        )
        receipt = run.load()
        assert receipt.error == ""
        (counts,) = receipt.tables
        assert (counts.copied, counts.dropped, counts.published) == (3, 1, 3)
        assert place.rows("SELECT id FROM items ORDER BY id") == [(1,), (3,), (4,)]

    def test_a_table_of_which_every_row_is_dropped_is_empty(self, place, start):
        run = start(0, basic=[{"kind": "drop_rows", "columns": ["_cq_parent_id"]}])
        run.round([shard({"a": rows(1, 2)})])
        (counts,) = run.load().tables
        assert (counts.copied, counts.dropped) == (0, 2)
        assert place.rows("SELECT count(*) FROM items") == [(0,)]

    def test_a_lost_row_is_found_although_rows_are_dropped(self, place, start):
        run = start(0, basic=[{"kind": "drop_rows", "columns": ["v"], "value": "x2"}])
        run.round([shard({"a": rows(1, 2, 3)})])
        key = layout.commit("run-0", "01-0000000")
        document = json.loads(run.stage.store.get(key))
        document["cells"][0]["rows"] = 4
        run.stage.store.put(key, json.dumps(document).encode())
        assert "the manifests promise 4" in run.load().error
        assert place.rows("SELECT count(*) FROM items") == [(0,)]

    def test_rows_of_a_renamed_table_are_updated_and_stale_ones_go(self, place, start):
        for day, content in enumerate(
            (
                [shard({"a": rows(1, 2)}), shard({"b": rows(3)}), shard({"gone": rows(4)})],
                [shard({"a": rows(2, v="new")}), shard({"b": Bad("denied")})],
            )
        ):
            run = start(day, basic=[renamed()])
            run.round(content)
            receipt = run.load()
            assert receipt.error == ""
        assert [(t.table, t.stale) for t in receipt.tables] == [("cq_items", 2)]
        found = place.rows("SELECT _cq_client_id, id, v FROM cq_items ORDER BY id")
        assert found == [("a", 2, "new2"), ("b", 3, "x3")]
        assert place.rows("SELECT DISTINCT table_name FROM sharder_loads") == [("cq_items",)]
        cells = place.rows("SELECT table_name, client, outcome FROM sharder_cells")
        assert cells == [("cq_items", "b", "failed")]

    def test_without_a_whole_client_list_only_ok_cells_of_a_renamed_table_are_scoped(
        self, place, start
    ):
        for day, content in enumerate(({"a": rows(1), "b": rows(2)}, {"a": rows(3)})):
            run = start(day, basic=[renamed()])
            run.round([shard(content)], authoritative=False)
            assert run.load().error == ""
        assert place.rows("SELECT id FROM cq_items ORDER BY id") == [(2,), (3,)]

    def test_children_are_renamed_beside_their_parents(self, place, start):
        child = table("children", Column("n", pa.int64()), parent="items")
        for day in (0, 1):
            run = start(day, table(), child, basic=[renamed()])
            tree = {"children": {"a": ({"n": 5 + day},)}}
            run.round([shard({"a": rows(1)}, children=tree)])
            receipt = run.load()
            assert receipt.error == ""
        assert {t.table for t in receipt.tables} == {"cq_items", "cq_children"}
        assert place.rows("SELECT n FROM cq_children") == [(6,)]

    def test_a_retry_adds_what_was_missing_and_clears_the_cell(self, place, start):
        drop = {"kind": "drop_rows", "columns": ["v"], "value": "x2"}
        run = start(0, basic=[renamed(), drop])
        run.round([shard({"a": rows(1, 2)}), shard({"b": Bad("throttled")})])
        run.load()
        assert place.rows("SELECT client FROM sharder_cells") == [("b",)]
        run.round([shard({"b": rows(3, 4)})], number=2)
        receipt = run.load(2)
        assert (receipt.error, receipt.published) == ("", 2)
        assert place.rows("SELECT id FROM cq_items ORDER BY id") == [(1,), (3,), (4,)]
        assert place.rows("SELECT client FROM sharder_cells") == []

    @pytest.mark.parametrize("mode", ["append", "overwrite-delete-stale"])
    def test_loading_again_changes_nothing(self, place, start, mode):
        drop = {"kind": "drop_rows", "columns": ["v"], "value": "x2"}
        run = start(0, write_mode=mode, basic=[renamed(), drop])
        run.round([shard({"a": rows(1, 2)})])
        first = run.load()
        run.stage.store.delete([layout.receipt("run-0", "w", "src", "items", 1)])
        second = run.load()
        assert [(t.table, t.published) for t in second.tables] == [("cq_items", 1)]
        assert first.published == second.published
        assert place.rows("SELECT count(*) FROM cq_items") == [(1,)]

    def test_appends_are_copied_in_place_or_not_with_the_same_result(self, place, start):
        hide = {"kind": "obfuscate_columns", "columns": ["v"]}
        for day in (0, 1):
            run = start(day, write_mode="append", basic=[hide])
            run.round([shard({"a": rows(1)})])
            assert run.load().error == ""
        assert place.rows("SELECT id, v FROM items") == [(1, mark("x1"))] * 2

    def test_an_added_key_tells_rows_apart(self, place, start):
        run = start(0, basic=[{"kind": "add_primary_keys", "columns": ["v"]}])
        run.round([shard({"a": ({"id": 1, "v": "x"}, {"id": 1, "v": "y"})})])
        assert run.load().published == 2

    def test_a_key_that_is_null_is_named(self, place, start):
        run = start(0, basic=[{"kind": "add_primary_keys", "columns": ["v"]}])
        run.round([shard({"a": ({"id": 1, "v": None},)})])
        assert "column 'v' of table 'items' is null in some rows" in run.load().error
        assert place.rows("SELECT count(*) FROM items") == [(0,)]

    def test_the_state_and_our_own_tables_are_never_transformed(self, place, start):
        run = start(
            0, state="cq_state",
            basic=[renamed("x_{{.OldName}}"), {"kind": "obfuscate_columns", "columns": ["key", "value"]}],
        )  # fmt: skip
        run.round([shard({"a": Good(rows(1), {"items": "9"})})])
        assert run.load().error == ""
        assert place.rows("SELECT key, value FROM cq_state") == [("items", "9")]
        assert place.rows("SELECT source FROM sharder_loads") == [("src",)]

    @pytest.mark.parametrize("name", ["sharder_loads", "cq_state"])
    def test_no_table_is_renamed_to_one_of_ours(self, place, start, name):
        run = start(0, state="cq_state", basic=[renamed(name)])
        run.round([shard({"a": rows(1)})])
        assert "is called like one of Sharder's own tables" in run.load().error

    def test_two_tables_cannot_become_one(self, place, start):
        child = table("children", Column("n", pa.int64()), parent="items")
        run = start(0, table(), child, basic=[renamed("all")])
        run.round([shard({"a": rows(1)})])
        said = run.load().error
        assert "tables 'items' and 'children' would both be called 'all'" in said
        assert place.rows("SELECT count(*) FROM sharder_loads") == [(0,)]

    @pytest.mark.parametrize(
        ("transformation", "said"),
        [
            ({"kind": "remove_columns", "columns": ["id"]}, "key column 'id'"),
            ({"kind": "remove_columns", "columns": ["_cq_client_id"]}, "'_cq_client_id'"),
            (
                {"kind": "rename_column", "name": "_cq_source_name", "value": "s"},
                "column '_cq_source_name'",
            ),
            ({"kind": "obfuscate_columns", "columns": ["_cq_client_id"]}, "'_cq_client_id'"),
        ],
    )
    def test_what_the_write_mode_needs_is_refused_before_a_row_is_copied(
        self, place, start, transformation, said
    ):
        run = start(0, basic=[transformation])
        run.round([shard({"a": rows(1)})])
        error = run.load().error
        assert said in error
        assert "set `write_mode: append`" in error
        found = "SELECT count(*) FROM information_schema.tables WHERE table_name = 'items'"
        assert place.rows(found) == [(0,)]
        run = start(1, basic=[transformation], write_mode="append")
        run.round([shard({"a": rows(1)})])
        assert run.load().error == ""

    def test_a_key_column_may_get_another_name(self, place, start):
        for day in (0, 1):
            run = start(day, basic=[{"kind": "rename_column", "name": "id", "value": "nr"}])
            run.round([shard({"a": rows(1, v=f"v{day}_")})])
            assert run.load().error == ""
        assert place.rows("SELECT nr, v FROM items") == [(1, "v1_1")]

    def test_what_the_summary_should_say_is_in_the_receipt(self, place, start):
        run = start(0, basic=[{"kind": "remove_columns", "columns": ["nope"], "tables": ["items"]}])
        run.round([shard({"a": rows(1)})])
        assert run.load().warnings == ("remove_columns: table 'items' has no column 'nope'",)


def declare(run: StageRun, n: int, name: str, plugin: str, options: Mapping[str, Any]) -> None:
    """Write the document of a transformer as number `n` of the run."""
    spec = {"name": name, "path": f"cloudquery/{plugin}", "spec": dict(options)}
    document = json.dumps({"kind": "transformer", "spec": spec})
    run.stage.store.put(layout.spec(run.run, n), document.encode())
