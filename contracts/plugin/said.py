"""What a line of a program's log says: level, message, table, client.

The loggers of the SDKs write one JSON object per line: zerolog and zap (Go), structlog (Python), winston
(JavaScript), logback (Java). They agree on `level`, and on little else. What is no JSON is a message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

Level = Literal["debug", "info", "warning", "error"]

LEVELS: Mapping[str, Level] = {
    "trace": "debug", "debug": "debug", "silly": "debug", "verbose": "debug",
    "info": "info", "notice": "info", "http": "info",
    "warn": "warning", "warning": "warning",
    "error": "error", "err": "error", "dpanic": "error", "panic": "error", "fatal": "error",
    "critical": "error", "crit": "error", "alert": "error", "emerg": "error", "exception": "error",
}  # fmt: skip
_MESSAGE = ("message", "msg", "event")
_TABLE = ("table", "table_name", "tableName")
_CLIENT = ("client", "client_id", "clientId")
_CAUSE = ("error", "err", "exception", "exc_info", "cause")
_KNOWN = frozenset({
    *_MESSAGE, *_TABLE, *_CLIENT, *_CAUSE, "level", "severity",
    "time", "timestamp", "ts", "@timestamp", "stack", "stacktrace", "caller", "invocation_id",
})  # fmt: skip
MOST = 12  # further fields of one line
# The JavaScript SDK names the table in the sentence, and nowhere else.
_IN_SENTENCE = re.compile(r"\b(?:table|for table|of table)\s+[\"'`]?([A-Za-z]\w*)[\"'`]?")
_LEVEL = re.compile(r'"(?:level|severity)"\s*:\s*"(\w+)"')
_TABLE_OF = re.compile(r'"(?:table|table_name|tableName)"\s*:\s*"(\w*)"')
_NO_WORD = re.compile(r"\W")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Said:
    """One line. `table` and `client` are empty where the line names none; `more`: its other fields."""

    level: Level
    message: str
    table: str = ""
    client: str = ""
    more: Mapping[str, str] = field(default_factory=dict)


def parse(line: str) -> Said:
    """Never fails: what is not understood is a message, at level info."""
    if line.startswith("{"):
        try:
            found = orjson.loads(line)
        except orjson.JSONDecodeError:
            found = None
        if isinstance(found, dict):
            return _of_object(found)
        if level := _LEVEL.search(line):  # an object that was cut
            table = _TABLE_OF.search(line)
            return Said(LEVELS.get(level[1].lower(), "info"), line, table[1] if table else "")
    return Said("info", _COLOURS.sub("", line))


def _of_object(found: Mapping[str, Any]) -> Said:
    message, cause = _first(found, _MESSAGE), _first(found, _CAUSE)
    level = LEVELS.get(str(found.get("level", found.get("severity", "info"))).lower(), "info")
    table = _first(found, _TABLE)
    if not table and level == "error" and (named := _IN_SENTENCE.search(message)):
        table = named[1]
    more = {_NO_WORD.sub("_", k)[:64]: _text(v) for k, v in found.items() if k not in _KNOWN}
    told = f"{message}: {cause}" if cause and cause not in message else message
    return Said(level, told or _text(found), table, _first(found, _CLIENT), dict(list(more.items())[:MOST]))  # fmt: skip


def _first(found: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((_text(found[name]) for name in names if found.get(name) not in (None, "")), "")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
