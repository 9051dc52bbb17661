"""`--shard n/m`: what it may say, and how tables are dealt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InputError
from sharder.deal import Part, parse, share

TABLES = [("b", "x"), ("a", "z"), ("a", "y"), ("c", "w"), ("a", "x")]


def test_tables_are_dealt_round_about_in_the_order_of_source_and_name() -> None:
    assert Part(1, 2).deal(TABLES) == {("a", "x"), ("a", "z"), ("c", "w")}
    assert Part(2, 2).deal(TABLES) == {("a", "y"), ("b", "x")}


@given(st.sets(st.tuples(st.text(max_size=3), st.text(max_size=3))), st.integers(1, 9))
def test_every_table_is_dealt_once(tables: set[tuple[str, str]], m: int) -> None:
    dealt = [t for n in range(1, m + 1) for t in Part(n, m).deal(tables)]
    assert sorted(dealt) == sorted(tables)


def test_a_surplus_shard_has_no_table() -> None:
    assert Part(6, 9).deal(TABLES) == frozenset()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1", "not of the form n/m"),
        ("1/2/3", "not of the form n/m"),
        ("", "not of the form n/m"),
        ("a/2", "must be integers"),
        ("1/b", "must be integers"),
        ("1.5/2", "must be integers"),
        ("/2", "must be integers"),
        ("0/2", "count from 1"),
        ("-1/2", "count from 1"),
        ("1/0", "count from 1"),
        ("3/2", "n is above m"),
    ],
)
def test_what_is_no_shard_is_told_with_one_that_is(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as wrong:
        parse(text)
    assert text in str(wrong.value)


def test_a_shard_reads_back() -> None:
    assert str(parse("2/7")) == "2/7"


def test_the_shards_of_one_invocation_have_runs_of_their_own() -> None:
    assert Part(2, 7).run("nightly") == "nightly-2-of-7"
    with pytest.raises(InputError, match="too long for a shard") as wrong:
        Part(2, 7).run("x" * 94)
    assert "93 characters" in wrong.value.hint
    with pytest.raises(InputError, match="not a run id"):
        Part(2, 7).run("a/b")


def test_the_shards_of_one_invocation_are_one_run_together() -> None:
    assert sum(share(Part(n, 4).run("r")) for n in range(1, 5)) == 1
    assert share("r") == share("r-0-of-4") == share("r-1-of-4x") == 1
