"""Breaking documents on purpose: bits, cuts, and values that no program of ours would have written."""

from __future__ import annotations

import json
import random
from typing import Any

HOSTILE: tuple[Any, ...] = (
    None, True, 0, -1, 2**31, 2**63, 10**400, 1e308, -0.5, "", "x", "..", "../../etc", "\0", "/", "a\nb",
    "\ud800", "x" * 100_000, "'; DROP TABLE canary; --", '"; DROP TABLE canary; --', "2026-99-99T00:00:00Z",
    "0001-01-01T00:00:00Z", "999999999999", [], {}, [[]], [None], {"": None}, ["x"] * 50,
    {"version": 99}, [[0, 10**12]], [[5, 0]], [[-5, 5]], "NaN", "infinity",
)  # fmt: skip


def mutated(data: bytes, chance: random.Random) -> bytes:
    """The bytes with one or two changes."""
    for _ in range(chance.choice((1, 1, 2))):
        data = chance.choice(_WAYS)(data, chance)
    return data


def _flip(data: bytes, chance: random.Random) -> bytes:
    if not data:
        return b"\0"
    found = bytearray(data)
    for _ in range(chance.choice((1, 1, 8))):
        found[chance.randrange(len(found))] ^= 1 << chance.randrange(8)
    return bytes(found)


def _cut(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] if chance.random() < 0.7 else data[at:]


def _insert(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    junk = (b"[" * 100_000, b"{}", b"\0" * 64, b"NaN", b"\xff\xfe", b'"', b"\n", data)
    return data[:at] + chance.choice(junk) + data[at:]


def _replace(data: bytes, chance: random.Random) -> bytes:
    return chance.choice(
        (b"", b"null", b"[]", b"{}", b"1", b'"x"', b"[" * 100_000, b'{"a":' * 50_000, b"PAR1PAR1")
    )


def _value(data: bytes, chance: random.Random) -> bytes:
    """Another value, no value or a second one at some place of the JSON (of one line of it)."""
    lines = data.splitlines(keepends=True) if data.count(b"}\n{") or data[:1] == b'"' else [data]
    if not lines:
        return data
    n = chance.randrange(len(lines))
    try:
        document = json.loads(lines[n])
        places = list(_places(document))
    except (ValueError, RecursionError):  # broken, or too deep, by a change before this one
        return _flip(data, chance)
    if not places:
        lines[n] = json.dumps(chance.choice(HOSTILE)).encode()
        return b"\n".join(lines)
    inside, key = chance.choice(places)
    match chance.randrange(4):
        case 0 if isinstance(inside, dict):
            del inside[key]
        case 1 if isinstance(inside, dict):
            inside[f"{key}_more"] = inside[key]
        case _:
            inside[key] = chance.choice(HOSTILE)
    lines[n] = json.dumps(document).encode() + b"\n" * (len(lines) > 1)
    return b"".join(lines)


def _places(value: Any) -> Any:
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


_WAYS = (_flip, _cut, _insert, _replace, _value, _value, _value, _value, _value)
