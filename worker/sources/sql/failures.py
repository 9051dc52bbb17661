"""What drivers raise, as our errors: refused, not reachable, gone, too slow, or merely failed.

PostgreSQL's driver gives an SQLSTATE before the first row and only a message after it, and libpq gives
only a message while connecting; so the state decides where there is one, and the words otherwise.
"""

from __future__ import annotations

import re
import sys
from urllib.parse import unquote

import pyarrow as pa

from contracts.errors import (
    Denied,
    NotFound,
    Permanent,
    Reason,
    SchemaChanged,
    SharderError,
    Transient,
    Unreachable,
)


class TimedOut(Transient):
    """The statement ran into its limit."""

    reason: Reason = "timeout"


_STATES: tuple[tuple[str, type[SharderError]], ...] = (
    ("28", Denied),
    ("42501", Denied),
    ("3D", NotFound),
    ("42P01", NotFound),
    ("42703", SchemaChanged),
    ("57014", TimedOut),
    ("57P", Unreachable),
    ("08", Unreachable),
    ("53", Unreachable),
)
_WORDS: tuple[tuple[str, type[SharderError]], ...] = (
    (r"authentication failed|no password supplied|no pg_hba\.conf entry|permission denied", Denied),
    (r'role ".*" does not exist|is not permitted to log in', Denied),
    (r'database ".*" does not exist|no such table', NotFound),
    (r"statement timeout", TimedOut),
    (r"several dimensions|Type mismatch in column|no such column", SchemaChanged),
    (r"could not connect|Connection refused|could not translate host|timeout expired", Unreachable),
    (r"server closed the connection|starting up|shutting down|too many clients", Unreachable),
    (r"Could not set lock on file|database is locked|terminating connection", Unreachable),
)
_HINTS: dict[type[SharderError], str] = {
    Denied: "check user, password and grants",
    NotFound: "it was there when the run was planned, or the name is wrong",
    SchemaChanged: "a new run plans with the new schema; column_types reads a column as text or json",
    TimedOut: "raise statement_timeout, or cut the table into more slices",
}


def known() -> tuple[type[Exception], ...]:
    """The classes that a driver may raise, of those drivers that are loaded."""
    classes: tuple[type[Exception], ...] = (OSError, pa.ArrowException)
    loaded = (sys.modules.get(name) for name in ("adbc_driver_manager", "duckdb"))
    return (*classes, *(module.Error for module in loaded if module))


def translate(error: Exception, secret: str, *, connecting: bool = False) -> SharderError:
    """`secret` is the connection string: nothing of its password may reach a message."""
    text = redact(_short(str(error)), secret)
    state = str(getattr(error, "sqlstate", "") or "")
    if "snapshot" in text and state[:2] in ("22", "55", "42"):
        return Permanent(
            f"the snapshot of this run is gone: {text}",
            "it lives as long as the program that planned the run; run again, or set snapshot: false",
        )
    for prefix, kind in _STATES:
        if state.startswith(prefix):
            return kind(text, _HINTS.get(kind, ""))
    for pattern, kind in _WORDS:
        if re.search(pattern, text):
            return kind(text, _HINTS.get(kind, ""))
    return Unreachable(text) if connecting else Permanent(text)


def _short(text: str) -> str:
    """The server's words without the driver's copy of our query."""
    text = re.split(r"\n+(?:Query was:|query:)", text, maxsplit=1)[0]
    return " ".join(text.split())


def redact(text: str, connection_string: str) -> str:
    """The text without the connection string, the password in it, and the pieces of a password.

    A password with an unescaped `/`, `@` or `:` is taken apart by drivers, which then quote a piece of it.
    """
    found = re.findall(r"://[^:/?#@]*:(.+)@|password=('[^']*'|[^\s&]+)", connection_string)
    passwords = {p.strip("'") for pair in found for p in pair if p}
    pieces = {piece for p in passwords for piece in re.split(r"[@/:?#]", p)}
    for word in sorted({connection_string, *passwords, *map(unquote, passwords), *pieces}, key=len)[
        ::-1
    ]:
        text = text.replace(word, "***") if len(word) > 3 else text
    return text
