"""How a plugin ended, in words."""

from __future__ import annotations

import pytest

from contracts.errors import Permanent, Transient
from contracts.plugin.ended import post_mortem
from contracts.plugin.kept import End


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
