"""The pages of the sql and file sources say what their models say."""

from __future__ import annotations

import pytest

from tests.docs_sources import PAGES, page


@pytest.mark.parametrize("name", ["sql", "file"])
def test_the_page_is_what_its_generator_writes(name):
    assert (PAGES / f"{name}.md").read_text() == page(name), "run: python -m tests.docs_sources"
