"""The specs under examples/ load, and their nested options are ones that the plugins know."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from contracts.specfile import load
from contracts.specfile.validate import validate
from loader.warehouses import registry as warehouses
from worker.sources import registry as sources

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").rglob("*.yml"))
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
    for document in loaded.documents:
        if document.kind in {"source", "destination"}:
            registry = sources if document.kind == "source" else warehouses
            model = document.model
            assert validate(
                registry.options(model.plugin),
                model.spec,
                document,
                ("spec", "spec"),
                document.what,
            )
