"""The pages of the sources say what their models say."""

from __future__ import annotations

import pytest

from tests.docs_sources import PAGES, PARTS, page


@pytest.mark.parametrize("name", PARTS)
def test_the_page_is_what_its_generator_writes(name):
    assert (PAGES / f"{name}.md").read_text() == page(name), "run: python -m tests.docs_sources"
