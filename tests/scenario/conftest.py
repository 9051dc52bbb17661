"""What whole runs share: commands in an empty directory, and their specs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.fleet import Fleet


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Fleet]:
    """Commands without a broker, in an empty directory."""
    with Fleet(tmp_path) as fleet:
        yield fleet
