"""`${time:EXPR|LAYOUT}`: points in time as CloudQuery writes them, laid out as Go lays them out.

EXPR is `now`, RFC 3339, a date, a Go duration (`-24h`) or English (`3 days ago`, `1 month from now`).
Months and years follow Go's calendar: 31 October + 1 month is 31 November, hence 1 December.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_GO_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
_GO_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_GO_WHOLE = re.compile(rf"([+-]?)((?:{_GO_PART.pattern})+|0)")
_ENGLISH = {
    "second": 1, "sec": 1, "minute": 60, "min": 60, "hour": 3600, "hr": 3600,
    "day": 86400, "week": 604800,
}  # fmt: skip
_CALENDAR = {"month": 1, "year": 12}
_WORDS = re.compile(r"(\d+)\s*([a-z]+?)s?(?=[\s,\d]|$)")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")

_LAYOUT = re.compile(
    r"January|Jan(?![a-z])|Monday|Mon(?![a-z])|MST|002|0[1-6]|15|1|_2006|2006|__2|_2|2|3|4|5|PM|pm"
    r"|-07:00:00|-070000|-07:00|-0700|-07|Z07:00:00|Z070000|Z07:00|Z0700|Z07"
    r"|[.,]0+(?!\d)|[.,]9+(?!\d)"
)
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def evaluate(expression: str, now: datetime) -> str:
    """The text that replaces `${time:expression}`. Raises ValueError if it is not understood."""
    moment, _, layout = expression.partition("|")
    try:
        at = parse(moment.strip(), now)
        return lay_out(at, layout) if layout else rfc3339(at)
    except OverflowError as error:
        message = f"the time '{moment.strip()}' is out of range; years go from 1 to 9999"
        raise ValueError(message) from error


def parse(text: str, now: datetime) -> datetime:
    """One point in time. Raises ValueError, or OverflowError outside the years 1 to 9999."""
    if text.lower() == "now":
        return now
    if _RFC3339.fullmatch(text):
        return datetime.fromisoformat(_microseconds(text.upper()))
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    if (seconds := go_duration(text)) is not None:
        return now + timedelta(seconds=seconds)
    if (moment := _relative(text, now)) is not None:
        return moment
    raise ValueError(
        f"not a point in time: '{text}'; write now, 2024-01-31, 2024-01-31T00:00:00Z, -24h or 3 days ago"
    )


def go_duration(text: str) -> float | None:
    """Seconds of a Go duration such as `1h30m`; None if it is none."""
    match = _GO_WHOLE.fullmatch(text)
    if not match:
        return None
    total = sum(float(n) * _GO_UNITS[unit] for n, unit in _GO_PART.findall(match[2]))
    return -total if match[1] == "-" else total


def _microseconds(text: str) -> str:
    """RFC 3339 allows any number of digits behind the point, Python six."""
    return re.sub(r"(\.\d{6})\d+", r"\1", text)


def _relative(text: str, now: datetime) -> datetime | None:
    match = re.fullmatch(r"(.+?)\s+(ago|from\s+now)", text.lower())
    if not match:
        return None
    sign = -1 if match[2] == "ago" else 1
    months, seconds, rest = 0, 0.0, match[1]
    for words in _WORDS.finditer(match[1]):
        count, unit = int(words[1]), words[2]
        if unit in _CALENDAR:
            months += count * _CALENDAR[unit]
        elif unit in _ENGLISH:
            seconds += count * _ENGLISH[unit]
        else:
            continue
        rest = rest.replace(words[0], " ", 1)
    for part in rest.replace(",", " ").split():
        if part == "and":
            continue
        if (duration := go_duration(part)) is None:
            return None
        seconds += duration
    return _add_months(now, sign * months) + timedelta(seconds=sign * seconds)


def _add_months(at: datetime, months: int) -> datetime:
    year, month = divmod(at.year * 12 + at.month - 1 + months, 12)
    if not 1 <= year <= 9999:
        raise OverflowError(year)
    return at.replace(year=year, month=month + 1, day=1) + timedelta(days=at.day - 1)


def rfc3339(at: datetime) -> str:
    return lay_out(at, "2006-01-02T15:04:05Z07:00")


def lay_out(at: datetime, layout: str) -> str:
    """Format a time by a Go reference layout (`2006-01-02 15:04:05`)."""
    return _LAYOUT.sub(lambda match: _field(at, match[0]), layout)


def _field(at: datetime, name: str) -> str:
    hour = at.hour % 12 or 12
    fields = {
        "2006": f"{at.year:04d}", "_2006": f"_{at.year:04d}", "06": f"{at.year % 100:02d}",
        "01": f"{at.month:02d}", "1": str(at.month),
        "Jan": _MONTHS[at.month - 1][:3], "January": _MONTHS[at.month - 1],
        "Mon": _DAYS[at.weekday()][:3], "Monday": _DAYS[at.weekday()],
        "02": f"{at.day:02d}", "_2": f"{at.day:2d}", "2": str(at.day),
        "002": f"{at.timetuple().tm_yday:03d}", "__2": f"{at.timetuple().tm_yday:3d}",
        "15": f"{at.hour:02d}", "03": f"{hour:02d}", "3": str(hour),
        "04": f"{at.minute:02d}", "4": str(at.minute),
        "05": f"{at.second:02d}", "5": str(at.second),
        "PM": "PM" if at.hour >= 12 else "AM", "pm": "pm" if at.hour >= 12 else "am",
        "MST": at.tzname() or "UTC",
    }  # fmt: skip
    if name in fields:
        return fields[name]
    return _fraction(at, name) if name[0] in ".," else _zone(at, name)


def _fraction(at: datetime, name: str) -> str:
    digits = f"{at.microsecond:06d}000"[: len(name) - 1].ljust(len(name) - 1, "0")
    if name[1] == "0":
        return name[0] + digits
    digits = digits.rstrip("0")
    return name[0] + digits if digits else ""


def _zone(at: datetime, name: str) -> str:
    offset = at.utcoffset() or timedelta()
    if name[0] == "Z" and not offset:
        return "Z"
    seconds = int(offset.total_seconds())
    sign, seconds = ("-", -seconds) if seconds < 0 else ("+", seconds)
    parts = [f"{seconds // 3600:02d}", f"{seconds // 60 % 60:02d}", f"{seconds % 60:02d}"]
    colon = ":" if ":" in name else ""
    count = {3: 1, 5: 2, 6: 2, 7: 3, 9: 3}[len(name)]
    return sign + colon.join(parts[:count])
