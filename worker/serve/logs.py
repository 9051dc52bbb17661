"""Log lines as CloudQuery's CLI reads them from a plugin: JSON on standard output, one object per line.

`level`, `time` and `message` as the loggers of Go have them, then the fields. The CLI gives up on lines over
4 kB, and an error in one goes uncounted, so lines stay below that.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import IO, Any

import orjson

from contracts.observe.log import PROGRAMS, fields, plain
from contracts.veil import veil

LINE_BYTES = 4000
_LEVELS = {"trace": "debug", "warn": "warning"}  # CloudQuery's → Python's
_THEIRS = {"warning": "warn", "critical": "error"}  # and back


class Json(logging.Formatter):
    """One object; what is too long loses its end."""

    def format(self, record: logging.LogRecord) -> str:
        found = facts(record)
        line = b""
        for most in (LINE_BYTES, 1000, 250, 50):
            cut = {k: v[:most] if isinstance(v, str) else v for k, v in found.items()}
            line = orjson.dumps(cut, default=str)
            if len(line) <= LINE_BYTES:
                break
        return line.decode()


class Text(logging.Formatter):
    """For eyes."""

    def format(self, record: logging.LogRecord) -> str:
        found = facts(record)
        head = f"{found.pop('time')} {found.pop('level').upper()} {found.pop('message')}"
        return " ".join([head, *(f"{k}={plain(v)}" for k, v in found.items())])


def facts(record: logging.LogRecord) -> dict[str, Any]:
    """Level, time, message, and the fields of an event of ours."""
    level = record.levelname.lower()
    at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    ours: dict[str, Any] = dict(getattr(record, "facts", None) or _told(record))
    message = str(ours.pop("message", "") or ours.pop("event", record.name))
    found = {"level": _THEIRS.get(level, level), "time": at, "message": message, **ours}
    if record.exc_info:
        found["error"] = record.exc_text or repr(record.exc_info[1])
    return found


def _told(record: logging.LogRecord) -> dict[str, str]:
    told = record.getMessage()
    return fields(told) if told.startswith("event=") else {"message": told}


class _Handler(logging.StreamHandler[IO[str]]):
    """Ours, so that setting up again finds it."""


def set_up(level: str, form: str) -> None:
    """Our events from `level` on, libraries from warnings on."""
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h, _Handler)]:
        root.removeHandler(handler)
    mine = _Handler(sys.stdout)
    mine.setFormatter(Text() if form == "text" else Json())
    root.addHandler(mine)
    root.setLevel(logging.WARNING)
    veil()
    for program in PROGRAMS:
        logging.getLogger(program).setLevel(_LEVELS.get(level, level).upper())
