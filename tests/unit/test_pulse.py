"""The heartbeat: it beats, learns of cancelling, and survives a broker that is away."""

from __future__ import annotations

import logging
import threading

from contracts.errors import Unreachable
from worker.pulse import Pulse

FAST_S = 0.001


class Heart:
    """Fails as often as it is told to, and says when it has beaten often enough."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.beats: list[tuple[str, str, str]] = []
        self.stopped: list[tuple[str, str]] = []
        self.enough = threading.Event()

    def beat(self, run: str, job: str, attempt: str) -> None:
        self.beats.append((run, job, attempt))
        if len(self.beats) > 5:
            self.enough.set()
        if 1 < len(self.beats) <= 1 + self.failures:
            raise Unreachable("no broker")

    def fresh(self, run: str, job: str) -> bool:
        return False

    def stop(self, run: str, job: str) -> None:
        self.stopped.append((run, job))


def pulse(heart: Heart, cancelled: bool = False) -> Pulse:
    return Pulse(heart, run="r", job="s", attempt="a", cancelled=lambda: cancelled, beat_s=FAST_S)


def test_it_beats_until_the_attempt_ends():
    heart = Heart()
    with pulse(heart) as beating:
        assert heart.enough.wait(30)
        assert not beating.cancelled()
    assert set(heart.beats) == {("r", "s", "a")}
    assert heart.stopped == [("r", "s")]


def test_it_learns_that_the_run_was_cancelled():
    heart = Heart()
    with pulse(heart, cancelled=True) as beating:
        assert heart.enough.wait(30)
        assert beating.cancelled()


def test_a_broker_that_is_away_does_not_end_the_attempt(caplog):
    heart = Heart(failures=3)
    with caplog.at_level(logging.INFO), pulse(heart):
        assert heart.enough.wait(30)
    assert caplog.text.count("event=heartbeat_failed") == 3
