"""A plain scalar as Go's yaml.v2 reads it and JSON then holds it; and the way back, quoted.

Dates and `12:30:45` are text; `y` and `n` are booleans, `0o17` and `1e3` numbers. Twelve digits with a
leading zero are an account id and stay text, with a warning; CloudQuery drops the zero.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

_CONSTANTS: dict[str, Any] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}  # fmt: skip
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_PREFIXES = {"0x": 16, "0o": 8, "0b": 2}
_ACCOUNT = re.compile(r"0[0-9]{11}")


def scalar(text: str) -> tuple[Any, str]:
    """A plain scalar as yaml.v2 and JSON read it, and a warning where that is a surprise."""
    if text in _CONSTANTS:
        return _CONSTANTS[text], ""
    if not text or text[0] not in "+-.0123456789" or not text.isascii():
        return text, ""
    if _ACCOUNT.fullmatch(text):
        return text, f"{text} is kept as text; CloudQuery would drop its leading zero: quote it"
    plain = text.replace("_", "") if text[0] != "." else text
    value: int | float | None = _integer(plain)
    if value is None and _FLOAT.fullmatch(plain):
        value = _float(plain)
    if value is None:
        return text, ""
    return value, _surprise(text, plain, value)


def _surprise(text: str, plain: str, value: float) -> str:
    """The warning for a number that does not say what it was written as."""
    digits = plain.lstrip("+-")
    octal = len(digits) > 1 and digits[0] == "0" and digits.isdecimal()
    cut = digits.isdecimal() and isinstance(value, float)  # beyond 64 bits
    if not octal and not cut:
        return ""
    return f"{text} is read as the number {value}: quote it if it is a text"


def _float(plain: str) -> int | float | None:
    """A whole float is a whole number in JSON. Out of range is an error in Go, which leaves the text."""
    value = float(plain)
    if math.isinf(value):
        return None
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _integer(plain: str) -> int | None:
    """Go's ParseInt with base 0: prefixes 0x, 0o, 0b and a leading zero for octal; 64 bits."""
    sign = -1 if plain[0] == "-" else 1
    digits = plain[1:] if plain[0] in "+-" else plain
    base = _PREFIXES.get(digits[:2].lower(), 8 if digits[:1] == "0" and len(digits) > 1 else 10)
    body = digits[2:] if digits[:2].lower() in _PREFIXES else digits
    if not body.isalnum() or len(body) > 64:
        return None
    try:
        value = sign * int(body, base)
    except ValueError:
        return None
    return value if -(2**63) <= value < 2**64 else None


def quoted(value: Any) -> str:
    """A value as one line of YAML that reads back the same, whatever characters it holds."""

    def escape(match: re.Match[str]) -> str:
        code = ord(match[0])
        return f"\\U{code:08x}" if code > 0xFFFF else f"\\u{code:04x}"

    return re.sub(r"[^\x20-\x7e]", escape, json.dumps(value, ensure_ascii=False))
