"""What a round teaches about how long cells take."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from contracts.commit import Cell, Commit
from contracts.history import History
from sharder.history import HEAVY, Lesson, learn

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


def commit(seconds, *cells, verdict=None):
    return Commit(
        run="r", shard="01-0000000", attempt="a", started=NOW, ended=NOW + timedelta(seconds=seconds),
        cells=cells, verdict=verdict,
    )  # fmt: skip


def ok(client, rows=0, table="t"):
    return Cell(table=table, client=client, outcome="ok", rows=rows)


def failed(client, table="t"):
    return Cell(table=table, client=client, outcome="failed", reason="denied")


def taught(*commits, previous=None):
    return learn(previous, "aws", "t", commits, NOW)


def test_a_shards_seconds_are_shared_out_by_rows():
    found = taught(commit(10, ok("a", 50), ok("b", 50)), commit(30, ok("c", 0), ok("d", 100)))
    assert (found.cells, found.mean_s, found.mean_rows) == (4, 10, 50)
    found = taught(
        *[commit(1, ok(f"q{i}")) for i in range(20)], commit(101, ok("big", 4950), ok("small"))
    )
    assert found.heavy == {"big": (pytest.approx(100), 4950)}


def test_rows_of_descendants_count_for_their_client():
    found = taught(commit(4, ok("a", 10), ok("a", 90, "child"), ok("b"), ok("b", 0, "child")))
    assert (found.cells, found.mean_rows) == (2, 50)


def test_cells_that_did_not_end_ok_teach_nothing():
    assert taught(commit(10, failed("a")), commit(5, verdict=failed(""))) is None
    found = taught(commit(10, ok("a"), failed("b")))
    assert (found.cells, found.mean_s) == (1, 5)
    # A client whose child table failed has not been read as a whole.
    assert taught(commit(10, ok("a", 5), failed("a", "child"))) is None


def test_a_round_without_a_lesson_leaves_the_history_as_it_was():
    before = taught(commit(10, ok("a")))
    assert taught(previous=before) is before


def test_slices_of_a_cell_add_up():
    quick = [commit(1, ok(f"q{i}")) for i in range(50)]
    slices = [commit(20, ok("huge", 1000)) for _ in range(8)]
    found = taught(*quick, *slices)
    assert found.cells == 51
    assert found.heavy == {"huge": (160.0, 8000)}


def test_the_mean_moves_halfway_with_a_whole_round_and_hardly_with_a_narrowed_one():
    before = taught(*[commit(10, ok(f"c{i}")) for i in range(100)])
    whole = taught(*[commit(20, ok(f"c{i}")) for i in range(100)], previous=before)
    assert (whole.mean_s, whole.cells) == (15, 100)
    narrowed = taught(commit(110, ok("c0")), previous=before)
    assert narrowed.mean_s == pytest.approx(10.5)
    assert narrowed.cells == 100
    assert narrowed.heavy == {"c0": (110.0, 0)}


def test_a_slow_client_moves_halfway_and_is_forgotten_when_it_is_slow_no_more():
    quick = [commit(1, ok(f"q{i}")) for i in range(100)]
    before = taught(*quick, commit(100, ok("slow", 10)))
    again = taught(*quick, commit(50, ok("slow", 20)), previous=before)
    assert again.heavy == {"slow": (75.0, 15)}
    history = again
    for _ in range(6):
        history = taught(*quick, commit(1, ok("slow")), previous=history)
    assert history.heavy == {}
    history = again
    for _ in range(6):
        history = taught(*quick, previous=history)
    assert history.heavy == {}


def test_only_the_slowest_clients_are_kept_however_many_there_are():
    lesson = Lesson("aws", "t")
    for i in range(20_000):
        lesson.add(commit(0.1, ok(f"q{i}")))
    for i in range(2 * HEAVY):
        lesson.add(commit(100 + i, ok(f"s{i}")))
    assert len(lesson._slow) <= 4 * HEAVY + 1
    found = lesson.history(None, NOW)
    assert len(found.heavy) <= HEAVY
    assert next(iter(found.heavy)) == f"s{2 * HEAVY - 1}"
    assert found.cells == 20_000 + 2 * HEAVY


def test_a_history_is_a_document_like_the_others():
    before = taught(commit(10, ok("a")), *[commit(0.1, ok(f"q{i}")) for i in range(50)])
    assert History.from_bytes(before.to_bytes()) == before
