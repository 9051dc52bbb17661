"""A few hundred mutated specs of the corpus; `python -m tests.fuzz_spec --seconds 600` feeds more."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.fuzz_spec import one, seeds

CHUNK = 50


@pytest.mark.parametrize("first", range(0, 400, CHUNK))
def test_a_mutated_spec_loads_or_is_refused_with_a_sentence(first):
    texts = seeds()
    ends = Counter(one(seed, texts) for seed in range(first, first + CHUNK))
    assert ends["refused"]
    assert ends.total() == CHUNK


def test_a_case_is_made_again_from_its_seed():
    texts = seeds()
    assert [one(seed, texts) for seed in range(20)] == [one(seed, texts) for seed in range(20)]
