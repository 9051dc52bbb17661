"""Commands that only look: plan, status, runs, version."""

from __future__ import annotations

import os
from typing import Any

import click

from sharder.cli import options


@click.command(short_help="What would run; changes nothing.")
@options.spec
@options.narrowing
@options.stage
@options.deadline
@options.full_refresh
@options.shard
@options.json
def plan(spec: tuple[str, ...], as_json: bool, **flags: Any) -> int:
    """Show per table of SPEC the cells, the shards and the expected time, and which rows may go as stale.

    Sources are asked for their clients, as at submit; nothing is written anywhere.

    Example: sharder plan spec.yml --client 123456789012
    """
    from sharder import preview, wishes

    return shown(preview.plan(spec, wishes.Wishes(**flags), os.environ), as_json=as_json)


@click.command(short_help="How far a run is, or how it ended.")
@click.argument("run_id", metavar="RUN")
@options.stage
@options.broker
@options.json
def status(run_id: str, as_json: bool, **flags: Any) -> int:
    """Show what the stage says about RUN: cells by state, the slowest shards done and in flight, what
    failed and why, attempts lost, tables loaded, who is at work on it.

    With a broker (of the flag, the variable, or the run's fleet document) also the live workers and
    loaders and the messages that wait.

    Example: sharder status 20260102T030405-a1b2c3
    """
    from sharder import preview, wishes

    return shown(preview.status_of(run_id, wishes.Wishes(**flags), os.environ), as_json=as_json)


@click.command(short_help="The runs on the stage.")
@options.stage
@click.option(
    "--limit",
    type=click.IntRange(0),
    default=50,
    show_default=True,
    metavar="N",
    help="Only the newest N; 0: all.",
)
@options.json
def runs(as_json: bool, stage: str, limit: int) -> int:
    """List the runs on the stage, the newest last: how each ended and took, or who is at work on it.

    Example: sharder runs --stage s3://lake/elt
    """
    from sharder import preview

    return shown(preview.runs(stage, os.environ, limit), as_json=as_json)


@click.command(short_help="The version of this program.")
def version() -> int:
    """Print the version.

    Example: sharder version
    """
    from importlib.metadata import version as of

    click.echo(f"sharder {of('sharder')}")
    return 0


def shown(found: Any, *, as_json: bool) -> int:
    """Print an answer: lines for people, or one JSON object per line."""
    if as_json:
        import orjson

        for document in found.documents:
            click.echo(orjson.dumps(document).decode())
    else:
        for line in found.notes:
            click.echo(line, err=True)
        for line in found.lines:
            click.echo(line)
    return 0
