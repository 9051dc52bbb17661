"""What every way of counting calls, and clients in flight, must do."""

from __future__ import annotations

import threading
import time

import pytest

from contracts.fleet.names import AHEAD_S
from worker.limits.bucket import Rate
from worker.limits.flight import Places
from worker.limits.pace import Permits

NAMES = ("src", "1:eu-west-1", "ec2")


class PermitsSuite:
    """Bound by a fixture `permits`. Nothing sleeps: a bound is worked out from the time that has passed."""

    def asked(self, permits: Permits, rate: Rate, times: int, names=NAMES) -> int:
        """How many of so many questions, one after the other, were granted."""
        return sum(permits.ask(names, rate).granted for _ in range(times))

    def test_a_first_call_may_be_made_at_once(self, permits: Permits):
        answer = permits.ask(NAMES, Rate(5))
        assert (answer.granted, answer.wait_s) == (True, 0.0)

    @pytest.mark.parametrize("rate", [Rate(20), Rate(100, 5), Rate(2, 10), Rate(0.5)])
    def test_no_more_calls_are_granted_than_the_rate_and_the_burst_allow(self, permits, rate):
        start = time.monotonic()
        granted = self.asked(permits, rate, 200)
        passed = time.monotonic() - start
        assert 1 <= granted <= rate.burst + 0.95 * rate.per_s * (passed + AHEAD_S) + 1e-6 + 1

    def test_a_burst_is_granted_at_once(self, permits: Permits):
        answers = [permits.ask(NAMES, Rate(1, 20)) for _ in range(20)]
        assert all(a.granted and a.wait_s == 0.0 for a in answers)

    def test_a_refusal_says_when_to_ask_again(self, permits: Permits):
        self.asked(permits, Rate(1), 5)
        answer = permits.ask(NAMES, Rate(1))
        assert not answer.granted
        assert 0 < answer.wait_s <= 1 / 0.95

    def test_sources_clients_and_services_do_not_share(self, permits: Permits):
        self.asked(permits, Rate(0.01), 2)
        for other in (
            ("other", *NAMES[1:]),
            (NAMES[0], "2:eu-west-1", NAMES[2]),
            (*NAMES[:2], "iam"),
        ):
            assert permits.ask(other, Rate(0.01)).granted

    def test_during_a_pause_nothing_is_granted_and_the_longer_pause_counts(self, permits: Permits):
        permits.hold(NAMES, 600)
        permits.hold(NAMES, 5)
        for rate in (Rate(100), Rate(0)):
            answer = permits.ask(NAMES, rate)
            assert not answer.granted
            assert 590 < answer.wait_s <= 600

    def test_a_pause_is_for_one_client_and_service_only(self, permits: Permits):
        permits.hold(NAMES, 600)
        assert permits.ask(("src", "1:eu-west-1", "iam"), Rate(1)).granted

    def test_after_a_pause_calls_come_half_as_fast(self, permits: Permits):
        permits.hold(NAMES, 0)
        self.asked(permits, Rate(1), 5)
        answer = permits.ask(NAMES, Rate(1))
        assert not answer.granted
        # The slot after the first is two seconds away, less what may be looked ahead.
        assert 1.5 < answer.wait_s <= 2 / 0.95

    def test_many_throttled_callers_slow_the_rate_down_once(self, permits: Permits):
        for _ in range(20):
            permits.hold(NAMES, 0)
        self.asked(permits, Rate(1), 5)
        assert permits.ask(NAMES, Rate(1)).wait_s <= 2 / 0.95

    def test_without_a_rate_every_call_is_granted(self, permits: Permits):
        assert self.asked(permits, Rate(0), 500) == 500

    def test_many_threads_get_no_more_than_one_would(self, permits: Permits):
        rate, found = Rate(50, 2), []
        start = time.monotonic()
        threads = [
            threading.Thread(target=lambda: found.append(self.asked(permits, rate, 25)))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        passed = time.monotonic() - start
        assert sum(found) <= rate.burst + 0.95 * rate.per_s * (passed + AHEAD_S) + 1


class PlacesSuite:
    """Bound by a fixture `places`."""

    def test_so_many_places_are_given_and_no_more(self, places: Places):
        found = [places.take("src", 3) for _ in range(5)]
        assert len({p for p in found if p}) == 3
        assert found[3:] == [None, None]

    def test_a_place_that_was_given_back_is_free(self, places: Places):
        first = places.take("src", 1)
        assert first is not None
        assert places.take("src", 1) is None
        places.give_back("src", first)
        assert places.take("src", 1) is not None

    def test_sources_do_not_share_places(self, places: Places):
        assert places.take("a", 1)
        assert places.take("b", 1)

    def test_keeping_places_keeps_them(self, places: Places):
        assert places.take("src", 1)
        places.keep()
        assert places.take("src", 1) is None
