"""How a plugin ended, in words, and how long one waits for it."""

from __future__ import annotations

import itertools
import threading

import pytest

from contracts.errors import Permanent, SharderError, Transient
from contracts.plugin.ended import post_mortem
from contracts.plugin.kept import End
from contracts.plugin.limits import Patience
from contracts.plugin.tally import Tally


@pytest.mark.parametrize("code", [-9, 137])
def test_a_killed_program_was_out_of_memory_or_killed(code):
    error = post_mortem("source 'x'", End(code), "", kills=1)
    assert error.reason == "memory"
    assert isinstance(error, Transient)
    assert "out of memory or killed" in str(error)
    assert "the kernel has ended 1 processes" in str(error)


def test_a_program_over_its_limit_is_told_with_both_figures():
    error = post_mortem("source 'x'", End(-9, "memory", 700 << 20), "", limit=512 << 20)
    assert error.reason == "memory"
    assert "700 MiB" in error.message
    assert "512 MiB" in error.message
    assert "plugins.NAME.memory" in error.hint


def test_another_end_tells_the_exit_code_and_what_was_said_last():
    error = post_mortem("source 'x'", End(3), "one\ntwo")
    assert error.reason == "failed"
    assert isinstance(error, Transient)
    assert error.message.endswith("(exit code 3); it said last:\n    one\n    two")
    assert "SIGSEGV" in post_mortem("source 'x'", End(-11), "").message
    assert "signal 200" in post_mortem("source 'x'", End(-200), "").message


def test_a_program_that_ends_before_it_answers_does_so_again():
    error = post_mortem("source 'x'", End(2), "usage: …", answered=False)
    assert isinstance(error, Permanent)
    assert "before it answered (exit code 2)" in error.message


class Quiet:
    """A program of which nothing is heard."""

    def __init__(self) -> None:
        self.log = Tally(clock=lambda: 0.0)
        self.why: SharderError | None = None
        self.ended = threading.Event()

    def give_up(self, why: SharderError) -> None:
        self.why = why
        self.ended.set()


class TestPatience:
    def test_a_program_that_says_nothing_is_ended(self):
        program, cancelled = Quiet(), threading.Event()
        ticks = itertools.count()
        patience = Patience(program, 0.01, cancelled.set, "source 'x'", lambda: float(next(ticks)))

        def messages():
            assert program.ended.wait(10)
            yield 1

        with patience:
            assert list(patience.over(messages())) == [1]
        assert cancelled.wait(10)
        assert program.why
        assert program.why.reason == "timeout"
        assert "idle_timeout" in program.why.hint

    def test_nobody_waits_while_we_are_the_slow_ones(self):
        now = [0.0]
        patience = Patience(Quiet(), 5.0, clock=lambda: now[0])
        for _ in patience.over([1, 2]):
            now[0] += 100
            assert patience.silent_s() == 0.0

    def test_a_line_of_the_log_is_a_sign_of_life(self):
        now = [0.0]
        program = Quiet()
        patience = Patience(program, 5.0, clock=lambda: now[0])

        def messages():
            now[0] = 20.0
            assert patience.silent_s() == 20.0
            program.log.last_s = 18.0
            assert patience.silent_s() == 2.0
            yield 1

        assert list(patience.over(messages())) == [1]
