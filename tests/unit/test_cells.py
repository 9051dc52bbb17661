"""How the end of one cell decides about others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contracts.errors import Permanent
from contracts.table import with_cq_columns
from tests.fakes.scripted import CHILD, KEYLESS, PARENT
from worker.cells import Cells
from worker.sources.base import CellDone, Checkpoint

KEYED = (with_cq_columns(PARENT), with_cq_columns(CHILD))
RANDOM = (with_cq_columns(KEYLESS), with_cq_columns(CHILD))
BOTH = frozenset({"p", "c"})


def done(cells: Cells, table: str, client: str, outcome: str = "ok", **more) -> None:
    event = CellDone(table, client, outcome, **more)
    cells.done(event, event.message)


def ends(cells: Cells) -> dict[tuple[str, str], tuple[str, str | None]]:
    return {(c.table, c.client): (c.outcome, c.reason) for c in cells.manifest(lambda t, c: 0)}


def test_a_cell_without_an_end_has_failed():
    cells = Cells(KEYED, BOTH, ["a"])
    done(cells, "p", "a")
    cells.fail_open("failed", "no end")
    assert list(cells.settle()) == []
    assert ends(cells) == {("p", "a"): ("ok", None), ("c", "a"): ("failed", "failed")}


def test_a_failed_parent_fails_its_children_of_that_client_only():
    cells = Cells(KEYED, BOTH, ["a", "b"])
    done(cells, "p", "a", "failed", reason="denied", message="no")
    for table, client in (("c", "a"), ("p", "b"), ("c", "b")):
        done(cells, table, client)
    assert list(cells.settle()) == [("c", "a")]
    assert ends(cells) == {
        ("p", "a"): ("failed", "denied"), ("c", "a"): ("failed", "parent"),
        ("p", "b"): ("ok", None), ("c", "b"): ("ok", None),
    }  # fmt: skip


def test_a_skipped_parent_skips_its_children_for_the_same_reason():
    cells = Cells(KEYED, BOTH, ["a"])
    done(cells, "p", "a", "skipped", reason="region_off")
    done(cells, "c", "a")
    assert list(cells.settle()) == [("c", "a")]
    assert ends(cells)["c", "a"] == ("skipped", "region_off")


def test_a_failed_child_leaves_its_keyed_parent_alone():
    cells = Cells(KEYED, BOTH, ["a"])
    done(cells, "p", "a")
    done(cells, "c", "a", "failed")
    assert list(cells.settle()) == []
    assert ends(cells)["p", "a"] == ("ok", None)


def test_with_random_ids_a_failed_child_fails_the_whole_tree_of_its_client():
    cells = Cells(RANDOM, BOTH, ["a", "b"])
    for client in "ab":
        done(cells, "p", client)
    done(cells, "c", "a", "failed", reason="throttled")
    done(cells, "c", "b")
    assert ("p", "a") in list(cells.settle())
    assert ends(cells) == {
        ("p", "a"): ("failed", "parent"), ("c", "a"): ("failed", "throttled"),
        ("p", "b"): ("ok", None), ("c", "b"): ("ok", None),
    }  # fmt: skip


def test_the_trees_of_a_group_end_each_by_itself():
    other = tuple(with_cq_columns(replace(t, name=f"{t.name}2", parent=t.parent and f"{t.parent}2")) for t in (KEYLESS, CHILD))  # fmt: skip
    cells = Cells((*RANDOM, *other), BOTH | {"p2", "c2"}, ["a"])
    for table in ("p", "p2", "c2"):
        done(cells, table, "a")
    done(cells, "c", "a", "failed", reason="throttled")
    assert set(cells.settle()) == {("p", "a"), ("c", "a")}
    assert ends(cells) == {
        ("p", "a"): ("failed", "parent"), ("c", "a"): ("failed", "throttled"),
        ("p2", "a"): ("ok", None), ("c2", "a"): ("ok", None),
    }  # fmt: skip


def test_random_ids_without_children_concern_nobody_else():
    cells = Cells(RANDOM, frozenset({"c"}), ["a"])
    done(cells, "c", "a", "failed")
    assert list(cells.settle()) == []


def test_children_of_a_parent_that_is_not_selected_follow_the_nearest_one_that_is():
    grandchild = with_cq_columns(type(CHILD)("g", CHILD.columns, parent="c"))
    cells = Cells((*KEYED, grandchild), frozenset({"p", "g"}), ["a"])
    done(cells, "p", "a", "failed")
    done(cells, "g", "a")
    assert list(cells.settle()) == [("g", "a")]


def test_children_keep_their_rows_up_to_the_checkpoint_of_their_parent():
    cells = Cells(KEYED, BOTH, ["a"])
    cells.checkpoint(Checkpoint("p", "a", {"k": "7"}))
    done(cells, "p", "a", "failed")
    done(cells, "c", "a")
    assert list(cells.settle()) == []
    assert ends(cells)["c", "a"] == ("failed", "parent")


def test_a_failed_cell_keeps_the_cursor_of_its_last_checkpoint_and_no_later_one():
    cells = Cells(KEYED, BOTH, ["a", "b"])
    for client in "ab":
        cells.checkpoint(Checkpoint("p", client, {"k": "7"}))
    done(cells, "p", "a", "failed", cursor={"k": "9"})
    done(cells, "p", "b", "ok", cursor={"k": "9"})
    assert {c.client: c.cursor for c in cells.manifest(lambda t, c: 0) if c.table == "p"} == {
        "a": {"k": "7"},
        "b": {"k": "9"},
    }


def test_a_cell_of_another_shard_is_an_error():
    with pytest.raises(Permanent, match="table 'p' and client 'z'"):
        Cells(KEYED, BOTH, ["a"]).is_open("p", "z")


def test_messages_are_cut_to_a_length_that_manifests_can_bear():
    cells = Cells(KEYED, BOTH, ["a"])
    done(cells, "p", "a", "failed", message="x" * 10_000)
    (cell, _) = cells.manifest(lambda t, c: 0)
    assert len(cell.message) == 500
