"""Commands to begin with: init, completion, plugin."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from contracts.errors import InputError, Permanent
from sharder.cli import options

if TYPE_CHECKING:
    from sharder.starter import Choice, Kind

_MOOT = {
    "disable_ai": "Sharder has no AI assistant",
    "disable_platform": "Sharder has no platform to send anything to",
    "resume_conversation": "Sharder has no AI assistant, and so no conversation to go on with",
}


@click.command(short_help="Write a first spec.")
@click.option("--source", default="", metavar="NAME", help="The source, for example hackernews.")
@click.option("--destination", default="", metavar="NAME", help="The destination, say duckdb.")
@click.option(
    "--spec-path",
    default="",
    metavar="FILE",
    help="Where the spec goes.  [default: SOURCE_to_DESTINATION.yml]",
)
@click.option("--yes", is_flag=True, help="Ask nothing, take the defaults, overwrite a file.")
@click.option(
    "--plugin-template",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the project of a source of one's own, in Python, instead of a spec.",
)
@click.option("--disable-ai", is_flag=True, help="Accepted for CloudQuery's sake; does nothing.")
@click.option("--disable-platform", is_flag=True, help="Accepted for CloudQuery's sake.")
@click.option("--resume-conversation", is_flag=True, help="Accepted for CloudQuery's sake.")
def init(
    source: str,
    destination: str,
    spec_path: str,
    yes: bool,
    plugin_template: Path | None,
    **moot: bool,
) -> int:
    """Write a spec for a source and a destination, with their common options as comments.

    On a terminal it asks for what no flag says; otherwise --source and --destination are needed. Secrets
    are not asked for: the spec refers to a variable such as ${POSTGRESQL_CONNECTION_STRING}.

    Example: sharder init --source hackernews --destination duckdb
    """
    from sharder import starter

    for flag, why in _MOOT.items():
        if moot[flag]:
            click.echo(f"--{flag.replace('_', '-')} does nothing: {why}", err=True)
    if plugin_template:
        return _template(plugin_template, yes=yes)
    asks = sys.stdin.isatty() and not yes
    chosen = _plugin("source", source, asks=asks)
    target = _plugin("destination", destination, asks=asks)
    tables = _tables(chosen, asks=asks)
    choices = [_answers("source", chosen, asks=asks), _answers("destination", target, asks=asks)]
    path = Path(spec_path or starter.file_name(chosen, target))
    _may_write(path, yes=yes, asks=asks)
    _write(path, starter.spec(choices[0], choices[1], tables))
    for line in _next(path, choices):
        click.echo(line)
    return 0


def _template(directory: Path, *, yes: bool) -> int:
    from sharder import authoring

    for path in authoring.write(directory, overwrite=yes):
        click.echo(f"wrote {path}")
    click.echo(f"next: cd {directory} && pytest, and README.md")
    return 0


def _plugin(kind: Kind, given: str, *, asks: bool) -> str:
    from sharder import starter

    names = starter.plugins(kind)
    if given:
        starter.model_of(kind, given)
        return given
    if not asks:
        raise InputError(
            f"which {kind}? it is asked for only on a terminal, and not with --yes",
            f"write --{kind} NAME; there are: {', '.join(names)}",
        )
    found = click.prompt(f"Which {kind}?", type=click.Choice(names), default="hackernews" if kind == "source" else "duckdb")  # fmt: skip
    return str(found)


def _tables(plugin: str, *, asks: bool) -> tuple[str, ...]:
    from sharder import starter

    usual = starter.tables_of(plugin)
    if not asks:
        return usual
    said = click.prompt("Which tables? (names or patterns with *, commas between)", default=", ".join(usual))  # fmt: skip
    return tuple(name.strip() for name in str(said).split(",") if name.strip()) or usual


def _answers(kind: Kind, plugin: str, *, asks: bool) -> Choice:
    from sharder import starter

    choice = starter.default(kind, plugin)
    if not asks:
        return choice
    answers = {}
    for q in starter.questions(kind, plugin):
        said = str(click.prompt(f"{plugin}: {q.ask}", default=q.default))
        while q.secret and not starter.is_variable(said):
            click.echo("That is not the name of a variable; the secret itself is not written.")
            said = str(click.prompt(f"{plugin}: {q.ask}", default=q.default))
        answers[q.key] = said
    return starter.Choice(kind, plugin, answers)


def _may_write(path: Path, *, yes: bool, asks: bool) -> None:
    """Raises InputError where the file is there and may not be replaced."""
    if not path.exists() or yes:
        return
    if asks and click.confirm(f"{path} is there already. Overwrite it?", default=False):
        return
    raise InputError(f"{path} is there already", "write --yes to overwrite it, or --spec-path FILE")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Permanent(f"{path} cannot be written: {error.strerror}") from error


def _next(path: Path, choices: list[Choice]) -> list[str]:
    from sharder import starter

    exports = [f"  export {name}=…   # {what}" for name, what in starter.variables(choices)]
    commands = [f"  sharder {verb} {path}" for verb in ("validate-config", "test-connection", "submit")]  # fmt: skip
    return [f"wrote {path}; next:", *exports, *commands]


@click.command(short_help="A script that completes commands and options in your shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Print the completion script of SHELL, to be read by its start-up file.

    bash: eval "$(sharder completion bash)" in ~/.bashrc; zsh: the same with zsh in ~/.zshrc; fish:
    sharder completion fish > ~/.config/fish/completions/sharder.fish

    Example: sharder completion zsh
    """
    from click.shell_completion import get_completion_class

    from sharder.cli import COMPLETE, sharder

    made = get_completion_class(shell)
    assert made
    try:
        click.echo(made(sharder, {}, "sharder", COMPLETE).source())
    except RuntimeError as error:  # click looks for the shell's version
        raise InputError(f"no completion for {shell}: {error}") from error
    return 0


@click.group(short_help="Plugins: those of Sharder need no installation.")
def plugin() -> None:
    """About the plugins of a spec. Those of Sharder are part of the program.

    Example: sharder plugin install spec.yml
    """


@plugin.command(short_help="Say of each plugin of a spec what it still needs.")
@options.spec
@options.json
def install(spec: tuple[str, ...], as_json: bool) -> int:
    """Go through the plugins of SPEC: the native ones need no installation, some need a Python package.

    Programs of others are looked for on this machine; those of the Hub and of GitHub are fetched into
    the cache. Exit code 2 if one cannot be used here.

    Example: sharder plugin install spec.yml
    """
    from sharder import plugins
    from sharder.cli.look import shown

    found, code = plugins.installed(spec, os.environ)
    return shown(found, as_json=as_json) or int(code)


def completing(group: Any, variable: str) -> None:
    """Answer the shell instead of running a command, if it is the shell that asks."""
    if instruction := os.environ.get(variable):
        from click.shell_completion import shell_complete

        sys.exit(shell_complete(group, {}, "sharder", variable, instruction))
