"""What every destination must do with tables that grow while they are read: the real worker, the real loader.

A binding gives a `place` fixture and says what it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from contracts.table import Column, Table, with_cq_columns
from tests.fakes.loop import read
from tests.fakes.scripted import Script
from tests.fakes.stage import StageRun
from tests.suites.loads import days
from tests.suites.transformed import declare
from worker.sources.base import CellDone, Event, Rows

ITEMS = with_cq_columns(
    Table(
        "items",
        (
            Column("id", pa.int64(), nullable=False, primary_key=True),
            Column("n", pa.int32(), nullable=False),
        ),
        evolves=True,
    )
)
BIG = 2**40


def says(*batches: dict[str, Any], client: str = "a", outcome: str = "ok") -> Script:
    def script(_work: object, _cursors: object) -> Iterator[Event]:
        for batch in batches:
            yield Rows("items", client, pa.record_batch(batch))
        yield CellDone("items", client, outcome, None if outcome == "ok" else "denied")

    return script


OLD = {"id": [1], "n": [1]}
WIDE = {"id": [2], "n": [BIG]}
MORE = {"id": [3], "n": [3], "x": ["new"]}
NULL = {"id": [4], "n": pa.array([None], pa.int32())}


class EvolutionSuite:
    keeps: Mapping[str, str] = {"write_mode": "overwrite"}  # rows of earlier runs

    def found(self, place: Any) -> list[dict[str, Any]]:
        """The rows of `items`, by id: `id`, `n`, and `x` where the table has it."""
        raise NotImplementedError

    @pytest.fixture
    def start(self, place: Any, tmp_path: Path) -> Callable[..., StageRun]:
        """`start(day)`: a new run of the source into the place."""

        def begin(day: int, **kwargs: Any) -> StageRun:
            return StageRun(
                tmp_path / "stage", ITEMS, spec=place.spec, path=place.path, run=f"run-{day}",
                sync_time=days(day), **kwargs,
            )  # fmt: skip

        return begin

    @pytest.fixture(params=["parquet", "csv"])
    def format_(self, request) -> str:
        return str(request.param)

    def test_a_table_grows_while_a_shard_is_read(self, place, start, format_):
        run = start(0, format_=format_)
        (commit,) = read(run, says(OLD, WIDE, MORE, NULL))
        assert [p.form for p in commit.parts] == [0, 1, 2, 3]
        assert commit.version == 2
        receipt = run.load()
        assert (receipt.error, receipt.published) == ("", 4)
        assert self.found(place) == [
            {"id": 1, "n": 1, "x": None},
            {"id": 2, "n": BIG, "x": None},
            {"id": 3, "n": 3, "x": "new"},
            {"id": 4, "n": None, "x": None},
        ]

    def test_shards_that_grew_apart_are_united(self, place, start, format_):
        run = start(0, format_=format_)
        a, b, c = says(OLD), says(WIDE, client="b"), says(MORE, client="c")
        commits = read(run, a, b, c, clients=[("a",), ("b",), ("c",)])
        assert [len(commit.tables) for commit in commits] == [0, 1, 1]
        assert run.load().error == ""
        assert self.found(place) == [
            {"id": 1, "n": 1, "x": None},
            {"id": 2, "n": BIG, "x": None},
            {"id": 3, "n": 3, "x": "new"},
        ]

    def test_a_later_round_and_a_later_run_may_have_the_old_schema_or_a_newer_one(
        self, place, start, format_
    ):
        run = start(0, format_=format_, **self.keeps)
        read(run, says(MORE), says(OLD, client="b", outcome="failed"), clients=[("a",), ("b",)])
        assert run.load().error == ""
        read(run, says(WIDE, client="b"), clients=[("b",)], number=2)
        assert run.load(2).error == ""
        again = start(1, format_=format_, **self.keeps)
        read(again, says({"id": [5], "n": [5]}))
        assert again.load().error == ""
        assert [(r["id"], r["n"], r.get("x")) for r in self.found(place)] == [
            (2, BIG, None),
            (3, 3, "new"),
            (5, 5, None),
        ]

    def test_what_only_a_failed_cell_brought_does_not_grow_the_table(self, place, start):
        run = start(0)
        read(run, says(OLD), says(MORE, client="b", outcome="failed"), clients=[("a",), ("b",)])
        assert run.load().error == ""
        assert [set(r) for r in self.found(place)] == [{"id", "n"}]

    def test_shards_that_disagree_fail_the_load_with_a_sentence_and_nothing_is_lost(
        self, place, start
    ):
        first = start(0)
        read(first, says(MORE))
        first.load()
        before = self.found(place)
        run = start(1)
        other = says({"id": [9], "n": [9], "x": [9]}, client="b")
        read(run, says(MORE), other, clients=[("a",), ("b",)])
        receipt = run.load()
        assert "'x' is string in one place and int64 in another" in receipt.error
        assert "01-0000001" in receipt.error
        assert "nothing was loaded" in receipt.error
        assert self.found(place) == before

    def test_a_batch_beyond_the_lattice_fails_its_cell_alone(self, place, start):
        run = start(0)
        bad = says({"id": [9], "n": ["nine"]}, client="b")
        _, commit = read(run, says(MORE), bad, clients=[("a",), ("b",)])
        assert [(c.outcome, c.reason) for c in commit.cells] == [("failed", "schema")]
        assert run.load().error == ""
        assert [r["id"] for r in self.found(place)] == [3]

    def test_transformers_see_the_grown_table(self, place, start):
        run = start(0, transformers=["basic"])
        declare(run, 2, "basic", "basic", {"transformations": [
            {"kind": "uppercase", "tables": ["items"], "columns": ["x"]}
        ]})  # fmt: skip
        read(run, says(OLD, MORE))
        assert run.load().error == ""
        assert [r["x"] for r in self.found(place)] == [None, "NEW"]
