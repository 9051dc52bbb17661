"""The bucket for any order of calls and pauses; waiting for calls and for places."""

from __future__ import annotations

from bisect import bisect_right

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.limits.bucket import Bucket, Rate, factor, hold, take
from worker.limits.flight import Flight
from worker.limits.machine import LocalPermits, LocalPlaces
from worker.limits.pace import Paced, pause
from worker.sources.base import Cancelled

STEPS = st.lists(
    st.tuples(st.floats(0, 3), st.integers(1, 30), st.one_of(st.none(), st.floats(0, 5))),
    min_size=1,
    max_size=40,
)
RATES = st.builds(Rate, st.floats(0.1, 500), st.floats(1, 50))


@given(RATES, STEPS)
def test_no_stretch_of_time_has_more_calls_than_rate_and_burst_allow(rate, steps):
    now, bucket, calls = 1000.0, Bucket(), []
    for passed, wanted, pause_s in steps:
        now += passed
        if pause_s is not None:
            bucket = hold(bucket, now, pause_s)
        bucket, slots = take(bucket, rate, now, wanted)
        assert slots.granted <= wanted
        calls += [now + slots.delay_s(n) for n in range(slots.granted)]
    assert calls == sorted(calls)
    for n, start in enumerate(calls):
        for length in (0.0, 0.1, 1.0, 5.0):
            count = bisect_right(calls, start + length) - n
            assert count <= rate.burst + 0.95 * rate.per_s * length + 1e-6


@given(st.integers(1, 1000), STEPS)
def test_a_rate_that_a_user_wrote_is_never_exceeded_in_any_second(per_s, steps):
    rates = []

    class Watched(LocalPermits):
        def ask(self, names, rate):
            rates.append(rate)
            return super().ask(names, rate)

    Paced(Watched(), "s", sleep=lambda _: None, cancelled=lambda: False).take("c", "v", per_s)
    now, bucket, calls = 1000.0, Bucket(), []
    for passed, wanted, _ in steps:
        now += passed / 10
        bucket, slots = take(bucket, rates[0], now, wanted)
        calls += [now + slots.delay_s(n) for n in range(slots.granted)]
    for n, start in enumerate(calls):
        # A second is half open: a call at its very end belongs to the next.
        assert bisect_right(calls, start + 1.0 - 1e-6) - n <= per_s


@given(RATES, st.floats(0.2, 1000), st.floats(0, 1000))
def test_no_call_is_made_during_a_pause(rate, pause_s, passed):
    bucket = hold(Bucket(), 1000.0, pause_s)
    now = 1000.0 + passed
    _, slots = take(bucket, rate, now, 100)
    for n in range(slots.granted):
        assert now + slots.delay_s(n) >= min(1000.0 + pause_s, now + slots.delay_s(n))
        assert passed + slots.delay_s(n) >= pause_s - 1e-6 or passed > pause_s


@given(RATES)
def test_who_asks_when_told_to_gets_a_slot(rate):
    bucket, now = take(Bucket(), rate, 1000.0, 1000)[0], 1000.0
    for _ in range(3):
        bucket, slots = take(bucket, rate, now, 1)
        if not slots.granted:
            now += slots.first_s + 1e-9
            bucket, slots = take(bucket, rate, now, 1)
        assert slots.granted == 1


def test_a_halved_rate_is_back_a_minute_after_the_pause():
    bucket = hold(Bucket(), 1000.0, 10.0)
    assert factor(bucket, 1010.0) == 0.5
    assert factor(bucket, 1025.0) == pytest.approx(0.75)
    assert factor(bucket, 1041.0) == 1.0


def test_a_rate_never_falls_to_nothing():
    bucket = Bucket()
    for n in range(50):
        bucket = hold(bucket, 1000.0 + 2 * n, 0.0)
    assert factor(bucket, 1098.0) >= 0.05


class Clock:
    def __init__(self):
        self.now, self.slept = 1000.0, 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        self.slept += seconds


def test_calls_follow_one_another_at_the_rate():
    clock = Clock()
    pace = Paced(LocalPermits(clock=clock), "s", sleep=clock.sleep, cancelled=lambda: False)
    for _ in range(101):
        pace.take("c", "v", 10)
    assert clock.slept == pytest.approx(100 / 9.5)


def test_who_waits_for_a_call_stops_when_the_attempt_should():
    clock = Clock()
    pace = Paced(
        LocalPermits(clock=clock), "s", sleep=clock.sleep, cancelled=lambda: clock.slept > 3
    )
    pace.hold("c", "v", 3600)
    with pytest.raises(Cancelled):
        pace.take("c", "v", 10)
    assert clock.slept == pytest.approx(3.5)


def test_a_pause_looks_twice_a_second_whether_to_go_on():
    looks = []
    pause(2.2, looks.append, lambda: False)
    assert looks == [0.5, 0.5, 0.5, 0.5, pytest.approx(0.2)]


def test_a_client_waits_until_another_is_done():
    places, waited = LocalPlaces(), []
    held = places.take("s", 1)

    def sleep(seconds):
        waited.append(seconds)
        if len(waited) == 3:
            places.give_back("s", held)

    with Flight(places, "s", 1, sleep=sleep).another(lambda: False) as given_:
        assert given_
        assert places.take("s", 1) is None
    assert len(waited) == 3
    assert places.take("s", 1)


def test_waiting_for_a_place_ends_when_asked_to_stop():
    places, waited = LocalPlaces(), []
    places.take("s", 1)
    flight = Flight(places, "s", 1, sleep=waited.append)
    with flight.another(lambda: len(waited) > 1) as given_:
        assert not given_
    assert len(waited) == 2


def test_without_a_limit_nobody_waits():
    flight = Flight(LocalPlaces(), "s", 0, sleep=lambda _: pytest.fail("waited"))
    with flight.another(lambda: False) as one, flight.another(lambda: False) as two:
        assert (one, two) == (True, True)


def test_a_place_is_given_back_whatever_happens():
    places = LocalPlaces()
    flight = Flight(places, "s", 1, sleep=lambda _: None)
    with pytest.raises(ValueError), flight.another(lambda: False):
        raise ValueError
    assert places.take("s", 1)
