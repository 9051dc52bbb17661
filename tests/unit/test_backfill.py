"""Backfills: which intervals, under which names, and which specs are refused because rows would be lost or doubled."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InputError
from contracts.specfile import load
from sharder.backfill import (
    Every,
    Interval,
    default_name,
    every,
    intervals,
    outline,
    window,
)
from sharder.backfilling import check
from tests.fakes.said import Said

NOW = datetime(2026, 3, 5, 14, 30, 12, 345, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def cut(text: str, length: str = "1d") -> list[tuple[str, str]]:
    return [
        (i.start.isoformat()[:16], i.end.isoformat()[:16])
        for i in intervals(text, every(length), NOW)
    ]


def test_dates_are_cut_into_days_oldest_first():
    assert cut("2026-01-01..2026-01-03") == [
        ("2026-01-01T00:00", "2026-01-02T00:00"),
        ("2026-01-02T00:00", "2026-01-03T00:00"),
    ]


def test_the_last_interval_is_cut_at_the_end():
    assert cut("2026-01-01..2026-01-02T06:00:00Z")[-1] == ("2026-01-02T00:00", "2026-01-02T06:00")


def test_times_with_a_zone_are_utc():
    assert cut("2026-01-01T01:00:00+01:00..2026-01-02") == [("2026-01-01T00:00", "2026-01-02T00:00")]  # fmt: skip


def test_months_follow_the_calendar():
    assert cut("2025-12-01..2026-03-01", "1mo") == [
        ("2025-12-01T00:00", "2026-01-01T00:00"),
        ("2026-01-01T00:00", "2026-02-01T00:00"),
        ("2026-02-01T00:00", "2026-03-01T00:00"),
    ]


@pytest.mark.parametrize(
    ("text", "length", "first", "last"),
    [
        ("3 days ago..now", "1d", "2026-03-02T00:00", "2026-03-05T00:00"),
        ("-6h..now", "1h", "2026-03-05T08:00", "2026-03-05T14:00"),
        ("2 weeks ago..now", "7d", "2026-02-16T00:00", "2026-03-02T00:00"),  # Mondays
        ("2 months ago..now", "1mo", "2026-01-01T00:00", "2026-03-01T00:00"),
        ("2026-03-04..now", "1d", "2026-03-04T00:00", "2026-03-05T00:00"),
    ],
)
def test_times_that_move_are_rounded_down_to_where_intervals_begin(text, length, first, last):
    found = cut(text, length)
    assert (found[0][0], found[-1][1]) == (first, last)


def test_the_same_command_an_hour_later_means_the_same_intervals():
    later = intervals("3 days ago..now", every("1d"), NOW + timedelta(hours=1))
    assert later == intervals("3 days ago..now", every("1d"), NOW)


@given(
    st.integers(1, 10**6), st.integers(1, 200), st.integers(1, 10**4),
)  # fmt: skip
def test_intervals_leave_no_gap_and_never_overlap(first_s: int, count: int, length_s: int):
    start = at("2026-01-01") + timedelta(seconds=first_s)
    end = start + timedelta(seconds=count * length_s // 2 + 1)
    text = f"{start.isoformat()}..{end.isoformat()}"
    found = intervals(text, Every(seconds=length_s), NOW)
    assert (found[0].start, found[-1].end) == (start, end)
    assert all(a.end == b.start for a, b in pairwise(found))
    assert len({i.name for i in found}) == len(found)


@pytest.mark.parametrize(
    ("text", "length", "what"),
    [
        ("2026-01-01", "1d", "not of the form START..END"),
        ("..now", "1d", "not of the form START..END"),
        ("yesterday..now", "1d", "not a point in time: 'yesterday'"),
        ("2026-01-02..2026-01-01", "1d", "no interval between 2026-01-02 and 2026-01-01"),
        ("-2h..now", "1d", "no interval between"),
        ("2026-01-31..2026-03-01", "1mo", "not every month has a day 31"),
        ("1900-01-01..now", "1m", "more than 100,000 intervals"),
        ("2026-01-01..now", "soon", "not a duration"),
        ("2026-01-01..now", "0s", "a second at least"),
        ("2026-01-01..now", "0mo", "not a duration"),
    ],
)
def test_what_is_no_backfill_is_told_with_what_to_write(text, length, what):
    with pytest.raises(InputError, match=what):
        intervals(text, every(length), NOW)


def test_an_interval_names_its_run():
    day = Interval(at("2026-01-01"), at("2026-01-02"))
    assert (day.name, str(day)) == ("20260101-20260102", "2026-01-01 … 2026-01-02")
    assert Interval(at("2026-01-01T06:00"), at("2026-01-01T06:00:05")).name == (
        "20260101T0600-20260101T060005"
    )


def test_the_name_of_a_backfill_is_that_of_its_texts():
    assert default_name(["a", "b"]) == default_name(["a", "b"])
    assert len({default_name(t) for t in (["a", "b"], ["ab"], ["b", "a"], ["a", "c"])}) == 4


def test_a_long_list_of_intervals_fits_a_screen():
    found = intervals("2026-01-01..2026-12-31", every("1d"), NOW)
    lines = list(outline(found, frozenset({found[0].name})))
    assert lines[0].endswith("(done)")
    assert lines[20] == "  … 341 more …"
    assert len(lines) == 24
    assert len(list(outline(found[:3], frozenset()))) == 3


# Windows

DAY = Interval(at("2026-01-01"), at("2026-01-02"))


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("a >= '${time:1 day ago}' and a < '${time:now}'", "2026-01-01"),
        ("a >= '${time:1 day ago|2006-01-02}'", "2026-01-01"),
        ("${time:-24h}", "2026-01-01"),
        ("${time:7 days ago} ${time:1 day ago}", "2025-12-26"),
        ("${time:now}", "2026-01-02"),
    ],
)
def test_what_a_source_reads_begins_at_the_earliest_time_that_moves(text, begins):
    assert window(text, DAY) == at(begins)


@pytest.mark.parametrize("text", ["", "${time:2026-01-01}", "${HOME} ${file:x}"])
def test_a_text_whose_times_stand_still_has_no_window(text):
    assert window(text, DAY) is None


SPEC = """\
kind: source
spec:
  name: s
  path: cloudquery/sql
  tables: ["*"]
  destinations: [d]
  spec:
    query: "{query}"
---
kind: destination
spec:
  name: d
  path: cloudquery/duckdb
  write_mode: {mode}
  spec: {{connection_string: w.duckdb}}
"""


def checked(tmp_path: Path, query: str, mode: str, span: str, length: str = "1d") -> list[str]:
    """The warnings about a spec with such a window."""
    path = tmp_path / "spec.yml"
    path.write_text(SPEC.format(query=query, mode=mode))
    found = intervals(span, every(length), NOW)
    loaded = load([path], {}, found[-1].end)
    report = Said()
    check(loaded, [path], (), found, every(length), length, report)
    return report.said


MONTH = "2026-01-01..2026-02-01"


def test_a_window_as_long_as_the_interval_is_fine(tmp_path):
    assert checked(tmp_path, "${time:1 day ago} ${time:now}", "overwrite", MONTH) == []
    assert checked(tmp_path, "${time:1 day ago} ${time:now}", "append", MONTH) == []
    assert checked(tmp_path, "${time:1 month ago}", "append", MONTH, "1mo") == []


def test_a_spec_that_would_read_the_same_every_time_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"every interval would read the same") as caught:
        checked(tmp_path, "select 1  # ${time:1 day ago}".replace("#", "--"), "overwrite", "2026-01-01..2026-01-02") or checked(tmp_path, "select 1", "overwrite", MONTH)  # fmt: skip
    assert "${time:1 day ago}" in str(caught.value)
    assert "spec.yml:" in str(caught.value)


def test_a_destination_that_deletes_is_refused(tmp_path):
    with pytest.raises(InputError, match="write_mode: overwrite"):
        checked(tmp_path, "${time:1 day ago}", "overwrite-delete-stale", MONTH)


def test_a_window_of_another_length_is_a_warning(tmp_path):
    (warning,) = checked(tmp_path, "${time:7 days ago}", "overwrite", MONTH)
    assert "reads from 2025-12-26 00:00:00" in warning
    assert "${time:1 day ago}" in warning


def test_rows_that_would_be_appended_twice_are_refused(tmp_path):
    with pytest.raises(InputError, match="in 'd' twice"):
        checked(tmp_path, "${time:7 days ago}", "append", MONTH)
    with pytest.raises(InputError, match="in 'd' twice"):
        checked(tmp_path, "${time:1 day ago}", "append", "2026-01-01..2026-01-02T12:00:00Z")


def test_the_hint_says_the_interval_in_the_words_of_the_spec(tmp_path):
    for length, words in (("6h", "-6h"), ("2d", "2 days ago"), ("1mo", "1 month ago")):
        (warning,) = checked(tmp_path, "${time:90 days ago}", "overwrite", MONTH, length)
        assert f"${{time:{words}}}" in warning
