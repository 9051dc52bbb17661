"""Sizes as people write them: `128MiB`, `5 MB`, `1024`."""

from __future__ import annotations

import math
import re
from typing import Any

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*((?:[kmgt]i?)?b?)\s*", re.IGNORECASE)


def size_bytes(value: Any) -> int:
    """`128MiB`, `5 MB`, `1024` → bytes; binary with `i`, decimal without. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise ValueError(f"not a size: {value!r}; write for example 128MiB")
    unit = match[2].lower().removesuffix("b")
    base = 1024 if unit.endswith("i") else 1000
    number = float(match[1]) * base ** ("kmgt".index(unit[0]) + 1 if unit else 0)
    if not math.isfinite(number):
        raise ValueError(f"too large a size: {value[:20]}…")
    return int(number)
