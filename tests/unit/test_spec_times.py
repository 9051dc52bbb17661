"""Points in time as CloudQuery writes them, in layouts as Go writes them."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.specfile.times import evaluate, go_duration, lay_out, parse

NOW = datetime(2026, 3, 31, 15, 4, 5, 120000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("now", "2026-03-31T15:04:05Z"),
        (" NOW ", "2026-03-31T15:04:05Z"),
        ("2024-02-29", "2024-02-29T00:00:00Z"),
        ("2024-02-29T10:20:30Z", "2024-02-29T10:20:30Z"),
        ("2024-02-29T10:20:30.123456789+02:00", "2024-02-29T10:20:30+02:00"),
        ("-24h", "2026-03-30T15:04:05Z"),
        ("1h30m", "2026-03-31T16:34:05Z"),
        ("+1.5h", "2026-03-31T16:34:05Z"),
        ("0", "2026-03-31T15:04:05Z"),
        ("3 days ago", "2026-03-28T15:04:05Z"),
        ("1 week from now", "2026-04-07T15:04:05Z"),
        ("2 hours, 5 minutes and 6 seconds ago", "2026-03-31T12:58:59Z"),
        ("10 months 3 days 4h20m from now", "2027-02-03T19:24:05Z"),
        ("1 month ago", "2026-03-03T15:04:05Z"),  # 31 February is 3 March, as in Go
        ("1 year ago", "2025-03-31T15:04:05Z"),
        ("now|2006-01-02", "2026-03-31"),
        ("now|20060102T150405", "20260331T150405"),
        ("3 days ago|Mon, 02 Jan 2006", "Sat, 28 Mar 2026"),
    ],
)
def test_expressions(expression, expected):
    assert evaluate(expression, NOW) == expected


@pytest.mark.parametrize(
    "expression",
    ["", "yesterday", "3 fortnights ago", "3 days", "2024-13-01", "2024-02-30T00:00:00Z", "ago", "1x",
     "99999999999999 years ago", "9999999999999999h", "-99999h99999h9999999999h", "1e3h"],
)  # fmt: skip
def test_anything_else_is_an_error(expression):
    with pytest.raises(ValueError, match=r"."):
        evaluate(expression, NOW)


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("Monday January 2 2006", "Tuesday March 31 2026"),
        ("Mon Jan _2 06 __2 002", "Tue Mar 31 26  90 090"),
        ("1/2 3:4:5 PM pm", "3/31 3:4:5 PM pm"),
        ("03:04:05.000 .00 .999999 ,000000000", "03:04:05.120 .12 .12 ,120000000"),
        ("15h", "15h"),
        ("_2006 Month Janet Mona", "_2026 Month Janet Mona"),
        ("MST Z07:00 -07:00 Z0700 -0700 Z07 -07", "UTC Z +00:00 Z +0000 Z +00"),
        ("plain text", "plain text"),
    ],
)
def test_layouts(layout, expected):
    assert lay_out(NOW, layout) == expected


def test_zones_keep_their_offset():
    at = NOW.astimezone(timezone(-timedelta(hours=3, minutes=30)))
    assert lay_out(at, "15:04 Z07:00 -0700 -07 Z07:00:00 -070000") == (
        "11:34 -03:30 -0330 -03 -03:30:00 -033000"
    )


@pytest.mark.parametrize(("text", "seconds"), [("1h", 3600), ("-1m", -60), ("1.5s", 1.5), ("250ms", 0.25), (".5h", 1800), ("1us", 1e-6), ("1d", None), ("", None), ("h", None)])  # fmt: skip
def test_go_durations(text, seconds):
    assert go_duration(text) == seconds


@given(at=st.datetimes(timezones=st.just(UTC), min_value=NOW.replace(year=1000, tzinfo=None)))
def test_a_whole_layout_reads_back(at):
    text = lay_out(at, "2006-01-02T15:04:05.000000Z07:00")
    assert parse(text, NOW) == at


@given(text=st.text(alphabet="0123456789 aceghmnorsuwy-+.:TZ|", max_size=30))
def test_any_text_is_a_time_or_a_value_error(text):
    with suppress(ValueError):
        evaluate(text, NOW)
