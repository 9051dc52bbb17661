"""What every warehouse must do with a table whose `_cq_client_id` is the source's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from contracts.table import CLIENT_ID, Column, Table, with_cq_columns
from tests.fakes.loop import read
from tests.fakes.scripted import Script
from tests.fakes.stage import Bad, StageRun, rows, shard
from tests.suites.loads import days
from worker.sources.base import CellDone, Event, Rows

ITEMS = with_cq_columns(
    Table(
        "items",
        (
            Column("id", pa.int64(), nullable=False, primary_key=True),
            Column(CLIENT_ID, pa.string()),
        ),
        own_client_ids=True,
    )
)


def some(client: str, own: Mapping[int, str | None], outcome: str = "ok") -> Iterator[Event]:
    """Rows of our `client`: id → the source's own client."""
    columns = {"id": pa.array(own.keys(), pa.int64()), CLIENT_ID: pa.array(own.values(), pa.string())}  # fmt: skip
    yield Rows("items", client, pa.record_batch(columns))
    yield CellDone("items", client, outcome, None if outcome == "ok" else "denied")


def says(**cells: tuple[Mapping[int, str | None], str]) -> Script:
    def script(_work: object, _cursors: object) -> Iterator[Event]:
        for client, (own, outcome) in cells.items():
            yield from some(client, own, outcome)

    return script


class OwnClientsSuite:
    @pytest.fixture
    def start(self, place: Any, tmp_path: Path) -> Callable[..., StageRun]:
        """`start(day)`: a new run of the source into the place."""

        def begin(day: int, **kwargs: Any) -> StageRun:
            return StageRun(
                tmp_path / "stage", ITEMS, spec=place.spec, path=place.path, run=f"run-{day}",
                sync_time=days(day), **kwargs,
            )  # fmt: skip

        return begin

    def found(self, place: Any) -> list[tuple[int, str]]:
        found: list[tuple[int, str]] = place.rows("SELECT id, _cq_client_id FROM items ORDER BY id")
        return found

    def seed(self, start: Callable[..., StageRun], **kwargs: Any) -> None:
        """Of our client `a` row 1, whose own client is `b`; of our client `b` rows 2 and 3."""
        run = start(0, **kwargs)
        read(run, says(a=({1: "b"}, "ok"), b=({2: "x", 3: None}, "ok")), clients=[("a", "b")])
        assert run.load().error == ""

    def test_the_sources_ids_are_kept_and_ours_stand_where_it_has_none(self, place, start):
        self.seed(start)
        assert self.found(place) == [(1, "b"), (2, "x"), (3, "b")]

    @pytest.mark.parametrize("format_", ["parquet", "csv"])
    def test_rows_of_a_failed_cell_are_left_out_whatever_client_they_name(
        self, place, start, format_
    ):
        run = start(0, format_=format_)
        bad = says(a=({1: "b", 2: None}, "failed"), b=({3: "a", 4: "a"}, "ok"))
        read(run, bad, clients=[("a", "b")])
        receipt = run.load()
        assert (receipt.error, receipt.published) == ("", 2)
        assert self.found(place) == [(3, "a"), (4, "a")]

    @pytest.mark.parametrize("format_", ["parquet", "csv"])
    def test_a_part_that_mixes_cells_of_which_one_failed_is_refused(self, place, start, format_):
        run = start(0, format_=format_)
        run.round([shard({"a": rows(1), "b": Bad(rows=rows(2))})])
        assert "holds rows of several cells of table 'items'" in run.load().error

    def test_a_denied_client_keeps_every_old_row_until_all_are_ok(self, place, start):
        self.seed(start)
        run = start(1)
        read(run, says(a=({1: "b"}, "ok"), b=({}, "failed")), clients=[("a", "b")])
        assert run.load().tables[0].stale == 0
        assert [id_ for id_, _ in self.found(place)] == [1, 2, 3]
        read(run, says(b=({2: "x"}, "ok")), clients=[("b",)], number=2, authoritative=False)
        assert run.load(2).tables[0].stale == 1
        assert self.found(place) == [(1, "b"), (2, "x")]

    def test_without_an_authoritative_list_nothing_goes(self, place, start):
        self.seed(start)
        run = start(1)
        read(run, says(a=({9: "z"}, "ok")), authoritative=False)
        assert run.load().error == ""
        assert [id_ for id_, _ in self.found(place)] == [1, 2, 3, 9]

    def test_rows_of_other_sources_stay(self, place, start):
        self.seed(start, source="other")
        run = start(1)
        read(run, says(a=({9: "z"}, "ok")))
        assert run.load().tables[0].stale == 0
        assert [id_ for id_, _ in self.found(place)] == [1, 2, 3, 9]
