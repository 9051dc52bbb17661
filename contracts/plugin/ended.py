"""How a program ended, as an error that a person can act on."""

from __future__ import annotations

import signal

from contracts.errors import Permanent, SharderError, Transient
from contracts.plugin.kept import End

_KILLED = 128 + signal.SIGKILL  # what shells and container engines make of it


class Died(Transient):
    """The program ended while it was needed. Another attempt starts it afresh."""


class OutOfMemory(Transient):
    """The program had more memory than it may, or somebody killed it: mostly the kernel, for that reason."""

    reason = "memory"


class NotStarted(Permanent):
    """The program ended before it answered: its arguments, a library, the platform."""


class Late(Transient):
    """The program did not listen in time: it is no plugin, or the machine is busy with something else."""

    reason = "timeout"


def post_mortem(
    what: str, end: End, last_lines: str, *, answered: bool = True, limit: int = 0, kills: int = 0
) -> SharderError:
    """The error for a program that has ended.

    what: the plugin in words. answered: whether it had begun to listen. limit: its memory limit in bytes, 0:
    none. kills: how many processes of this container the kernel has ended meanwhile for lack of memory.
    """
    said = f"; it said last:\n{_indented(last_lines)}" if last_lines else ""
    if end.why == "memory":
        return OutOfMemory(
            f"{what} was ended: it had {_mib(end.bytes)} of memory"
            + (f" and may have {_mib(limit)}" if limit else ", more than is left for it here"),
            "raise `plugins.NAME.memory` of the fleet document (or the container's limit), or give it less"
            " to do at once: `concurrency` in its spec, fewer tables per shard",
        )
    if end.code in {-signal.SIGKILL, _KILLED} and end.why != "stopped":
        known = (
            f"; the kernel has ended {kills} processes of this container for lack of memory meanwhile"
            if kills
            else ""
        )
        return OutOfMemory(
            f"{what} was out of memory or killed ({_code(end.code)}){known}{said}",
            "raise the memory of the container, or set `plugins.NAME.memory` in the fleet document so that"
            " it is ended with a reason",
        )
    if end.why in {"stopped", "owner"}:
        return Died(f"{what} was ended")
    if not answered:
        return NotStarted(
            f"{what} ended before it answered ({_code(end.code)}){said}",
            "does it start by hand? is it a plugin of protocol version 3, and `plugins.NAME.runtime` right?",
        )
    return Died(f"{what} ended in the middle of its work ({_code(end.code)}){said}")


def _code(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _mib(n: int) -> str:
    return f"{n / (1 << 20):,.0f} MiB"
