"""Broken documents, a few of the many that `tests/fuzz_documents.py` makes: everybody goes on, or says why not."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.fuzz_documents import Ground, check, grounds


@pytest.fixture(scope="module")
def ground() -> Iterator[list[Ground]]:
    with grounds() as found:
        yield found


@pytest.mark.parametrize("seed", range(20))
def test_a_broken_object_of_the_stage_stops_nobody_without_a_word(
    ground: list[Ground], seed: int
) -> None:
    check(ground[seed % 2], random.Random(seed))
