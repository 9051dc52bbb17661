"""Byte ranges of text: no line lost, none twice, wherever the cuts fall."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import Permanent
from worker.sources.file import lines

texts = st.lists(st.binary(max_size=12).map(lambda b: b.replace(b"\n", b" ")), max_size=30)


@given(texts, st.booleans(), st.integers(1, 9), st.integers(1, 40))
def test_ranges_of_a_file_are_its_lines_once_and_in_order(rows, closed, n, target):
    data = b"\n".join(rows) + (b"\n" if closed else b"")
    found: list[bytes] = []
    for bounds in lines.ranges(len(data), n):
        stream = io.BytesIO(data)
        for block in lines.blocks("f", stream, target, bounds["from"], bounds["to"]):
            assert block.endswith(b"\n") or data.endswith(block)
            found.append(block)
    assert b"".join(found) == data


@given(texts, st.integers(1, 40))
def test_blocks_are_whole_lines(rows, target):
    data = b"".join(row + b"\n" for row in rows)
    found = list(lines.blocks("f", io.BytesIO(data), target))
    assert b"".join(found) == data
    assert all(block.endswith(b"\n") for block in found)


def test_a_sample_ends_with_a_line_and_says_whether_it_is_everything():
    assert lines.sample("f", io.BytesIO(b"one\ntwo\nthree"), 9) == (b"one\ntwo\n", False)
    assert lines.sample("f", io.BytesIO(b"one\ntwo"), 9) == (b"one\ntwo", True)
    with pytest.raises(Permanent, match="first line is longer"):
        lines.sample("f", io.BytesIO(b"x" * 100), 9)
