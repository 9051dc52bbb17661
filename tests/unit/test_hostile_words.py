"""Broken messages and random names, a few of the many that `tests/fuzz_words.py` makes: done, or refused with a word."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz_documents import Ground, grounds
from tests.fuzz_words import Where, check_message, check_names


@pytest.fixture(scope="module")
def ground() -> Iterator[list[Ground]]:
    with grounds() as found:
        yield found


@pytest.mark.parametrize("seed", range(12))
def test_a_broken_message_is_dropped_or_done(ground: list[Ground], seed: int) -> None:
    check_message(ground[seed % 2], random.Random(seed))


@pytest.mark.parametrize("seed", range(6))
def test_duckdb_holds_tables_of_random_names_or_says_why_not(tmp_path: Path, seed: int) -> None:
    where = Where("duckdb", str(tmp_path / "w.duckdb")).prepare()
    check_names(tmp_path / "run", random.Random(seed), where)


@pytest.mark.postgres
@pytest.mark.parametrize("seed", range(6))
def test_postgresql_holds_tables_of_random_names_or_says_why_not(
    tmp_path: Path, postgres_dsn: str, seed: int
) -> None:
    check_names(tmp_path / "run", random.Random(seed), Where("postgresql", postgres_dsn).prepare())


@pytest.mark.parametrize("seed", range(6))
def test_files_of_random_names_stay_below_their_path(tmp_path: Path, seed: int) -> None:
    check_names(tmp_path / "run", random.Random(seed), Where("file"))
