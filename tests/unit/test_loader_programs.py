"""A call to a program that has gone quiet is given up; one that moves, or whose program says something, is not."""

from __future__ import annotations

import threading

import pytest

from contracts.errors import SharderError, Transient, Unreachable
from contracts.spec import Destination, PluginSettings
from loader.programs import Running, Wanted, Watch

LIMIT_S = 100.0


class Clock:
    """Each look at it is `step` later than the one before."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def test_silence_beyond_the_limit_cancels_the_call():
    cancelled = threading.Event()
    with Watch(cancelled.set, lambda: 0.0, 0.001, Clock(1.0)) as watch:
        assert cancelled.wait(30)
    assert watch.fired


def test_a_line_of_the_log_is_a_sign_of_life():
    clock, looks = Clock(0.0), threading.Semaphore(0)

    def heard() -> float:
        looks.release()
        return clock.now

    with Watch(lambda: pytest.fail("it was cancelled"), heard, 0.001, clock) as watch:
        for n in range(3):
            clock.now = float(n)
            assert looks.acquire(timeout=30)
    assert not watch.fired


def test_a_block_that_ends_in_time_ends_the_watch():
    with Watch(lambda: pytest.fail("it was cancelled"), lambda: 0.0, LIMIT_S) as watch:
        watch.moved()
    assert not watch.fired


def test_a_program_that_was_never_asked_is_closed_without_having_been_started():
    model = Destination.model_validate(
        {"name": "d", "path": "/no/such/program", "registry": "local"}
    )
    running = Running(Wanted(model, PluginSettings()), lambda _: pytest.fail("it was started"))
    running.finish()
    running.close()


def test_a_program_that_is_not_there_is_told_with_its_path():
    model = Destination.model_validate(
        {"name": "d", "path": "/no/such/program", "registry": "local"}
    )
    running = Running(Wanted(model, PluginSettings()), lambda _: None)
    with pytest.raises(SharderError, match="/no/such/program") as caught, running.call():
        pytest.fail("it was called")
    assert not isinstance(caught.value, Transient | Unreachable)
