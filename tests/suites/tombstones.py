"""What every warehouse must do when a source says that rows are gone: the real worker, the real loader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from contracts import types
from contracts.table import Column, Table, with_cq_columns
from tests.fakes.loop import read
from tests.fakes.scripted import Script
from tests.fakes.stage import StageRun
from tests.suites.loads import days
from tests.suites.transformed import declare
from worker.sources.base import CellDone, Checkpoint, Deleted, Event, Rows

KEY = Column("id", pa.int64(), nullable=False, primary_key=True)
ITEMS = with_cq_columns(Table("items", (KEY, Column("v", pa.string())), evolves=True))
PARTS = with_cq_columns(Table("parts", (KEY, Column("item", pa.int32())), parent="items"))
TREE = (ITEMS, PARTS)


def uuid(n: int) -> bytes:
    return n.to_bytes(16, "big")


def items(*ids: int, v: str = "x", client: str = "a") -> Rows:
    """An item of id n has the `_cq_id` n."""
    columns = {"id": pa.array(ids), "v": pa.array([v] * len(ids)), "_cq_id": uuids(ids)}
    return Rows("items", client, pa.record_batch(columns))


def parts(item: int, *ids: int, client: str = "a") -> Rows:
    """Parts of an item; part n has the `_cq_id` 1000 + n."""
    columns = {
        "id": pa.array(ids), "item": pa.array([item] * len(ids), pa.int32()),
        "_cq_id": uuids([1000 + n for n in ids]), "_cq_parent_id": uuids([item] * len(ids)),
    }  # fmt: skip
    return Rows("parts", client, pa.record_batch(columns))


def uuids(ids: Any) -> pa.Array:
    return pa.array([uuid(n) for n in ids], pa.binary(16)).cast(types.UUID)


def gone(table: str, column: str, *values: Any, client: str = "a", cascade: bool = False) -> Deleted:  # fmt: skip
    where = [{column: pa.array([value])} for value in values]
    return Deleted(table, client, where, [("parts", "items")] if cascade else [])


def says(*events: Event, client: str = "a", ends: str = "ok", parts_end: str = "ok") -> Script:
    def script(_work: object, _cursors: object) -> Iterator[Event]:
        yield from events
        for table, outcome in (("items", ends), ("parts", parts_end)):
            yield CellDone(table, client, outcome, None if outcome == "ok" else "denied")

    return script


class TombstonesSuite:
    @pytest.fixture
    def start(self, place: Any, tmp_path: Path) -> Callable[..., StageRun]:
        """`start(day)`: a new run of the source into the place, by default without stale deletion."""

        def begin(day: int, *tree: Table, write_mode: str = "overwrite", **kwargs: Any) -> StageRun:
            return StageRun(
                tmp_path / "stage", *(tree or TREE), spec=place.spec, path=place.path, run=f"run-{day}",
                sync_time=days(day), write_mode=write_mode, **kwargs,
            )  # fmt: skip

        return begin

    @pytest.fixture(params=["parquet", "csv"])
    def format_(self, request) -> str:
        return str(request.param)

    def ids(self, place: Any, table: str) -> list[int]:
        return [id_ for (id_,) in place.rows(f"SELECT id FROM {table} ORDER BY id")]

    def load(self, run: StageRun, *scripts: Script, **kwargs: Any) -> Any:
        read(run, *scripts, **kwargs)
        receipt = run.load()
        assert receipt.error == ""
        return {t.table: (t.published, t.stale, t.dropped) for t in receipt.tables}

    def test_old_children_go_and_the_new_ones_stay(self, place, start, format_):
        self.load(start(0), says(items(1, 2), parts(1, 11, 12), parts(2, 21)))
        again = says(items(1), gone("parts", "item", 1), parts(1, 12, 13))
        done = self.load(start(1, format_=format_), again)
        assert done["parts"] == (2, 2, 0)
        assert self.ids(place, "items") == [1, 2]
        assert self.ids(place, "parts") == [12, 13, 21]

    def test_children_go_with_their_parents(self, place, start):
        self.load(start(0), says(items(1, 2), parts(1, 11), parts(2, 21)))
        done = self.load(start(1), says(gone("items", "id", 1, cascade=True)))
        assert done == {"items": (0, 1, 0), "parts": (0, 1, 0)}
        assert (self.ids(place, "items"), self.ids(place, "parts")) == ([2], [21])

    def test_what_was_sent_before_in_the_same_attempt_goes_and_what_comes_after_stays(
        self, place, start, format_
    ):
        stream = says(
            items(1, v="first"), parts(1, 11), items(2, v="first"), parts(2, 21),
            gone("items", "id", 1, cascade=True),
            items(1, v="second"), parts(1, 12),
            gone("items", "id", 1, 3, cascade=True),
            items(1, v="third"), parts(1, 13),
        )  # fmt: skip
        done = self.load(start(0, format_=format_), stream)
        assert done == {"items": (2, 0, 2), "parts": (2, 0, 2)}
        assert place.rows("SELECT id, v FROM items ORDER BY id") == [(1, "third"), (2, "first")]
        assert self.ids(place, "parts") == [13, 21]

    def test_appended_rows_go_too(self, place, start):
        self.load(start(0, write_mode="append"), says(items(1, 2)))
        self.load(start(1, write_mode="append"), says(gone("items", "id", 1), items(1)))
        assert self.ids(place, "items") == [1, 2]

    def test_a_cell_that_fails_takes_nothing_back(self, place, start):
        self.load(start(0), says(items(1), parts(1, 11)))
        bad = says(gone("items", "id", 1, cascade=True), ends="failed")
        done = self.load(start(1), bad)
        assert {t: stale for t, (_, stale, _) in done.items()} == {"items": 0, "parts": 0}
        assert (self.ids(place, "items"), self.ids(place, "parts")) == ([1], [11])

    def test_children_that_could_not_be_read_again_stay(self, place, start):
        self.load(start(0), says(items(1), parts(1, 11)))
        kept = says(gone("items", "id", 1, cascade=True), items(1), parts_end="failed")
        tree = (replace(ITEMS, evolves=False), PARTS)
        self.load(start(1, *tree), kept)
        assert (self.ids(place, "items"), self.ids(place, "parts")) == ([1], [11])

    def test_rows_of_other_clients_and_of_other_sources_stay(self, place, start):
        both = {"clients": [("a",), ("b",)]}
        self.load(start(0), says(items(1, v="same")), says(items(2, v="same", client="b"), client="b"), **both)  # fmt: skip
        other = start(1, source="other")
        self.load(other, says(items(3, v="same")))
        place.rows("INSERT INTO items (id, v, _cq_id, _cq_source_name, _cq_sync_time) SELECT 4, v, _cq_id, _cq_source_name, _cq_sync_time FROM items WHERE id = 1")  # fmt: skip
        done = self.load(start(2), says(gone("items", "v", "same")))
        assert done["items"] == (0, 2, 0), "of client a, and the one without a client"
        assert self.ids(place, "items") == [2, 3]

    def test_a_retry_takes_back_what_the_first_round_could_not(self, place, start):
        self.load(start(0), says(items(1, 2)))
        run = start(1)
        read(run, says(gone("items", "id", 1), ends="failed"))
        run.load()
        assert self.ids(place, "items") == [1, 2]
        read(run, says(gone("items", "id", 1), items(3)), number=2, authoritative=False)
        assert run.load(2).error == ""
        assert self.ids(place, "items") == [2, 3]

    def test_up_to_a_checkpoint_deletions_are_kept_with_the_rows(self, place, start):
        log = (replace(ITEMS, incremental=True),)
        done = [CellDone("items", "a")]
        self.load(start(0, *log), lambda _w, _c: iter([items(1, 2), Checkpoint("items", "a", {"k": "1"}), *done]))  # fmt: skip
        stream = [
            items(3), gone("items", "id", 1, 3), items(4), Checkpoint("items", "a", {"k": "2"}),
            gone("items", "id", 2, 4), CellDone("items", "a", "failed", "denied"),
        ]  # fmt: skip
        self.load(start(1, *log), lambda _w, _c: iter(stream))
        assert self.ids(place, "items") == [2, 4]

    def test_a_column_that_grows_is_still_compared_by_its_value(self, place, start, format_):
        tree = (ITEMS, replace(PARTS, evolves=True))
        self.load(start(0, *tree), says(items(1), parts(1, 11)))
        wide = Rows("parts", "a", pa.record_batch({"id": [12], "item": [2**40]}))
        again = says(parts(1, 13), gone("parts", "item", 1), wide, parts(1, 14))
        self.load(start(1, *tree, format_=format_), again)
        assert self.ids(place, "parts") == [12, 14]

    def test_where_clients_are_the_sources_own_rows_go_by_their_values(self, place, start):
        own = with_cq_columns(
            Table("items", (KEY, Column("_cq_client_id", pa.string())), own_client_ids=True)
        )
        rows_ = Rows("items", "a", pa.record_batch({"id": [1, 2], "_cq_client_id": ["b", "c"]}))
        stream = [rows_, gone("items", "id", 1), CellDone("items", "a")]
        self.load(start(0, own), lambda _w, _c: iter(stream))
        assert self.ids(place, "items") == [2]
        self.load(start(1, own), lambda _w, _c: iter([gone("items", "id", 2), CellDone("items", "a")]))  # fmt: skip
        assert self.ids(place, "items") == []

    def test_rows_are_found_under_the_names_that_readers_see(self, place, start):
        def run(day: int) -> StageRun:
            made = start(day, transformers=["basic"])
            declare(made, 2, "basic", "basic", {"transformations": [
                {"kind": "rename_column", "tables": ["parts"], "name": "item", "value": "of"},
                {"kind": "change_table_names", "new_table_name_template": "cq_{{.OldName}}"},
            ]})  # fmt: skip
            return made

        self.load(run(0), says(items(1, 2), parts(1, 11, 12), parts(2, 21)))
        again = says(parts(1, 14), gone("parts", "item", 1), parts(1, 13))
        assert self.load(run(1), again)["cq_parts"] == (1, 2, 1)
        assert self.ids(place, "cq_parts") == [13, 21]

    def test_a_transformer_that_hides_what_rows_are_told_by_fails_the_load(self, place, start):
        run = start(0, transformers=["basic"])
        declare(run, 2, "basic", "basic", {"transformations": [
            {"kind": "remove_columns", "tables": ["parts"], "columns": ["item"]}
        ]})  # fmt: skip
        read(run, says(items(1), gone("parts", "item", 1)))
        assert "by its column 'item', which a transformer removes or changes" in run.load().error
