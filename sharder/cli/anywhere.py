"""The options that CloudQuery takes before or behind its commands: the log, and what has no effect here.

They are defined once, on the program itself. A command line that has them behind the command is
rearranged before it is parsed; what they say reaches the command as `SHARDER_LOG_*` variables.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

LOG: tuple[click.Option, ...] = (
    click.Option(
        ["--log-level"],
        type=click.Choice(["trace", "debug", "info", "warn", "error"], case_sensitive=False),
        help="What is logged. [env: SHARDER_LOG_LEVEL; default: info]",
    ),
    click.Option(
        ["--log-format"],
        type=click.Choice(["text", "json"], case_sensitive=False),
        help="How it is logged. [env: SHARDER_LOG_FORMAT; default: text]",
    ),
    click.Option(
        ["--log-file-name"],
        metavar="FILE",
        help="Log to the end of FILE; none by default. [env: SHARDER_LOG_FILE]",
    ),
    click.Option(["--log-file-overwrite"], is_flag=True, help="Empty the log file first."),
    click.Option(["--no-log-file"], is_flag=True, help="No log file, even if one is named."),
    click.Option(
        ["--log-console"],
        is_flag=True,
        help="Log to stderr, without progress. [env: SHARDER_LOG_CONSOLE]",
    ),
)

# CloudQuery's options that have no effect here, each with the reason that is told.
WITHOUT_EFFECT: Mapping[str, str] = {
    "--telemetry-level": "Sharder sends no telemetry",
    "--cq-dir": "sources and destinations come with the release, and none is downloaded",
    "--data-dir": "sources and destinations come with the release, and none is downloaded",
    "--license": "Sharder needs no license file",
    "--color": "set NO_COLOR to switch colours off",
    "--cq-columns-not-null": "the _cq_* columns are made as CloudQuery makes them by default",
}
_FLAGS = frozenset({"--cq-columns-not-null"})
_IDS = frozenset({"--invocation-id", "--run-id"})  # of submit; CloudQuery has it before the command


IGNORED = tuple(
    click.Option([name], is_flag=name in _FLAGS, hidden=True, help=f"No effect: {why}.")
    for name, why in WITHOUT_EFFECT.items()
)


def given_to(group: click.Group) -> None:
    """Give the program these options."""
    group.params = [*group.params, *LOG, *IGNORED]
    group.callback = _apply


def arranged(words: Sequence[str]) -> list[str]:
    """The words with the options of this module in front of the command, and an id behind it."""
    front: list[str] = []
    moved: list[str] = []
    rest: list[str] = []  # the command comes first
    values = {o.opts[0] for o in LOG if not o.is_flag} | (WITHOUT_EFFECT.keys() - _FLAGS)
    known = values | {o.opts[0] for o in LOG} | _FLAGS
    left = list(words)
    while left:
        word = left.pop(0)
        name, equals, _ = word.partition("=")
        to = front if name in known else moved if name in _IDS and not rest else rest
        to.append(word)
        if word == "--":
            rest += left
            break
        if to is not rest and not equals and name in values | _IDS and left:
            to.append(left.pop(0))
    return [*front, *rest[:1], *moved, *rest[1:]]


def _apply(**given: Any) -> None:
    """Say what has no effect, and set the variables of the log for as long as the command runs."""
    for option, why in WITHOUT_EFFECT.items():
        if given.get(option.strip("-").replace("-", "_")):
            click.echo(f"note: {option} has no effect: {why}", err=True)
    file = "" if given["no_log_file"] else given["log_file_name"]
    wanted = {
        "SHARDER_LOG_LEVEL": given["log_level"],
        "SHARDER_LOG_FORMAT": given["log_format"],
        "SHARDER_LOG_FILE": file,
        "SHARDER_LOG_CONSOLE": "1" if given["log_console"] else None,
    }
    before = {name: os.environ.get(name) for name in wanted}
    click.get_current_context().call_on_close(lambda: _set(before))
    _set({name: value for name, value in wanted.items() if value is not None})
    file = os.environ.get("SHARDER_LOG_FILE", "")
    if file and given["log_file_overwrite"]:
        _empty(Path(file))


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _empty(file: Path) -> None:
    """What cannot be emptied cannot be opened either, and that is told when it is."""
    if file.is_file() and os.access(file, os.W_OK):
        file.write_bytes(b"")
