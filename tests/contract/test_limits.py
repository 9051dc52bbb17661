"""Limits of one machine and of a fleet, held to the same suites; and what is each one's own."""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
from bisect import bisect_right
from contextlib import ExitStack

import pytest

from contracts.fleet.limits import RedisLimits
from contracts.fleet.names import PLACE_EXPIRY_S, pace_key, places_key
from tests.fakes.limited import GRANTS, TRIPS
from tests.fakes.servers import Redis, running
from tests.suites.limits import NAMES, PermitsSuite, PlacesSuite
from worker.limits.bucket import Rate
from worker.limits.fleet import FleetPermits, FleetPlaces, Link
from worker.limits.machine import LocalPermits, LocalPlaces


@pytest.fixture
def file():
    """What the processes of a machine share."""
    with tempfile.TemporaryFile() as shared:
        yield shared.fileno()


class TestLocalPermits(PermitsSuite):
    @pytest.fixture
    def permits(self):
        return LocalPermits()


class TestPermitsOfAMachine(PermitsSuite):
    @pytest.fixture
    def permits(self, file):
        return LocalPermits(file)


class TestLocalPlaces(PlacesSuite):
    @pytest.fixture
    def places(self):
        return LocalPlaces()


class TestPlacesOfAMachine(PlacesSuite):
    @pytest.fixture
    def places(self, file):
        return LocalPlaces(file)


@pytest.fixture
def connected(redis_url):
    opened = []

    def connect(**options):
        opened.append(RedisLimits(redis_url))
        return Link(opened[-1], **options)

    yield connect
    for limits in opened:
        limits.close()


@pytest.mark.redis
class TestFleetPermits(PermitsSuite):
    @pytest.fixture
    def permits(self, connected):
        return FleetPermits(connected(), LocalPermits())


@pytest.mark.redis
class TestFleetPlaces(PlacesSuite):
    @pytest.fixture
    def places(self, connected):
        return FleetPlaces(connected(), LocalPlaces())


HOLDER = """
import sys
from worker.limits.bucket import Rate
from worker.limits.machine import LocalPermits, LocalPlaces
file = int(sys.argv[1])
places, permits = LocalPlaces(file), LocalPermits(file)
print(places.take("src", 2) is not None, permits.ask(("src", "c", "s"), Rate(0.001)).granted, flush=True)
sys.stdin.read()
"""


def test_processes_of_a_machine_share_rates_and_places_and_a_dead_one_has_none(file):
    command = [sys.executable, "-c", HOLDER, str(file)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=[file]
    ) as holder:
        assert holder.stdout.readline().split() == ["True", "True"]
        places = LocalPlaces(file)
        assert [bool(places.take("src", 2)) for _ in range(2)] == [True, False]
        assert not LocalPermits(file).ask(("src", "c", "s"), Rate(0.001)).granted
        holder.kill()
        holder.communicate()
    assert places.take("src", 2)


@pytest.mark.redis
def test_four_processes_keep_one_rate_together(redis_url):
    """Counted by Redis's clock, in every second that begins with a grant."""
    import redis

    per_s, calls, threads = 50, 6, 6
    command = [sys.executable, "-m", "tests.fakes.limited", redis_url]
    command += [str(per_s), str(calls), str(threads)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with ExitStack() as stack:
        processes = [stack.enter_context(subprocess.Popen(command, **pipes)) for _ in range(4)]
        assert [p.stdout.readline() for p in processes] == ["ready\n"] * 4
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            process.communicate()
    assert [p.returncode for p in processes] == [0, 0, 0, 0]
    with redis.from_url(redis_url, decode_responses=True) as client:
        grants = sorted(float(t) for t in client.lrange(GRANTS, 0, -1))
        trips = int(client.get(TRIPS))
    assert len(grants) >= 4 * calls * threads
    worst = max(bisect_right(grants, t + 1.0) - n for n, t in enumerate(grants))
    assert worst <= per_s
    print(f"{len(grants)} grants, {worst} in the worst second, {trips} trips")


@pytest.mark.redis
def test_a_pause_that_one_process_was_told_of_stops_the_others(connected):
    first, second = (FleetPermits(connected(), LocalPermits()) for _ in range(2))
    assert second.ask(NAMES, Rate(20)).granted
    first.hold(NAMES, 30)
    answers = [second.ask(NAMES, Rate(20)) for _ in range(4)]
    # At most what it had fetched before, for the next tenth of a second.
    assert sum(a.granted for a in answers) <= 2
    assert 29 < answers[-1].wait_s <= 30


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def mortal():
    """A Redis of this test's own."""
    yield from running(Redis)


@pytest.mark.redis
def test_without_redis_a_process_keeps_to_its_share_and_later_to_the_fleet_again(mortal, caplog):
    caplog.set_level(logging.INFO, "sharder")
    clock = Clock()
    link = Link(RedisLimits(mortal.url), clock)
    for n in range(3):
        link.redis.sharers(f"other:{n}")
    permits = FleetPermits(link, LocalPermits(clock=clock))
    rate = Rate(4)
    assert permits.ask(NAMES, rate).granted
    assert link.sharers == 4

    mortal.kill()
    clock.now += 1
    granted = [permits.ask(NAMES, rate).granted for _ in range(10)]
    assert (
        granted == [True] + [False] * 9
    )  # a quarter of the rate, not of nothing and not without end
    clock.now += 1.1
    assert permits.ask(NAMES, rate).granted
    assert [r.message for r in caplog.records if "limits_local" in r.message] != []
    assert len(caplog.records) == 1

    mortal.start()
    clock.now += 5
    assert permits.ask(NAMES, rate).granted
    assert mortal_key(mortal, pace_key(*NAMES))
    assert ["limits_shared" in r.message for r in caplog.records] == [False, True]
    link.redis.close()


def mortal_key(server, key):
    import redis

    with redis.from_url(server.url) as client:
        return client.exists(key)


@pytest.mark.redis
def test_a_pause_is_kept_to_while_redis_is_away(mortal):
    clock = Clock()
    permits = FleetPermits(Link(RedisLimits(mortal.url), clock), LocalPermits(clock=clock))
    mortal.kill()
    permits.hold(NAMES, 60)
    answer = permits.ask(NAMES, Rate(1))
    assert (answer.granted, answer.wait_s) == (False, 60)


@pytest.mark.redis
def test_what_redis_keeps_of_a_rate_goes_by_itself(connected, redis_url):
    import redis

    permits = FleetPermits(connected(), LocalPermits())
    permits.ask(NAMES, Rate(1))
    permits.hold(NAMES, 5)
    with redis.from_url(redis_url, decode_responses=True) as client:
        keys = {key: client.ttl(key) for key in client.scan_iter("*")}
    assert pace_key(*NAMES) in keys
    assert all(0 < ttl <= 130 for ttl in keys.values())


@pytest.mark.redis
def test_the_place_of_a_holder_that_died_is_free_once_it_expires(connected, redis_url):
    import redis

    dead, alive = (FleetPlaces(connected(), LocalPlaces()) for _ in range(2))
    assert dead.take("src", 1)
    assert alive.take("src", 1) is None
    with redis.from_url(redis_url) as client:
        ((holder, _),) = client.zrange(places_key("src"), 0, -1, withscores=True)
        client.zadd(places_key("src"), {holder: client.time()[0] - 1})
        assert alive.take("src", 1)
        assert 0 < client.ttl(places_key("src")) <= PLACE_EXPIRY_S


@pytest.mark.redis
def test_a_holder_that_redis_forgot_is_written_again(connected, redis_url):
    import redis

    mine, others = (FleetPlaces(connected(), LocalPlaces()) for _ in range(2))
    assert mine.take("src", 1)
    with redis.from_url(redis_url) as client:
        client.flushall()
    mine.keep()
    assert others.take("src", 1) is None


@pytest.mark.redis
def test_without_redis_each_process_has_its_share_of_the_places_and_at_least_one(mortal):
    link = Link(RedisLimits(mortal.url), Clock())
    link.redis.sharers("other")
    places = FleetPlaces(link, LocalPlaces())
    assert places.take("src", 6)
    mortal.kill()
    link.clock.now += 10
    found = [places.take("src", 6) for _ in range(4)]
    assert [bool(p) for p in found] == [True, True, False, False]  # three of six, one held already
    places.give_back("src", found[0])
    assert places.take("src", 6)
    assert places.take("other", 1)
    link.redis.close()
