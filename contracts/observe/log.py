"""One line per fact: `event=shard_done run=… shard=… rows=…`, the same names as in the documents.

As text or as JSON, to standard error. What belongs to a job is on every line that is logged inside of it,
by whichever library and in whichever of the job's threads. Secrets are taken out before (`contracts.veil`).
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import IO, Any, Literal

import orjson

from contracts.veil import veil

Form = Literal["text", "json"]

PROGRAMS = ("contracts", "worker", "loader", "sharder")

_LOG = logging.getLogger("sharder")
_FIELD = re.compile(r'(?:^| )([a-z_]+)=("(?:[^"\\]|\\.)*"|\S*)')

_within: ContextVar[Mapping[str, str] | None] = ContextVar("job", default=None)
# Threads begin without the variables of the one that starts them, and a process of ours does one job at a
# time: what runs outside of every context belongs to the job that is being done.
_of_process: list[Mapping[str, str]] = []


@contextmanager
def job(**names: str) -> Iterator[None]:
    """Names for every line within: run, shard or job, attempt, worker. Inner ones add to outer ones."""
    found = {**context(), **names}
    token = _within.set(found)
    _of_process.append(found)
    try:
        yield
    finally:
        _of_process.remove(found)
        _within.reset(token)


def context() -> Mapping[str, str]:
    """The names of the job that is being done here."""
    found = _within.get()
    if found is None:
        return _of_process[-1] if _of_process else {}
    return found


def event(name: str, level: int = logging.INFO, /, **fields: Any) -> None:
    """One fact, with its fields."""
    _say(name, level, fields, trace=False)


def crashed(name: str, /, **fields: Any) -> None:
    """A bug of ours: an error, with the traceback of the exception that is being handled."""
    _say(name, logging.ERROR, fields, trace=True)


def _say(name: str, level: int, fields: Mapping[str, Any], *, trace: bool) -> None:
    if not _LOG.isEnabledFor(level):
        return
    facts = {"event": name, **fields}
    line = " ".join(f"{key}={plain(value)}" for key, value in facts.items())
    _LOG.log(level, "%s", line, exc_info=trace, extra={"facts": facts})


def plain(value: Any) -> str:
    """Bare where that is unambiguous, else as JSON, so that a line stays one line."""
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return text if text and not set(text) & set(' "=\n\r\t') else orjson.dumps(text).decode()


class Text(logging.Formatter):
    """`2026-01-02 03:04:05,678 INFO event=… key=value`; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        told = record.getMessage().replace("\r", "\\r").replace("\n", "\\n")
        names = "".join(
            f" {k}={plain(v)}" for k, v in context().items() if f"{k}=" not in f" {told}"
        )
        line = f"{self.formatTime(record)} {record.levelname} {told}{names}"
        return f"{line}\n{_trace(record)}" if record.exc_info else line


class Json(logging.Formatter):
    """One object per line; fields of our own events keep their types."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        found: dict[str, Any] = {
            "time": at.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            **context(),
        }
        facts = getattr(record, "facts", None)
        if facts is None:
            told = record.getMessage()
            facts = fields(told) if told.startswith("event=") else {"message": told}
            facts = {"logger": record.name, **facts}
        found |= facts
        if record.exc_info:
            found["trace"] = _trace(record)
        return orjson.dumps(found, default=str).decode()


def fields(told: str) -> dict[str, str]:
    """The fields of a line of text; what stands between them is `message`."""
    found = {key: _read(value) for key, value in _FIELD.findall(told)}
    rest = _FIELD.sub("", told).strip()
    return found | ({"message": rest} if rest else {})


def _read(value: str) -> str:
    try:
        return str(orjson.loads(value)) if value.startswith('"') else value
    except orjson.JSONDecodeError:
        return value


def _trace(record: logging.LogRecord) -> str:
    assert record.exc_info
    # The veil has put it there without its secrets.
    return record.exc_text or "".join(traceback.format_exception(*record.exc_info)).rstrip()


class _Handler(logging.StreamHandler[IO[str]]):
    """Ours, so that setting up again finds it."""


def set_up(level: str, form: str = "text", stream: IO[str] | None = None) -> None:
    """Our programs from `level` on, libraries from warnings on. Setting up again changes both.

    Where somebody else has set up handlers (a test, a program around us) they stay the only ones.
    """
    root = logging.getLogger()
    mine = [h for h in root.handlers if isinstance(h, _Handler)]
    if not root.handlers:
        mine = [_Handler(stream or sys.stderr)]
        root.addHandler(mine[0])
    for handler in mine:
        handler.setFormatter(Json() if form == "json" else Text())
    if mine:
        root.setLevel(logging.WARNING)
    veil()
    for program in PROGRAMS:
        logging.getLogger(program).setLevel(level.upper())
