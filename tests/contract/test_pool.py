"""The embedded queue: spawned processes of this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from contracts.queue import Queue
from sharder.pool import Pool
from tests.fakes.ear import Ear
from tests.suites.queue import QueueSuite

HANDLERS = {"worker": "tests.fakes.ear:handle", "loader": "tests.fakes.ear:handle"}


class TestPool(QueueSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def ear(cls) -> Iterator[Ear]:
        with Ear() as ear:
            yield ear

    @pytest.fixture(scope="class")
    @classmethod
    def queue(cls, ear: Ear) -> Iterator[Queue]:
        pool = Pool(1, {**os.environ, **ear.environment()}, handlers=HANDLERS)
        yield pool
        pool.close()
