"""The Source suite, bound to what `--sharder-source` names; `pytest_plugin` has pytest collect it."""

from __future__ import annotations

import pytest

from worker.sources.base import Source
from worker.sources.suite import SourceSuite


class TestSource(SourceSuite):
    @pytest.fixture
    def source(self, sharder_source: Source) -> Source:
        return sharder_source

    @pytest.fixture(autouse=True)
    def _limits(self, request: pytest.FixtureRequest) -> None:
        self.tops = request.config.getoption("--sharder-table") or None
        self.empty = frozenset(request.config.getoption("--sharder-empty"))
