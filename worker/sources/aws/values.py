"""What a source text of the lock yields for a row, and the transforms that may follow it.

A row is the dict that botocore parsed (or two of them joined); values that come from elsewhere stand
in the row under keys that no member can have: `.` the listed item, `+column` an extra call's answer,
`^column` a column of the parent row, `@account`, `@region`, `@partition` whom we asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import orjson

Row = Mapping[str, Any]
Getter = Callable[[Row], Any]

_HOLE = re.compile(r"\{([^}]+)\}")
_REASON_TIME = re.compile(r"\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) GMT\)")
_TAG_KEYS = (("Key", "Value"), ("key", "value"), ("TagKey", "TagValue"))
# What the CSV of a credential report, and attribute maps, write for "there is none".
NOTHING = frozenset({"", "N/A", "no_information", "not_supported"})


def getter(source: str, transform: str = "") -> Getter:
    """The function that finds a source's value in a row, None if it is absent."""
    source, _, inner = source.partition("|") if not source.startswith("arn:") else (source, "", "")
    get = _plain(source)
    for step in filter(None, (inner, transform)):
        get = _then(get, step)
    return get


def below(value: Any, path: str) -> Any:
    """The value at a dotted path; elements of lists on the way (`List[]`) are collected in order."""
    for part in filter(None, path.split(".")):
        name = part.removesuffix("[]")
        if isinstance(value, list):
            value = [v[name] for v in value if v.get(name) is not None]
        else:
            value = value.get(name) if value is not None else None
        if part.endswith("[]"):
            value = value if value is not None else []
            if value and isinstance(value[0], list):
                value = [inner for outer in value for inner in outer]
    return value


def _plain(source: str) -> Getter:
    if source.startswith("arn:"):
        return _arn(source)
    if source == "." or source[0] in "+^@" or "." not in source:
        return lambda row: row.get(source)
    first, _, rest = source.partition(".")
    return lambda row: below(row.get(first), rest)


def _arn(template: str) -> Getter:
    """`arn:ec2:{@region}:{@account}:instance/{InstanceId}`, the partition put in; None if a part is absent."""
    parts = _HOLE.split(template.removeprefix("arn:"))
    getters = [getter(p) if n % 2 else None for n, p in enumerate(parts)]

    def get(row: Row) -> str | None:
        values = [g(row) if g else p for g, p in zip(getters, parts, strict=True)]
        if None in values:
            return None
        return f"arn:{row['@partition']}:{''.join(map(str, values))}"

    return get


def _then(get: Getter, step: str) -> Getter:
    name, _, argument = step.partition(" ")
    change = TRANSFORMS[name]
    # A missing region constraint is a region; for all other transforms absent stays absent.
    if name == "bucket_region":
        return lambda row: change(get(row), argument)
    return lambda row: None if (value := get(row)) is None else change(value, argument)


def _tags(value: Any, _: str) -> dict[str, str] | None:
    """Tags of any form as one mapping, sorted, as CloudQuery has them."""
    if isinstance(value, dict):
        return dict(sorted(value.items()))
    pairs = {}
    for tag in value:
        key, text = next(((k, v) for k, v in _TAG_KEYS if k in tag), _TAG_KEYS[0])
        pairs[tag[key]] = tag.get(text, "")
    return dict(sorted(pairs.items()))


def _json(value: Any, _: str) -> Any:
    """Text that should be JSON; text that is not stays text, which is JSON too."""
    if not isinstance(value, str):
        return value
    if not value:
        return None
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value


def _urljson(value: Any, argument: str) -> Any:
    return _json(unquote(value) if isinstance(value, str) else value, argument)


def timestamp(value: Any) -> datetime | None:
    """AWS's many times (ISO text, RFC 822 text, seconds as number or text) as UTC."""
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    if value in NOTHING:
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        from botocore.utils import parse_timestamp

        found = parse_timestamp(value)
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def _ts(value: Any, _: str) -> datetime | None:
    try:
        return timestamp(value)
    except ValueError:
        return None


def _reason_time(value: str, _: str) -> datetime | None:
    """`User initiated (2024-01-31 10:00:00 GMT)`: the only place where EC2 says when an instance stopped."""
    found = _REASON_TIME.search(value)
    return datetime.fromisoformat(found[1]).replace(tzinfo=UTC) if found else None


def _bucket_region(value: str | None, _: str) -> str:
    """S3 names its first region by nothing, and its second by `EU` in old buckets."""
    return {None: "us-east-1", "": "us-east-1", "EU": "eu-west-1"}.get(value, value or "us-east-1")


def _int(value: Any, _: str) -> int | None:
    if value in NOTHING:
        return None
    try:
        return int(value)
    except ValueError:  # seconds with a fraction
        return int(float(value))


def _bool(value: Any, _: str) -> bool | None:
    return {"true": True, "false": False}.get(str(value).lower())


def _float(value: Any, _: str) -> float | None:
    return None if value in NOTHING else float(value)


def _trim(value: str, prefix: str) -> str:
    return value.removeprefix(prefix)


def _part(value: str, argument: str) -> str | None:
    """`part : 6`: the seventh part of a text that is cut at colons."""
    separator, number = argument.split(" ")
    parts = value.split(separator)
    return parts[int(number)] if int(number) < len(parts) else None


TRANSFORMS: Mapping[str, Callable[[Any, str], Any]] = {
    "tags": _tags,
    "json": _json,
    "urljson": _urljson,
    "ts": _ts,
    "int": _int,
    "bool": _bool,
    "float": _float,
    "reason_time": _reason_time,
    "bucket_region": _bucket_region,
    "trim": _trim,
    "part": _part,
}
