"""The command `sharder`: what a person types, and the exit code that the command comes back with.

Commands are thin and import what they need when they run, so that `--help` costs nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial

import click

from contracts.errors import Exit, InputError, SharderError
from contracts.veil import VEIL, veil
from sharder.cli import anywhere, check, exits, look, runs, start, tables, tend
from sharder.cli.group import Commands

HELP = """Scale-out ELT: a CloudQuery spec, split into shards, run by workers, bulk-loaded by a loader.
Example: sharder init, then sharder submit spec.yml

Exit codes: 0 all is well, 2 spec or command line wrong, 3 something failed, the rest is loaded,
4 nothing was loaded, 5 another run is at work, 130 interrupted, 1 a bug of ours.
"""
COMPLETE = "_SHARDER_COMPLETE"  # set by the shell that wants to complete a word

sharder = Commands(
    {
        "Begin": [start.init, check.validate_config, check.test_connection, tables.tables, look.plan],
        "Run": [runs.submit, runs.resume, runs.retry, tables.migrate],
        "Look after runs": [look.status, look.runs, tend.cancel, tend.watch, tend.gc, tend.doctor],
        "This program": [start.plugin, start.completion, look.version],
    },
    aliases={"sync": "submit"},
    help=HELP,
)  # fmt: skip
anywhere.given_to(sharder)
click.version_option(package_name="sharder", message="sharder %(version)s", hidden=True)(sharder)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit. A trace is shown for exit code 1 and never otherwise."""
    veil()
    words = anywhere.arranged(sys.argv[1:] if arguments is None else arguments)
    start.completing(sharder, COMPLETE)
    known = {*sharder.commands, *sharder.aliases}
    cloudquery = exits.wanted(words, known, os.environ)
    sys.exit(exits.of(partial(_run, words), cloudquery=cloudquery))


def _run(words: list[str]) -> int:
    """Exit code of a command; what a person can do something about is said, and a bug of ours is raised."""
    try:
        # Not `sharder.main`: it turns a closed stdout into exit code 1, whatever the run came to.
        with sharder.make_context("sharder", words) as context:
            code = sharder.invoke(context)
    except click.exceptions.Exit as end:  # after --help
        code = end.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        code = Exit.INPUT
    except click.UsageError as error:
        error.show()
        code = Exit.INPUT
    except SharderError as error:
        code = _told(error, as_json="--json" in words)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        code = Exit.INTERRUPTED
    except BrokenPipeError:  # `sharder runs | head` is no error
        sys.stderr.close()
        code = Exit.OK
    return int(code or 0)


def _told(error: SharderError, *, as_json: bool) -> Exit:
    """Say what went wrong. Errors of no exit code of their own are bugs, and keep their trace."""
    if error.exit_code == Exit.BUG:
        raise error
    if as_json:
        import orjson

        where = error.where if isinstance(error, InputError) else ""
        said = {"message": VEIL(error.message), "hint": VEIL(error.hint)}
        facts = {"event": "error", **said, "where": where}
        click.echo(orjson.dumps({**facts, "exit_code": int(error.exit_code)}).decode(), err=True)
    else:
        click.echo(VEIL(f"error: {error}"), err=True)
    return error.exit_code
