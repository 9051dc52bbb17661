"""One line per fact: `event=loaded run=… table=… rows=…`, the same names as in the documents."""

from __future__ import annotations

import logging
from typing import Any

import orjson

_LOG = logging.getLogger("loader")


def set_up(level: str) -> None:
    """Lines to standard error, with the time."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    _LOG.setLevel(level.upper())


def event(name: str, *, level: int = logging.INFO, trace: bool = False, **fields: Any) -> None:
    """`trace` adds the traceback of the exception that is being handled."""
    line = "".join(f" {key}={_plain(value)}" for key, value in fields.items())
    _LOG.log(level, "event=%s%s", name, line, exc_info=trace)


def _plain(value: Any) -> str:
    """Bare where that is unambiguous, else as JSON, so that a line stays one line."""
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return text if text and not set(text) & set(' "=\n\r\t') else orjson.dumps(text).decode()
