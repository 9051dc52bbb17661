"""What a worker promises whatever goes wrong: committed parts stay, cursors never pass rows, cells fail alone."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pytest

from contracts.commit import Commit
from contracts.errors import Unreachable
from contracts.receipt import Receipt
from contracts.stage import Stage
from contracts.store.local import LocalStore
from contracts.table import Column, Table
from tests.fakes.runs import RUN, SYNC_TIME, Steady, local_stage, write_run
from tests.fakes.scripted import CHILD, PARENT, Handing, Scripted, rows
from worker.extract import extract
from worker.sources.base import CellDone


@pytest.fixture
def stage(tmp_path):
    return local_stage(tmp_path)


def attempt(
    stage: Stage, source: Scripted, tables: Iterable[Table] = (PARENT,), clients=("a", "b")
) -> Commit | None:
    (message,) = write_run(stage, list(tables), clients, path="cloudquery/scripted", spec={})
    return extract(
        message, stage=stage, heart=Steady(), environment={}, now=lambda: SYNC_TIME,
        sleep=lambda _s: None, worker="w1", opened=Handing(source),
    )  # fmt: skip


def one_row(work, cursors):
    for client in work.clients:
        yield rows(PARENT, client, [1])
        yield CellDone("p", client)


class Faltering(LocalStore):
    """Takes commits, but the answer never arrives."""

    def create(self, key: str, data: bytes) -> bool:
        super().create(key, data)
        raise Unreachable("the store does not answer")


class Forgetful(LocalStore):
    """Says that a commit exists already, since the first reply was lost, and then cannot be asked."""

    def create(self, key: str, data: bytes) -> bool:
        super().create(key, data)
        return False

    def get(self, key: str) -> bytes:
        if "/commits/" in key and (self.root / key).exists():
            raise Unreachable("the store does not answer")
        return super().get(key)


@pytest.mark.parametrize("store", [Faltering, Forgetful])
def test_parts_stay_while_nobody_knows_whether_the_commit_was_made(tmp_path, store):
    with pytest.raises(Unreachable):
        attempt(Stage(store(tmp_path)), Scripted(one_row))
    stage = local_stage(tmp_path)
    commit = stage.commit(RUN, "01-0000000")
    assert commit.parts
    assert all(stage.store.get(part.key) for part in commit.parts)


def test_a_child_of_a_failed_parent_leaves_its_cursor_where_it_was(stage):
    child = Table(CHILD.name, CHILD.columns, parent="p", incremental=True)

    def parent_fails(work, cursors):
        yield rows(PARENT, "a", [1])
        yield rows(child, "a", [10])
        yield CellDone("c", "a", cursor={"c/a": "10"})
        yield CellDone("p", "a", "failed", "throttled", "too many requests")

    commit = attempt(stage, Scripted(parent_fails), (PARENT, child), ("a",))
    (cell,) = [c for c in commit.cells if c.table == "c"]
    assert (cell.outcome, cell.rows, cell.cursor) == ("failed", 0, {})


def test_a_batch_that_cannot_be_cast_fails_its_cell_alone(stage):
    """Arrow has no cast from nulls to list views, and says so with an error of another kind."""
    table = Table("p", (*PARENT.columns[:1], Column("v", pa.list_view(pa.int64()))))
    wrong = pa.nulls(1)

    def disagrees(work, cursors):
        yield rows(table, "a", [1], v=wrong)
        yield CellDone("p", "a")
        yield rows(table, "b", [2])
        yield CellDone("p", "b")

    commit = attempt(stage, Scripted(disagrees), (table,))
    assert {c.client: (c.outcome, c.reason) for c in commit.cells} == {
        "a": ("failed", "schema"), "b": ("ok", None),
    }  # fmt: skip


def test_a_source_that_raises_before_its_first_event_fails_its_cells_with_its_own_words(stage):
    class Blunt(Scripted):
        def read(self, work, cursors):
            raise PermissionError("no such role")

    commit = attempt(stage, Blunt(one_row))
    assert {c.message for c in commit.cells} == {"PermissionError: no such role"}


def test_ids_of_clients_are_the_cells_whatever_the_source_sends(stage):
    """Rows are left out, and stale ones deleted, by `_cq_client_id`: only the cell's own name is safe."""
    table = Table("p", (*PARENT.columns, Column("_cq_client_id", pa.string())))

    def sends_its_own(work, cursors):
        for client in work.clients:
            yield rows(table, client, [1], _cq_client_id=pa.array(["other"]))
            yield CellDone("p", client)

    commit = attempt(stage, Scripted(sends_its_own), (table,))
    from contracts.stagefile import read_part

    planned = stage.plan(RUN, 1).tables[0].table("p")
    found = [
        r["_cq_client_id"]
        for part in commit.parts
        for batch in read_part(stage.store, part, planned, "parquet")
        for r in batch.to_pylist()
    ]
    assert sorted(found) == ["a", "b"]


def test_a_retry_of_a_full_refresh_goes_on_where_the_refresh_stopped(stage):
    """In append mode the rows up to the checkpoint are in the warehouse, and must not come twice."""
    source = Scripted(one_row)
    done = {"key": "7"}
    stage.create_receipt(
        Receipt(
            run=RUN, destination="w", source="src", table="p", round=1, rounds=(1,), load="l",
            outcome="ok", started=SYNC_TIME, ended=SYNC_TIME, cursors=done,
        )
    )  # fmt: skip
    for round_, expected in ((1, {}), (2, done)):
        (message,) = write_run(
            stage, [PARENT], ("a",), path="x", spec={}, round_=round_, full_refresh=True,
            cursors={"key": "999"},
        )  # fmt: skip
        extract(message, stage=stage, heart=Steady(), environment={}, opened=Handing(source))
        assert source.seen[-1] == expected
