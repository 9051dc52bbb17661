"""A worker's processes on a real Redis: replaced after so many jobs, measured, and doubted when deaf."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from contracts.errors import Exit
from contracts.fleet import CeleryQueue
from contracts.fleet.names import VISIBILITY_S
from contracts.guard import GRACE_S
from contracts.spec import Fleet
from tests.fakes.ear import Ear
from tests.fakes.fleet_worker import FleetWorker
from tests.fakes.servers import Redis, free_port, running
from tests.suites.queue import shards

pytestmark = pytest.mark.redis


def until(condition: Callable[[], object]) -> None:
    """Poll real processes; the test's own timeout ends what never happens."""
    while not condition():
        select.select([], [], [], 0.01)


@pytest.fixture
def ear() -> Iterator[Ear]:
    with Ear() as ear:
        yield ear


@pytest.fixture
def own_redis() -> Iterator[Redis]:
    """A Redis that the test may kill."""
    yield from running(Redis)


def work(queue: CeleryQueue, ear: Ear, n: int) -> list[int]:
    """Have n messages handled, one after the other; the processes that did it."""
    messages = shards(n)
    queue.put(messages)
    wanted, pids = set(messages), []
    while wanted:
        call = ear.hear()
        if call.message in wanted:  # a broker that was restarted may hand out others again
            wanted.remove(call.message)
            pids.append(call.pid)
        call.finish()
    return pids


@pytest.mark.timeout(150)
def test_processes_are_replaced_and_go_on_after_the_broker_was_away(
    own_redis: Redis, ear: Ear, tmp_path: Path
) -> None:
    # An acknowledgement that meets the dead broker would else leave a consumer that never asks again.
    options = {"jobs_per_child": 2, "patience_s": 20.0, "every_s": 0.5}
    queue = CeleryQueue(own_redis.url)
    with FleetWorker(own_redis.url, "shards", ear, tmp_path, **options) as worker:
        before = work(queue, ear, 5)
        own_redis.kill()
        own_redis.start()
        after = work(queue, ear, 5)
        assert len(set(before)) >= 3
        assert len(set(after)) >= 2
        assert worker.terminate() == Exit.OK
        assert "FileNotFoundError" not in worker.log.read_text()
    queue.close()


def test_a_worker_that_takes_no_messages_is_not_alive(
    redis_url: str, ear: Ear, tmp_path: Path
) -> None:
    queue = CeleryQueue(redis_url)
    options = {"deaf": True, "patience_s": 0.5, "every_s": 0.1}
    with FleetWorker(redis_url, "shards", ear, tmp_path, **options) as worker:
        until(lambda: queue.workers() == 1 and worker.alive.exists())
        queue.put(shards(1))
        until(lambda: queue.workers() == 0)
        last = worker.alive.stat().st_mtime_ns
        until(lambda: worker.log.read_text().count("event=not_consuming") > 3)
        assert worker.alive.stat().st_mtime_ns == last
        assert queue.waiting() == 1
    queue.close()


def test_metrics_are_served_beside_the_worker_and_end_with_it(
    redis_url: str, ear: Ear, tmp_path: Path
) -> None:
    queue, port = CeleryQueue(redis_url), free_port()

    def asked() -> str:
        with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            return str(answer.read().decode())

    with FleetWorker(redis_url, "shards", ear, tmp_path, metrics_port=port) as worker:
        work(queue, ear, 1)
        assert "sharder_heartbeats_lost_total" in asked()
        assert worker.terminate() == Exit.OK
    with pytest.raises(OSError):
        asked()
    queue.close()


def test_a_shard_of_the_default_limit_is_not_handed_out_twice() -> None:
    assert Fleet().shard_timeout + GRACE_S < VISIBILITY_S
