"""Commands that look for mistakes before a run meets them: validate-config, test-connection."""

from __future__ import annotations

import os
from typing import Any

import click

from contracts.errors import Exit
from sharder.cli import options
from sharder.cli.look import shown


@click.command("validate-config", short_help="All that is wrong in a spec, without a network.")
@options.spec
@options.broker
@options.json
def validate_config(spec: tuple[str, ...], as_json: bool, broker: str) -> int:
    """Check SPEC (files, or directories of them) as `submit` does before it starts, and tell every error.

    Checked are the documents and what holds between them, the options of every plugin, and table
    patterns where the tables are known without a connection. With --broker also what a fleet refuses: a
    secret that is written out. The last line is "valid", else the exit code is 2.

    Example: sharder validate-config spec.yml
    """
    from sharder import validating, wishes

    found = validating.validate(spec, wishes.Wishes(broker=broker), os.environ)
    if as_json:
        _as_json(found)
    else:
        for error in found.errors:
            click.echo(f"error: {error}", err=True)
        for kind, lines in (("warning", found.warnings), ("note", found.notes)):
            for line in lines:
                click.echo(f"{kind}: {line}", err=True)
        if not found.errors:
            click.echo("valid")
    return int(Exit.INPUT if found.errors else Exit.OK)


def _as_json(found: Any) -> None:
    import orjson

    def tell(event: str, **facts: Any) -> None:
        click.echo(orjson.dumps({"event": event, **facts}).decode())

    for e in found.errors:
        tell("error", message=e.message, hint=e.hint, where=e.where)
    for kind, lines in (("warning", found.warnings), ("note", found.notes)):
        for line in lines:
            tell(kind, message=line)
    tell("valid" if not found.errors else "invalid", errors=len(found.errors))


@click.command(
    "test-connection", short_help="Whether sources and destinations answer; if not, why."
)
@options.spec
@options.stage
@options.broker
@click.option(
    "--timeout",
    type=options.Seconds(),
    default="60s",
    show_default=True,
    metavar="TIME",
    help="How long a loader may take to answer for a destination.",
)
@options.json
def test_connection(spec: tuple[str, ...], as_json: bool, timeout: float, **flags: Any) -> int:
    """Ask every source, every destination (through the loader), the stage and the broker of SPEC.

    No rows are read. A line each: Success, or Failure with INVALID_SPEC, UNAUTHORIZED, CONNECTION_FAILED,
    UNIMPLEMENTED, OTHER or UNKNOWN, and the reason. Exit code 0 if all answer, 2 if only the spec is wrong,
    else 4. In a destination Sharder's own tables are made, as before a run.

    Example: sharder test-connection spec.yml --json
    """
    from sharder import connections, tested, wishes
    from sharder.cli.interrupt import interruptible

    def say(line: str) -> None:
        click.echo(line, err=True)

    with interruptible() as environment:
        rows = connections.test(spec, wishes.Wishes(**flags), environment, say, patience_s=timeout)
    shown(tested.shown(rows), as_json=as_json)
    return int(tested.exit_code(rows))
