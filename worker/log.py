"""One line per fact: `event=shard_done run=… shard=… rows=…`, the same names as in the manifest."""

from __future__ import annotations

import logging
from typing import Any

import orjson

_LOG = logging.getLogger("worker")


def set_up(level: str) -> None:
    """Lines to standard error, with the time."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    _LOG.setLevel(level.upper())


def event(name: str, level: int = logging.INFO, /, **fields: Any) -> None:
    _LOG.log(level, "event=%s%s", name, "".join(f" {k}={_plain(v)}" for k, v in fields.items()))


def _plain(value: Any) -> str:
    """Bare where that is unambiguous, else as JSON, so that a line stays one line."""
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return text if text and not set(text) & set(' "=\n\r\t') else orjson.dumps(text).decode()
