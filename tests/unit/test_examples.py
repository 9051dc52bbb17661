"""The specs under examples/ load, and their nested options are ones that the plugins know."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from contracts.specfile import load
from sharder import check

ROOT = Path(__file__).parents[2] / "examples"
# Recipes are not specs: tests/unit/test_recipes.py reads them.
EXAMPLES = sorted(f for f in ROOT.rglob("*.yml") if "recipes" not in f.parts)
ENVIRONMENT = {
    "SHOP_URL": "postgresql://reader@localhost/shop",
    "PG_CONNECTION_STRING": "postgresql://loader@localhost/lake",
    "SHARDER_BROKER": "redis://localhost:6379/0",
    "AWS_ENDPOINT": "http://127.0.0.1:5000",
}


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda p: p.name)
def test_an_example_loads_without_a_warning(file):
    loaded = load([file], ENVIRONMENT, datetime(2026, 1, 1, tzinfo=UTC))
    assert not loaded.warnings
    assert not check.check(loaded)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda p: p.name)
def test_an_example_says_first_what_it_shows(file):
    first = file.read_text().splitlines()[0]
    assert first.startswith("# ")
    assert len(first) > 40


def test_every_example_is_listed_in_its_readme():
    listed = (ROOT / "README.md").read_text()
    for file in EXAMPLES:
        assert f"({file.relative_to(ROOT)})" in listed
