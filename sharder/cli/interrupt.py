"""SIGTERM is Ctrl-C: both end a command at a clean point, with exit code 130."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[Mapping[str, str]]:
    """The environment of the command, during which SIGTERM interrupts it."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield os.environ
    finally:
        signal.signal(signal.SIGTERM, before)
