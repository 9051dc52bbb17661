"""What testing connections came to: CloudQuery's codes for our errors, a line each, and the exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.cursors import Failure, Server
from contracts.errors import Denied, Exit, InputError, NotFound, SharderError, Transient
from sharder import text
from sharder.preview import Shown


@dataclass(frozen=True)
class Seen:
    """A destination's engine. Its clock was read between two moments of ours, in seconds since the epoch."""

    server: Server
    after_s: float
    before_s: float


@dataclass(frozen=True)
class Answer:
    """One connection. `code` is empty for success, else one of CloudQuery's; `reason` says who answered or why not."""

    kind: str
    name: str
    plugin: str
    code: str = ""
    reason: str = ""
    server: Seen | None = None

    @property
    def result(self) -> str:
        return f"Failure ({self.code})" if self.code else "Success"


def exit_code(rows: Sequence[Answer]) -> Exit:
    codes = {row.code for row in rows} - {""}
    if not codes:
        return Exit.OK
    return Exit.INPUT if codes == {"INVALID_SPEC"} else Exit.OUTSIDE


def shown(rows: Sequence[Answer]) -> Shown:
    """A table; longer reasons go on below their line."""
    lines = [(r.kind, r.name, r.plugin, r.result, (r.reason.splitlines() or [""])[0]) for r in rows]
    table = text.columns([("kind", "name", "plugin", "result", "reason"), *lines])
    printed = table[:1]
    for row, line in zip(rows, table[1:], strict=True):
        printed.append(line)
        printed += [f"    {more.strip()}" for more in row.reason.splitlines()[1:]]
    failed = sum(bool(r.code) for r in rows)
    verdict = f"{failed:,} of {text.count(len(rows), 'connection')} failed" if failed else "all connections work"  # fmt: skip
    documents = [
        {
            "kind": r.kind, "name": r.name, "plugin": r.plugin,
            "result": "Failure" if r.code else "Success", "code": r.code, "reason": r.reason,
        }
        for r in rows
    ]  # fmt: skip
    return Shown([*printed, verdict], documents)


def code_of(error: SharderError) -> str:
    """CloudQuery's code for one of our errors."""
    match error:
        case InputError():
            return "INVALID_SPEC"
        case Denied():
            return "UNAUTHORIZED"
        case Transient() | NotFound():
            return "CONNECTION_FAILED"
        case _:
            return "OTHER"


# The same for an error that came from the loader, by the name of its class.
_CODES = {
    "InputError": "INVALID_SPEC",
    "MissingExtra": "INVALID_SPEC",
    "Denied": "UNAUTHORIZED",
    "Unreachable": "CONNECTION_FAILED",
    "Transient": "CONNECTION_FAILED",
    "NotFound": "CONNECTION_FAILED",
    "": "UNKNOWN",
}


def code_of_failure(failure: Failure) -> str:
    if failure.exit_code == Exit.INPUT:
        return "INVALID_SPEC"
    return _CODES.get(failure.kind, "OTHER")
