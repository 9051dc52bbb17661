r"""Paths into JSON: `a.b.0.c`; `#` is every element of a list, `\` takes the next character as it is.

The path syntax is CloudQuery's. Unlike there, `#` treats each element on its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

Json = Any  # what orjson makes of a text
_LONG_NUMBER = re.compile(rb"\d{19}")


@dataclass(frozen=True)
class Each:
    """Every element of a list."""


@dataclass(frozen=True)
class Gone:
    """In place of a value that is to be removed."""


EACH, GONE = Each(), Gone()
Step = str | Each
Path = tuple[Step, ...]
Kept = dict[Step, "Kept"] | Literal["whole"]  # a tree of paths


def split(text: str) -> list[Step]:
    r"""`a.b\.c.#` → ["a", "b.c", EACH]. Raises ValueError for an empty step."""
    steps: list[Step] = []
    piece, escaped, at = "", False, 0
    while at <= len(text):
        if at == len(text) or text[at] == ".":
            if not piece:
                raise ValueError(f"'{text}' has an empty step between two dots")
            steps.append(EACH if piece == "#" and not escaped else piece)
            piece, escaped = "", False
        elif text[at] == "\\" and at + 1 < len(text):
            at += 1
            piece, escaped = piece + text[at], True
        else:
            piece += text[at]
        at += 1
    return steps


def loads(raw: bytes) -> Json:
    """Raises orjson.JSONDecodeError. Integers of any length stay exact (orjson rounds beyond 64 bits)."""
    value = orjson.loads(raw)
    return json.loads(raw) if _LONG_NUMBER.search(raw) else value


def dumps(value: Json, *, ordered: bool = False) -> str:
    """Compact; keys in the order of the value or of the alphabet."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS if ordered else 0).decode()
    except TypeError:  # an integer beyond 64 bits
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=ordered)


def edit(value: Json, path: Sequence[Step], change: Callable[[Json], Json]) -> Json:
    """The value with what lies at `path` changed, in place; what is not there stays away."""
    if not path:
        return change(value)
    step, rest = path[0], path[1:]
    if isinstance(value, dict):
        key = "#" if isinstance(step, Each) else step
        if key in value:
            value[key] = edit(value[key], rest, change)
    elif isinstance(value, list):
        for i in _indices(value, step):
            value[i] = edit(value[i], rest, change)
    return value


def _indices(value: list[Json], step: Step) -> Iterable[int]:
    if isinstance(step, Each):
        return range(len(value))
    return (int(step),) if step.isdecimal() and int(step) < len(value) else ()


def swept(value: Json) -> Json:
    """Without what was marked as gone."""
    if isinstance(value, dict):
        return {k: swept(v) for k, v in value.items() if v is not GONE}
    if isinstance(value, list):
        return [swept(v) for v in value if v is not GONE]
    return value


def texts(value: Json, change: Callable[[str], str]) -> Json:
    """Every string in a value changed, at any depth; keys stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {k: texts(v, change) for k, v in value.items()}
    if isinstance(value, list):
        return [texts(v, change) for v in value]
    return value


def tree(paths: Iterable[Path]) -> Kept:
    """Paths joined at their common beginnings; a path that ends inside of another one keeps all below."""
    result: dict[Step, Kept] = {}
    for path in paths:
        if not path:
            return "whole"
        at = result
        for step in path[:-1]:
            below = at.setdefault(step, {})
            if below == "whole":
                break
            at = below
        else:
            at[path[-1]] = "whole"
    return result


def only(value: Json, kept: Kept, other: Callable[[Json], Json]) -> Json:
    """The value with everything that is not `kept` given to `other`; what it calls gone is left out."""
    if kept == "whole":
        return value
    if isinstance(value, dict) and kept:
        found = {k: _inner(v, kept.get(k), other) for k, v in value.items()}
        return {k: v for k, v in found.items() if v is not GONE}
    if isinstance(value, list) and kept:
        each = kept.get(EACH)
        inner = (_inner(v, kept.get(str(i), each), other) for i, v in enumerate(value))
        return [v for v in inner if v is not GONE]
    return other(value)


def _inner(value: Json, kept: Kept | None, other: Callable[[Json], Json]) -> Json:
    return other(value) if kept is None else only(value, kept, other)
