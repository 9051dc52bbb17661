"""One line of `sharder doctor`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from contracts.errors import Exit, SharderError

Level = Literal["ok", "warning", "failure"]


@dataclass(frozen=True)
class Finding:
    """`mend`: what to do, empty if all is well. `code`: of a failure, what the command would end with."""

    check: str
    level: Level
    says: str
    mend: str = ""
    code: Exit = Exit.OUTSIDE


def ok(check: str, says: str) -> Finding:
    return Finding(check, "ok", says)


def warning(check: str, says: str, mend: str) -> Finding:
    return Finding(check, "warning", says, mend)


def failure(check: str, error: SharderError) -> Finding:
    code = Exit.INPUT if error.exit_code == Exit.INPUT else Exit.OUTSIDE
    return Finding(check, "failure", error.message, error.hint, code)


def guarded(check: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What a look finds; an error of the world in it is a finding as well."""
    try:
        yield from look()
    except SharderError as error:
        yield failure(check, error)
