"""What every warehouse must do, SQL or files: which rows of a run arrive, and that none comes twice.

A binding says what a place holds: `ids(place)` gives the ids of the rows of `items`, sorted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest

from contracts.queue import Message
from contracts.table import Table
from loader.prepare import prepare
from tests.fakes.stage import NOW, Bad, Content, StageRun, rows, shard

DAY = timedelta(days=1)


class Destination(Protocol):
    """An empty place of one kind."""

    path: str  # of the plugin: cloudquery/duckdb
    spec: Mapping[str, Any]  # the destination's nested options


def days(n: int) -> datetime:
    return NOW + n * DAY


class LoadsSuite:
    def ids(self, place: Any) -> list[int]:
        raise NotImplementedError

    def outer(self, place: Any) -> Mapping[str, Any]:
        """Fields of the destination's document beside `path` and `spec`."""
        return {}

    @pytest.fixture
    def start(self, place: Destination, tmp_path: Path) -> Callable[..., StageRun]:
        """`start(day, *tree, …)`: a new run of the source into the place."""

        def begin(day: int, *tree: Table, **kwargs: Any) -> StageRun:
            run = kwargs.pop("run", f"run-{day}")
            return StageRun(
                tmp_path / "stage", *tree, spec=place.spec, path=place.path, run=run,
                sync_time=days(day), **self.outer(place), **kwargs,
            )  # fmt: skip

        return begin

    @pytest.fixture(params=["parquet", "csv"])
    def format_(self, request) -> str:
        """Of the parts on the stage."""
        return str(request.param)

    def test_a_load_says_how_many_rows_it_published(self, place, start):
        run = start(0)
        run.round([shard({"a": rows(1, 2)}), shard({"b": rows(3)})])
        receipt = run.load()
        assert (receipt.outcome, receipt.published, receipt.error) == ("ok", 3, "")
        assert (receipt.tables[0].copied, receipt.cells_ok) == (3, 2)
        assert self.ids(place) == [1, 2, 3]

    def test_rows_of_cells_that_did_not_end_ok_are_never_loaded(self, place, start, format_):
        run = start(0, format_=format_)
        run.round([shard({"a": rows(1), "b": Bad(rows=rows(7, 8)), "c": rows(2)})])
        receipt = run.load()
        assert (receipt.cells_ok, receipt.cells_failed) == (2, 1)
        assert self.ids(place) == [1, 2]

    def test_a_cell_with_a_failed_slice_leaves_no_row(self, place, start, format_):
        run = start(0, format_=format_)
        run.round([
            shard({"a": rows(1)}, slice=(0, 2)),
            shard({"a": Bad("throttled")}, slice=(1, 2)),
            shard({"b": rows(3)}, slice=(0, 2)),
            shard({"b": rows(4)}, slice=(1, 2)),
        ], clients=["a", "b"])  # fmt: skip
        receipt = run.load()
        assert (receipt.cells_ok, receipt.cells_failed, receipt.published) == (1, 1, 2)
        assert self.ids(place) == [3, 4]

    def test_a_planned_cell_without_a_word_in_its_commit_has_failed(self, place, start):
        run = start(0)
        lost = Content({"": {}}, ("b", "c"), verdict="lost")
        run.round([shard({"a": rows(1)}), shard({"d": ()}, forget=True), lost])
        receipt = run.load()
        assert (receipt.cells_ok, receipt.cells_failed) == (1, 3)
        assert self.ids(place) == [1]

    def test_retry_in_append_doubles_nothing(self, place, start):
        run = start(0, write_mode="append")
        run.round([shard({"a": rows(1), "b": Bad(rows=rows(8))})])
        run.load()
        run.round([shard({"a": rows(1), "b": rows(2)})], number=2, authoritative=False)
        run.load(2)
        assert self.ids(place) == [1, 2]

    def test_a_cell_read_in_two_rounds_is_loaded_from_the_last_one_that_ended_ok(
        self, place, start
    ):
        run = start(0, write_mode="append")
        run.round([shard({"a": rows(1), "b": rows(5)})])
        run.round([shard({"a": rows(2), "b": Bad("throttled", rows=rows(6))})], number=2)
        assert run.load(2).published == 2
        assert self.ids(place) == [2, 5]

    def test_an_earlier_round_that_a_later_one_covered_brings_no_row_again(self, place, start):
        run = start(0, write_mode="append")
        run.round([shard({"a": rows(1)})])
        run.round([shard({"b": rows(2)})], number=2)
        run.load(2)
        assert run.load(1).published == 0
        assert self.ids(place) == [1, 2]

    def test_a_load_whose_receipt_was_lost_publishes_the_same_rows(self, place, start):
        run = start(0, write_mode="append")
        run.round([shard({"a": rows(1, 2)})])
        first = run.load()
        run.stage.store.delete([f"runs/{run.run}/loads/w/{run.source}/{run.top.name}/1.json"])
        assert run.load().tables == first.tables
        twice = 2 if first.guarantee == "at-least-once" else 1
        assert self.ids(place) == sorted([1, 2] * twice)

    def test_an_unknown_option_is_refused_with_its_place(self, place, start):
        run = start(0)
        run.stage.store.put("runs/run-0/spec/1.yml", json.dumps({
            "kind": "destination",
            "spec": {"name": "w", "path": place.path, "spec": {**place.spec, "conection": 1}},
        }).encode())  # fmt: skip
        prepare(Message("prepare", "run-0", destination="w"), stage=run.stage, environment={})
        found = run.stage.cursors("run-0", "w")
        assert found.error.exit_code == 2
        assert "conection" in found.error.message
