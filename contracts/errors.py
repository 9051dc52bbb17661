"""The error tree: what went wrong, where, what to do next, and whether another try helps.

Every error is built of one sentence (and an optional hint), so that it survives pickling between
processes: exceptions with required keyword-only arguments do not.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Literal

Reason = Literal[
    "denied",  # the credentials may not make this call
    "throttled",  # still throttled after all retries
    "region_off",  # the region or the service in it is not enabled
    "off",  # the service or feature is not subscribed
    "expired",  # credentials ended or the client is gone
    "schema",  # the rows do not match the frozen schema
    "timeout",  # the run's deadline or the cell's own limit
    "memory",  # every attempt needed more memory than its process may have
    "lost",  # every attempt died
    "cancelled",  # the run was cancelled or abandoned
    "parent",  # the parent cell did not end ok
    "failed",  # anything else
]


class Exit(IntEnum):
    """Exit codes of every command; documented in docs/reference/exit-codes.md."""

    OK = 0
    BUG = 1
    INPUT = 2
    PARTIAL = 3
    OUTSIDE = 4
    LEASE = 5
    INTERRUPTED = 130


class SharderError(Exception):
    """Base of all our errors. `hint` says what to do; `str()` is the whole message."""

    exit_code: Exit = Exit.BUG
    reason: Reason = "failed"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message

    def mask(self, masked: Callable[[str], str]) -> None:
        """Take secrets out of what the error says; what it is stays the same."""
        self.message, self.hint = masked(self.message), masked(self.hint)
        self.args = (self.message, self.hint, *self.args[2:])


class Permanent(SharderError):
    """Another try fails in the same way."""

    exit_code = Exit.OUTSIDE


class Transient(SharderError):
    """Another try may succeed, not sooner than `after_s` seconds from now."""

    exit_code = Exit.OUTSIDE

    def __init__(self, message: str, hint: str = "", after_s: float = 0.0) -> None:
        super().__init__(message, hint)
        self.args = (message, hint, after_s)
        self.after_s = after_s


class InputError(Permanent):
    """The text that the user wrote is wrong; `where` is file:line:column, or empty."""

    exit_code = Exit.INPUT

    def __init__(self, message: str, hint: str = "", where: str = "") -> None:
        super().__init__(message, hint)
        self.args = (message, hint, where)
        self.where = where

    def __str__(self) -> str:
        text = super().__str__()
        return f"{self.where}: {text}" if self.where else text


class MissingExtra(InputError):
    """A library that comes with an extra is not installed."""


class Unreachable(Transient):
    """A store, broker, warehouse or API does not answer."""


class Denied(Permanent):
    """The other side answered, and refused our credentials."""

    reason = "denied"


class NotFound(Permanent):
    """The object, table or client does not exist."""


class StoreUnfit(Permanent):
    """The object store ignores the conditions that commits rest on."""


class VersionUnknown(Permanent):
    """A document was written by a newer release; it is left untouched."""


class SchemaChanged(Permanent):
    """A batch does not match the schema that the plan froze."""

    reason = "schema"


class LeaseHeld(Permanent):
    """Another run of the same source and destination is going on."""

    exit_code = Exit.LEASE


class Fenced(Permanent):
    """A newer load has been recorded in the warehouse; this one must not write."""


def missing_extra(module: str, extra: str, what: str) -> MissingExtra:
    """The one sentence for a library that is not installed."""
    return MissingExtra(
        f"{what} needs the package '{module}', which is not installed",
        f"install it with: pip install 'sharder[{extra}]'",
    )
