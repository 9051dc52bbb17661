"""The reference pages, made from the commands themselves: docs/reference/cli.md and exit-codes.md."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from contracts.errors import Exit

MEANINGS = {
    Exit.OK: (
        "every cell ended ok, or was skipped by a rule (a region that is off, a table that is left out)",
        "nothing to do",
    ),
    Exit.BUG: ("a bug of ours; the only case in which a trace is shown", "report it, with the trace"),
    Exit.INPUT: (
        "the spec, the command line or a variable is wrong; nothing was started",
        "the message says where and what to write",
    ),
    Exit.PARTIAL: (
        "something failed, and something was loaded",
        "`sharder retry RUN` tries again what failed",
    ),
    Exit.OUTSIDE: (
        ("nothing was loaded because of the outside world: a store, broker, warehouse or API that does "
        "not answer, or refuses our credentials"),
        "the message names it; then submit or retry",
    ),
    Exit.LEASE: (
        "another run of the same source and destination is at work",
        "wait for it, or `sharder cancel RUN`",
    ),
    Exit.INTERRUPTED: ("interrupted by Ctrl-C or SIGTERM", "`sharder resume RUN` goes on"),
}  # fmt: skip


def exit_codes() -> str:
    """docs/reference/exit-codes.md."""
    lines = [
        "# Exit codes",
        "",
        (
            "The same for every command. Those of `submit`, `resume` and `retry` follow from the summary of "
            "the round alone, so that the exit code, the summary and the warehouse's own `sharder_loads` and "
            "`sharder_cells` always agree."
        ),
        "",
        "| code | meaning | what to do |",
        "| --- | --- | --- |",
        *(f"| {int(code)} | {meaning} | {todo} |" for code, (meaning, todo) in MEANINGS.items()),
        "",
        (
            "*Loaded* means that at least one load ended ok which brought a cell that ended ok, or a row. A "
            "cell that failed after a checkpoint has its rows up to there loaded: that is code 3."
        ),
    ]
    return "\n".join(lines) + "\n"


def reference() -> str:
    """docs/reference/cli.md."""
    from sharder.cli import sharder

    lines = [
        "# The command line",
        "",
        ("Results go to stdout, progress and sentences to stderr; with `--json` both are JSON lines. "
        "`NO_COLOR` is honoured. Flags win over `SHARDER_*` variables, these over the fleet document of "
        "the spec, and that over the defaults. Exit codes: [exit-codes.md](exit-codes.md)."),
        "",
        "| command | |",
        "| --- | --- |",
        *(f"| [`{n}`](#{n}) | {c.get_short_help_str(200)} |" for n, c in sorted(sharder.commands.items())),
    ]  # fmt: skip
    for name, command in sorted(sharder.commands.items()):
        lines += ["", f"## {name}", "", *_command(name, command)]
    return "\n".join(lines) + "\n"


def _command(name: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=f"sharder {name}")
    yield f"    {command.get_usage(context).removeprefix('Usage: ')}"
    yield ""
    text, _, example = inspect.cleandoc(command.help or "").partition("\n\nExample: ")
    yield " ".join(text.split())
    yield ""
    options = [o for o in command.params if isinstance(o, click.Option)]
    if options:
        yield "| option | |"
        yield "| --- | --- |"
        for option in options:
            metavar = "" if option.is_flag else f" {option.make_metavar(context)}"
            again = " Repeatable." if option.multiple else ""
            escaped = (option.help or "").replace("*", "\\*").replace("|", "\\|")
            yield f"| `{'`, `'.join(option.opts)}{metavar}` | {escaped}{again} |"
        yield ""
    yield f"    {example.strip()}"
