"""Commands that tend to runs of others: cancel, watch."""

from __future__ import annotations

import os
from typing import Any

import click

from sharder.cli import options


@click.command(short_help="End a run: what is extracted is loaded, the rest fails.")
@click.argument("run_id", metavar="RUN")
@options.stage
def cancel(run_id: str, stage: str) -> int:
    """Ask whoever watches RUN to end it. If nobody does, `sharder resume RUN` ends it.

    Example: sharder cancel 20260102T030405-a1b2c3
    """
    from sharder import run

    click.echo(run.cancel(run_id, stage, os.environ))
    return 0


@click.command(short_help="Watch detached runs, for ever (a service of the fleet).")
@options.stage
@options.broker
@click.option("--all", "everything", is_flag=True, help="Also runs that their submitters watch.")
@click.option("--once", is_flag=True, help="End when no run is open.")
@options.json
def watch(as_json: bool, everything: bool, once: bool, **flags: Any) -> int:
    """Watch the open runs on the stage that nobody else watches: hand out, load, close.

    Example: sharder watch --stage s3://lake/elt --broker redis://redis:6379/0
    """
    from sharder import report, tender, wishes
    from sharder.cli.interrupt import interruptible

    with interruptible() as environment, report.opened(json=as_json, environment=environment) as to:
        return tender.tend(
            wishes.Wishes(**flags), environment, to, everything=everything, once=once
        )
