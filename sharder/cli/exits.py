"""Exit codes as CloudQuery has them, for wrappers that were written for it.

CloudQuery says 0 even when tables failed, 1 when the sync as a whole was aborted, and 2 when it crashed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence

from contracts.errors import Exit
from contracts.settings import is_on
from contracts.veil import VEIL

FLAG = "--cloudquery-exit-codes"
VARIABLE = "SHARDER_CLOUDQUERY_EXIT_CODES"
COMMANDS = frozenset({"submit", "sync", "resume", "retry"})
ABORTED, CRASHED = 1, 2


def wanted(words: Sequence[str], commands: Collection[str], environment: Mapping[str, str]) -> bool:
    """Whether the command line or the environment asks for them, of a command that has them."""
    command = next((w for w in words if w in commands), "")
    return command in COMMANDS and (FLAG in words or is_on(environment.get(VARIABLE, "")))


def translated(code: int) -> int:
    """Ours as CloudQuery's. Nothing loaded counts as aborted, and so does an interrupt."""
    return 0 if code in (Exit.OK, Exit.PARTIAL) else CRASHED if code == Exit.BUG else ABORTED


def of(command: Callable[[], int], *, cloudquery: bool) -> int:
    """What the process ends with. A bug of ours is raised, or traced if its code is CloudQuery's."""
    if not cloudquery:
        return command()
    try:
        return translated(command())
    except Exception as error:  # noqa: BLE001  # the interpreter would end with 1, which says: aborted
        sys.stderr.write(VEIL.trace(error) + "\n")
        return CRASHED
