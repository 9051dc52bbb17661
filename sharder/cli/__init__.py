"""The command `sharder`: what a person types, and the exit code that the command comes back with.

Commands are thin and import what they need when they run, so that `--help` costs nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from contracts.errors import Exit, InputError, SharderError
from sharder.cli import look, runs, tend

HELP = """Scale-out ELT: split the sources of a CloudQuery spec into shards, extract them with
stateless workers, and bulk-load what they wrote into a warehouse.

\b
  sharder plan spec.yml      what would run; changes nothing
  sharder submit spec.yml    run it, on this machine or on a fleet
  sharder status RUN         how far it is

Exit codes: 0 all is well, 2 the spec or the command line is wrong, 3 something failed and the rest is
loaded, 4 nothing was loaded, 5 another run is at work, 130 interrupted, 1 a bug of ours.
"""


@click.group(help=HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})  # fmt: skip
def sharder() -> None:
    """The group itself does nothing."""


for command in (
    runs.submit, runs.resume, runs.retry, look.plan, look.tables, look.status, look.runs,
    tend.cancel, tend.watch, look.version,
):  # fmt: skip
    sharder.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit. A trace is shown for exit code 1 and never otherwise."""
    words = list(sys.argv[1:] if arguments is None else arguments)
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
    sys.exit(int(code or 0))


def _told(error: SharderError, *, as_json: bool) -> Exit:
    """Say what went wrong. Errors of no exit code of their own are bugs, and keep their trace."""
    if error.exit_code == Exit.BUG:
        raise error
    if as_json:
        import orjson

        where = error.where if isinstance(error, InputError) else ""
        facts = {"event": "error", "message": error.message, "hint": error.hint, "where": where}
        click.echo(orjson.dumps({**facts, "exit_code": int(error.exit_code)}).decode(), err=True)
    else:
        click.echo(f"error: {error}", err=True)
    return error.exit_code
