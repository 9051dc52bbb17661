"""A wall clock that is wrong by some hours, for one program: `SKEW_HOURS`. Monotonic clocks go on as they are.

(libfaketime would do it for whole processes, but Python's waits do not survive it.) Drivers of databases choose
by a value's exact class, so this is not for loaders.
"""

from __future__ import annotations

import datetime  # noqa: ICN001 - the module itself is changed
import time
from typing import Any


def skew(hours: float) -> None:
    """Before anything else has imported `datetime.datetime`."""
    real, clock = datetime.datetime, time.time
    delta = datetime.timedelta(hours=hours)

    class Meta(type):
        def __instancecheck__(cls, given: Any) -> bool:
            return isinstance(given, real)

    class Skewed(real, metaclass=Meta):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return real.now(tz) + delta

    datetime.datetime = Skewed  # type: ignore[misc]
    time.time = lambda: clock() + delta.total_seconds()
