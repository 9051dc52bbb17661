"""When a worker that is up counts as not alive."""

from __future__ import annotations

from contracts.fleet.appetite import Appetite


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_an_idle_worker_of_an_empty_queue_is_fine_for_ever():
    clock = Clock()
    one = Appetite(300, clock)
    clock.now_s = 1e6
    assert one.look(taken=0, busy=False, waiting=0) == "fine"


def test_one_that_takes_nothing_though_something_waits_is_restless_now_and_then_and_then_dead():
    clock = Clock()
    one = Appetite(300, clock)
    told = []
    for second in range(0, 301, 10):
        clock.now_s = second
        told.append(one.look(taken=5, busy=False, waiting=3))
    assert told.count("restless") == 9
    assert told[:3] == ["fine"] * 3
    assert told[-1] == "dead"
    assert told.count("dead") == 1


def test_whoever_is_busy_or_has_taken_something_since_is_fine():
    clock = Clock()
    one = Appetite(300, clock)
    for taken, busy in ((1, False), (1, True), (2, False)):
        clock.now_s += 299
        assert one.look(taken=taken, busy=busy, waiting=9) == "fine"


def test_it_may_recover():
    clock = Clock()
    one = Appetite(300, clock)
    one.look(taken=1, busy=False, waiting=1)
    clock.now_s = 400
    assert one.look(taken=1, busy=False, waiting=1) == "dead"
    assert one.look(taken=2, busy=False, waiting=1) == "fine"
