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
            "cell that failed after a checkpoint has its rows up to there loaded: that is code 3. The code is "
            "that of the round: a `retry` in which everything fails again has loaded nothing, and ends with 4, "
            "whatever the rounds before it loaded."
        ),
        "",
        "## CloudQuery's codes",
        "",
        (
            "With `--cloudquery-exit-codes`, or `SHARDER_CLOUDQUERY_EXIT_CODES=1` in the environment, `submit` "
            "(`sync`), `resume` and `retry` end as CloudQuery does:"
        ),
        "",
        "| code | when | ours |",
        "| --- | --- | --- |",
        "| 0 | the run came to its end, even if tables failed | 0, 3 |",
        "| 1 | it was aborted: a wrong spec, nothing loaded, another run at work, a signal | 2, 4, 5, 130 |",
        "| 2 | the program crashed | 1 |",
    ]
    return "\n".join(lines) + "\n"


def reference() -> str:
    """docs/reference/cli.md."""
    from sharder.cli import sharder

    context = click.Context(sharder, info_name="sharder")
    named = dict(_all(sharder, ""))
    lines = [
        "# The command line",
        "",
        (
            "Results go to stdout, progress and sentences to stderr; with `--json` both are JSON lines. "
            "`NO_COLOR` is honoured. Flags win over `SHARDER_*` variables, these over the fleet document of "
            "the spec, and that over the defaults. Exit codes: [exit-codes.md](exit-codes.md)."
        ),
    ]
    for title, commands in sharder.sections.items():
        lines += ["", f"{title}:", "", "| command | |", "| --- | --- |"]
        lines += [
            f"| [`{n}`](#{n.replace(' ', '-')}) | {_cell(c.get_short_help_str(200))} |"
            for n, c in named.items()
            if n.split(" ")[0] in {top.name for top in commands} and not isinstance(c, click.Group)
        ]
    if sharder.aliases:
        same = ", ".join(f"`{alias}` is `{name}`" for alias, name in sharder.aliases.items())
        lines += ["", f"Other names: {same}."]
    lines += ["", "Options of the program itself:", "", *_options(sharder, context)]
    hidden = [o for o in _of(sharder) if o.hidden]
    if hidden:
        lines += ["", "Accepted for the sake of CloudQuery's command lines:", ""]
        lines += [_row(o, context) for o in hidden]
        lines[-len(hidden) : -len(hidden)] = ["| option | |", "| --- | --- |"]
    for name, command in named.items():
        if not isinstance(command, click.Group):
            lines += ["", f"## {name}", "", *_command(name, command)]
    return "\n".join(lines) + "\n"


def _all(group: click.Group, before: str) -> Iterator[tuple[str, click.Command]]:
    """Every command below a group by its full name, in the order of the help."""
    for name, command in group.commands.items():
        yield f"{before}{name}", command
        if isinstance(command, click.Group):
            yield from _all(command, f"{before}{name} ")


def _command(name: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=f"sharder {name}")
    yield f"    {' '.join(command.get_usage(context).removeprefix('Usage: ').split())}"
    yield ""
    text, _, example = inspect.cleandoc(command.help or "").partition("\n\nExample: ")
    for paragraph in text.split("\n\n"):
        yield " ".join(paragraph.split())
        yield ""
    if any(not o.hidden for o in _of(command)):
        yield from _options(command, context)
        yield ""
    yield f"    {example.strip()}"


def _of(command: click.Command) -> list[click.Option]:
    return [o for o in command.params if isinstance(o, click.Option)]


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    yield "| option | |"
    yield "| --- | --- |"
    yield from (_row(o, context) for o in _of(command) if not o.hidden)


def _row(option: click.Option, context: click.Context) -> str:
    """One option: its names, what it takes, its help, its default, its variable."""
    spellings = "`, `".join((*option.opts, *option.secondary_opts))
    value = "" if option.is_flag else f" {_escaped(option.make_metavar(context))}"
    notes = [option.help or ""]
    if isinstance(option.show_default, bool) and option.show_default and option.default is not None:
        notes.append(f"Default: {option.default}.")
    if option.envvar:
        names = [option.envvar] if isinstance(option.envvar, str) else option.envvar
        notes.append(f"[env: {', '.join(names)}]")
    notes += ["Repeatable."] if option.multiple else []
    return f"| `{spellings}{value}` | {_cell(' '.join(filter(None, notes)))} |"


def _cell(text: str) -> str:
    return _escaped(" ".join(text.split())).replace("*", "\\*")


def _escaped(text: str) -> str:
    """Inside of a Markdown table, even in code."""
    return text.replace("|", "\\|")
