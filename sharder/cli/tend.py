"""Commands that tend to runs of others and to the fleet: cancel, watch, gc, doctor."""

from __future__ import annotations

import os
from pathlib import Path
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


@click.command(short_help="Remove old runs and what crashes left on the stage.")
@options.stage
@click.option(
    "--keep",
    type=options.Seconds(),
    default="7d",
    show_default=True,
    metavar="TIME",
    help="Closed runs younger than that stay.",
)
@click.option("--dry-run", "dry", is_flag=True, help="Only say what would go.")
@options.json
def gc(as_json: bool, stage: str, keep: float, dry: bool) -> int:
    """Remove closed runs after their time, runs that never had a plan, and leftovers of crashes.

    Leftovers are parts of lost attempts in closed runs, uploads and temporary files older than a day, dead
    leases, and records of backfills that have not moved for a year. An open run is never touched, nor a
    run that somebody is at work on. It may be killed at any point, and two at once do no harm.

    Example: sharder gc --stage s3://lake/elt --keep 30d --dry-run
    """
    from sharder import place, storeclock, sweep, wishes
    from sharder.cli.interrupt import interruptible
    from sharder.cli.look import shown

    def say(line: str) -> None:
        click.echo(line, err=True)

    with interruptible() as environment:
        at = place.open_stage(wishes.Wishes(stage=stage).over(environment))
        clock = wishes.now if dry else storeclock.clock(at.store)
        one = sweep.Sweep(at, environment, clock(), say, keep_s=keep, dry=dry, clock=clock)
        return shown(sweep.told(list(one.run()), dry=dry), as_json=as_json)


@click.command(short_help="Watch detached runs, for ever (a service of the fleet).")
@options.stage
@options.broker
@click.option("--all", "everything", is_flag=True, help="Also runs that their submitters watch.")
@click.option("--once", is_flag=True, help="End when no run is open.")
@click.option(
    "--alive",
    envvar="SHARDER_HEARTBEAT_FILE",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A file that is touched while the loop turns, for a liveness probe.",
)
@click.option(
    "--metrics-port",
    default=0,
    metavar="PORT",
    help="Serve metrics for Prometheus on this port.  [default: none]",
)
@options.json
def watch(
    as_json: bool,
    everything: bool,
    once: bool,
    alive: Path | None,
    metrics_port: int,
    **flags: Any,
) -> int:
    """Watch the runs on the stage that nobody else watches: hand out, load, close, tell the summary.

    It may be killed at any point, and several of them do no harm. What it cannot read it tells once.

    Example: sharder watch --stage s3://lake/elt --broker redis://redis:6379/0
    """
    from contracts.observe import metrics
    from sharder import report, tender, wishes
    from sharder.cli.interrupt import interruptible

    if metrics_port:
        metrics.serve(metrics_port)
    with interruptible() as environment, report.opened(json=as_json, environment=environment) as to:
        return tender.tend(
            wishes.Wishes(**flags), environment, to, everything=everything, once=once, alive=alive
        )


@click.command(short_help="Whether runs can be had here; if not, how to mend it.")
@click.argument("spec", nargs=-1, metavar="[SPEC]...")
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
def doctor(spec: tuple[str, ...], as_json: bool, timeout: float, **flags: Any) -> int:
    """Look at this installation, the stage, the broker and, with SPEC, its sources and destinations.

    A line per check: ok, warning or failure, what is wrong, and how to mend it. Checked are versions and
    extras, what commits rest on, clocks, memory and encryption of the broker, live workers and loaders and
    their releases, runs that nobody finishes, and what crashes left. Exit code 0 without a failure, 2 if
    only the spec or the installation is wrong, else 4.

    Example: sharder doctor spec.yml --broker redis://redis:6379/0
    """
    from sharder import doctor as at
    from sharder import wishes
    from sharder.cli.interrupt import interruptible
    from sharder.cli.look import shown

    def say(line: str) -> None:
        click.echo(line, err=True)

    with interruptible() as environment:
        found = list(at.examine(spec, wishes.Wishes(**flags), environment, say, patience_s=timeout))
    shown(at.shown(found), as_json=as_json)
    return int(at.exit_code(found))
