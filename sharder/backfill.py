"""The intervals of a backfill: where each begins and ends, what its run is called, what the spec must say.

Pure: texts and times come in. `START..END` is cut into intervals of `--every`, counted from START; a
spec is read with `now` at the end of an interval, so that `${time:1 day ago}` is the start of a day's.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from contracts.documents import Document
from contracts.errors import InputError
from contracts.spec import seconds
from contracts.specfile import times

MOST = 100_000  # intervals; more of them are a mistyped date
_ABSOLUTE = re.compile(r"\d{4}-\d\d")
_TIME = re.compile(r"\$\{time:([^}|]*)[^}]*\}")
# Days begin at midnight, weeks on Mondays, hours at the full hour: this was all of them.
_ORIGIN = datetime(1970, 1, 5, tzinfo=UTC)


class Backfilled(Document):
    """backfills/<name>/<interval>.json: the interval is loaded, whether or not its run is still on the stage."""

    kind: ClassVar[str] = "backfill"

    run: str
    start: datetime
    end: datetime
    done: datetime


@dataclass(frozen=True)
class Every:
    """The length of an interval: seconds, or calendar months."""

    seconds: float = 0.0
    months: int = 0

    def after(self, start: datetime, count: int) -> datetime:
        """The beginning of interval number `count`, where `start` is that of number 0."""
        if self.months:
            year, month = divmod(start.year * 12 + start.month - 1 + count * self.months, 12)
            return start.replace(year=year, month=month + 1)
        return start + timedelta(seconds=count * self.seconds)

    def floor(self, at: datetime) -> datetime:
        """The last time not after `at` at which intervals begin, if they are counted from midnight."""
        if self.months:
            number = (at.year * 12 + at.month - 1) // self.months * self.months
            return datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)
        whole = (at - _ORIGIN).total_seconds() // self.seconds
        return _ORIGIN + timedelta(seconds=whole * self.seconds)


@dataclass(frozen=True)
class Interval:
    """From `start` (included) to `end` (not included)."""

    start: datetime
    end: datetime

    @property
    def name(self) -> str:
        """`20260101-20260102`; the same text is part of the run's id."""
        return f"{_compact(self.start)}-{_compact(self.end)}"

    def __str__(self) -> str:
        return f"{_plain(self.start)} … {_plain(self.end)}"


def every(text: str) -> Every:
    """`1d`, `6h`, `1h30m`, `1mo`. Raises InputError."""
    if match := re.fullmatch(r"([1-9]\d{0,3})mo", text.strip()):
        return Every(months=int(match[1]))
    try:
        length = seconds(text)
    except ValueError as error:
        raise InputError(f"--every: {error}", "or 1mo for calendar months") from error
    if length < 1:
        raise InputError(f"--every {text}: an interval takes a second at least")
    return Every(seconds=length)


def intervals(text: str, length: Every, now: datetime) -> tuple[Interval, ...]:
    """The intervals of `START..END`, oldest first; the last one is cut at END. Raises InputError.

    Dates and RFC 3339 times are taken as they are. Times that move with the clock (`30 days ago`, `now`)
    are rounded down to where intervals begin, so that the same command tomorrow means the same intervals.
    """
    first, dots, last = text.partition("..")
    if not dots or not first.strip() or not last.strip():
        raise InputError(
            f"--backfill {text}: not of the form START..END",
            "write for example 2026-01-01..2026-02-01, or '30 days ago..now'",
        )
    start, end = _point(first, length, now), _point(last, length, now)
    if start >= end:
        raise InputError(
            f"--backfill {text}: there is no interval between {_plain(start)} and {_plain(end)}",
            "START must lie before END, by one --every at least where they move with the clock",
        )
    if length.months and start.day > 28:
        raise InputError(
            f"--backfill {text}: not every month has a day {start.day}",
            "with --every 1mo begin on one of the first 28 days of a month",
        )
    found: list[Interval] = []
    while (begin := length.after(start, len(found))) < end:
        if len(found) == MOST:
            raise InputError(f"--backfill {text}: these are more than {MOST:,} intervals", "take a longer --every")  # fmt: skip
        found.append(Interval(begin, min(length.after(start, len(found) + 1), end)))
    return tuple(found)


def _point(text: str, length: Every, now: datetime) -> datetime:
    try:
        at = times.parse(text.strip(), now).astimezone(UTC).replace(microsecond=0)
        return at if _ABSOLUTE.match(text.strip()) else length.floor(at)
    except (ValueError, OverflowError) as error:
        raise InputError(f"--backfill: {error}") from error


def default_name(texts: Iterable[str]) -> str:
    """The name of a backfill that the user did not name: the same as long as the spec's texts are."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(hashlib.sha256(text.encode()).digest())
    return f"backfill-{digest.hexdigest()[:10]}"


def window(text: str, interval: Interval) -> datetime | None:
    """The earliest time of a source's text that moves with `now`: where what it reads begins.

    None if no `${time:…}` of it moves: then every interval would read the same.
    """
    later = interval.end + timedelta(days=400)  # beyond every month and leap year
    found = []
    for match in _TIME.finditer(text):
        at = times.parse(match[1].strip(), interval.end)
        if at != times.parse(match[1].strip(), later):
            found.append(at)
    return min(found, default=None)


def outline(found: Sequence[Interval], done: frozenset[str]) -> Iterator[str]:
    """The intervals as a list that fits a screen."""
    shown = list(found) if len(found) <= 40 else [*found[:20], *found[-3:]]
    for n, interval in enumerate(shown):
        if len(found) > len(shown) and n == 20:
            yield f"  … {len(found) - len(shown):,} more …"
        yield f"  {interval}{'  (done)' if interval.name in done else ''}"


def _compact(at: datetime) -> str:
    if (at.hour, at.minute, at.second) == (0, 0, 0):
        return f"{at:%Y%m%d}"
    return f"{at:%Y%m%dT%H%M%S}" if at.second else f"{at:%Y%m%dT%H%M}"


def _plain(at: datetime) -> str:
    if (at.hour, at.minute, at.second) == (0, 0, 0):
        return f"{at:%Y-%m-%d}"
    return f"{at:%Y-%m-%d %H:%M:%S}"
