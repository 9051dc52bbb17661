"""The rule by which a soak is judged."""

from __future__ import annotations

import pytest

from tests.chaos.steady import ALLOWED, MIB, judge, paced, table


def series(*values: float) -> list[tuple[float, float]]:
    return [(10.0 * n, v) for n, v in enumerate(values)]


def test_what_stays_or_wavers_is_flat() -> None:
    assert not judge("loader, parent fds", series(*[7] * 30)).grows
    assert not judge("loader, parent fds", series(*[7, 9, 8] * 10)).grows


def test_a_slow_leak_grows() -> None:
    assert judge("loader, parent fds", series(*[7 + n // 5 for n in range(40)])).grows
    leak = [(100 + n * 0.5) * MIB for n in range(60)]
    assert judge("worker 1, children rss", series(*leak)).grows


def test_one_bad_moment_is_no_leak() -> None:
    assert not judge("stage objects", series(*[50] * 29, 5000)).grows
    assert not judge("stage objects", series(*[50] * 25, 90, 90, 90, 50, 50)).grows


def test_an_allocator_that_settles_is_no_leak() -> None:
    settling = [(100 + 4 * min(n, 5) / 5) * MIB for n in range(60)]
    assert not judge("worker 1, parent rss", series(*settling)).grows


def test_growing_less_is_no_growth() -> None:
    assert not judge("Redis keys", series(*range(60, 0, -1))).grows


def test_a_landing_table_that_stays_is_one_too_many() -> None:
    assert judge("PostgreSQL landings", series(*range(30))).grows
    assert not judge("PostgreSQL landings", series(*[0] * 30)).grows


def test_runs_that_are_slow_with_all_else_on_the_machine_do_not_grow() -> None:
    busy = series(*[8.0] * 15, *[15.0] * 15)
    assert judge("a run's seconds", busy).grows
    assert not judge("a run's seconds", paced(busy, series(*[1.0] * 15, *[1.9] * 15))).grows


def test_runs_that_grow_on_a_machine_that_stays_or_gets_quicker_grow() -> None:
    growing = series(*[8.0 + n / 5 for n in range(30)])
    for fixed in ([1.0] * 30, [3.0] * 15 + [1.0] * 15, [1.0, 1.2, 0.9] * 10):
        assert judge("a run's seconds", paced(growing, series(*fixed))).grows


def test_runs_do_not_grow_on_a_machine_that_gets_quicker() -> None:
    falling = series(*[15.0] * 15, *[8.0] * 15)
    assert not judge("a run's seconds", paced(falling, series(*[2.0] * 15, *[1.0] * 15))).grows


def test_too_few_looks_say_nothing() -> None:
    with pytest.raises(ValueError, match="at least 9"):
        judge("Redis keys", series(1, 2, 3))


def test_the_table_has_a_line_for_each_series() -> None:
    shown = table([judge(f"x {name}", series(*range(0, 90 * MIB, MIB))) for name in ALLOWED])
    assert shown.count("GROWS") == len(ALLOWED)
    assert "MiB" in shown
