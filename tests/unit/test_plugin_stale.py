"""When a plugin may be told to delete: only where every older row of the source is stale."""

from __future__ import annotations

import pytest

from loader.publication import Counts, TablePublication
from loader.shape import PhysicalTable
from loader.sql import Stale
from loader.warehouses.plugin.stale import deletable, kept

SHAPE = PhysicalTable("items", ())


def published(stale: Stale | None, **counts: int) -> TablePublication:
    return TablePublication("items", SHAPE, SHAPE, "merge", 0, None, stale, None, Counts(**counts))


def test_every_cell_ok_and_every_client_known_takes_all_older_rows():
    t = published(Stale(others=True, without_client=True), ok=2)
    assert deletable(t.stale)
    assert kept(t) == ""


def test_a_later_round_that_mends_the_first_takes_them_too():
    assert deletable(Stale(others=False, without_client=True))


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"ok": 1, "failed": 1, "skipped": 2}, "3 of its cells did not end ok"),
        ({"ok": 1}, "the list of clients was not whole"),
        ({}, "it has no cells"),
    ],
)
def test_otherwise_they_stay_and_the_receipt_says_why(counts, said):
    t = published(Stale(others=bool(counts), without_client=False), **counts)
    assert not deletable(t.stale)
    assert said in kept(t)


def test_where_nothing_may_go_nothing_is_said():
    assert kept(published(None, ok=1)) == ""
    assert not deletable(None)
