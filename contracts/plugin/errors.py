"""What a failed call means: gRPC's status and the end of the program → one of our errors.

A program that dies closes its connection before it can be waited for, so a broken connection asks for
the death for a moment before it is called unreachable.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import grpc

from contracts.errors import (
    Denied,
    NotFound,
    Permanent,
    Reason,
    SharderError,
    Transient,
    Unreachable,
)

Death = Callable[[], SharderError | None]

GRACE_S = 2.0  # between a closed connection and an exit code; measured here: below 0.1 s
MOST = 2000  # characters of a plugin's own words that are kept
_BROKEN = ("Stream removed", "Socket closed", "RST_STREAM", "Connection reset", "recvmsg")
_LARGER = "larger than max"


class Unsupported(Permanent):
    """The plugin has no such call."""


class Stopped(Permanent):
    """The call was given up by us: somebody called `cancel`."""

    reason: Reason = "cancelled"


class Hung(Transient):
    """The plugin neither sends nor logs anything."""

    reason: Reason = "timeout"


class Malformed(Permanent):
    """What came cannot be read as the protocol wants it; nothing of it is used."""


def lives() -> SharderError | None:
    """The death of a program that nobody watches."""
    return None


def meaning(
    error: grpc.RpcError, *, what: str, call: str, death: Death, again: bool
) -> SharderError:
    """The error that a failed call stands for. `again`: the plugin's own failures may pass (data calls)."""
    code, words = error.code(), (error.details() or "")[:MOST]
    broken = code is grpc.StatusCode.UNAVAILABLE or any(mark in words for mark in _BROKEN)
    if broken and (died := ended(death)):
        return died
    where = f"{what}: {call}"
    match code:
        case grpc.StatusCode.UNAVAILABLE:
            return Unreachable(
                f"{where}: the connection is broken: {words}", "is it still running?"
            )
        case grpc.StatusCode.UNIMPLEMENTED:
            return Unsupported(f"{where}: the plugin does not offer this: {words}")
        case grpc.StatusCode.UNAUTHENTICATED | grpc.StatusCode.PERMISSION_DENIED:
            return Denied(f"{where}: refused: {words}", "look at the credentials that it is given")
        case grpc.StatusCode.NOT_FOUND:
            return NotFound(f"{where}: {words}")
        case grpc.StatusCode.RESOURCE_EXHAUSTED if _LARGER in words:
            return Permanent(
                f"{where}: one message is larger than the protocol's 200 MiB: {words}",
                "have the plugin send fewer rows at once (often `batch_size` or `page_size`)",
            )
        case grpc.StatusCode.DEADLINE_EXCEEDED | grpc.StatusCode.RESOURCE_EXHAUSTED:
            return Transient(f"{where}: {code.name}: {words}")
        case grpc.StatusCode.CANCELLED | grpc.StatusCode.ABORTED:
            return Transient(f"{where}: the plugin broke off: {words}")
        case grpc.StatusCode.INTERNAL | grpc.StatusCode.UNKNOWN if again:
            return Transient(f"{where}: {words}")
        case _:
            return Permanent(f"{where}: {words or code.name}")


def ended(death: Death, within_s: float = GRACE_S) -> SharderError | None:
    """How the program ended, waited for a moment: its socket closes before its exit code is there."""
    until, pause = time.monotonic() + within_s, threading.Event()
    while (error := death()) is None and death is not lives and time.monotonic() < until:
        pause.wait(0.02)
    return error
