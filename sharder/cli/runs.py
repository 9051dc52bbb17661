"""Commands that run something: submit, resume, retry."""

from __future__ import annotations

from typing import Any

import click

from sharder.cli import options


@click.command(short_help="Run a spec: plan, extract, load, and wait for the end.")
@options.spec
@options.narrowing
@options.stage
@options.broker
@options.workers
@options.deadline
@options.full_refresh
@options.shard
@options.no_migrate
@options.run_id
@options.summary_location
@options.tables_metrics_location
@options.backfill
@click.option("--detach", is_flag=True, help="Leave the run to a `sharder watch` on the fleet.")
@options.cloudquery_exit_codes
@options.json
def submit(
    spec: tuple[str, ...],
    as_json: bool,
    backfill: str | None,
    every: str | None,
    keep_going: bool,
    **flags: Any,
) -> int:
    """Run the sources of SPEC (files, or directories of them) into their destinations.

    Shows progress on stderr, and at the end tables, rows, seconds, what failed, and the command that
    tries it again. Interrupted or killed, the run goes on with `sharder resume RUN`. `sharder sync` is
    the same command, with CloudQuery's name. Log options: `sharder --help`.

    Example: sharder submit spec.yml --source aws --table 'aws_ec2_*'
    """
    if (every or keep_going) and not backfill:
        raise click.UsageError("--every and --keep-going belong to --backfill START..END")
    from sharder import report, run, wishes
    from sharder.cli.interrupt import interruptible

    with interruptible() as environment, report.opened(json=as_json, environment=environment) as to:
        if not backfill:
            return run.submit(spec, wishes.Wishes(**flags), environment, to)
        from sharder.backfilling import backfill as run_intervals

        return run_intervals(
            spec, backfill, every or "1d", wishes.Wishes(**flags), environment, to, keep_going=keep_going
        )  # fmt: skip


@click.command(short_help="Go on with a run whose submitter is gone.")
@click.argument("run_id", metavar="RUN")
@options.stage
@options.broker
@options.workers
@options.summary_location
@options.cloudquery_exit_codes
@options.json
def resume(run_id: str, as_json: bool, **flags: Any) -> int:
    """Watch RUN to its end: nothing that has been extracted or loaded is done again.

    Of a run that is closed only the summary is shown.

    Example: sharder resume 20260102T030405-a1b2c3
    """
    from sharder import report, run, wishes
    from sharder.cli.interrupt import interruptible

    with interruptible() as environment, report.opened(json=as_json, environment=environment) as to:
        return run.resume(run_id, wishes.Wishes(**flags), environment, to)


@click.command(short_help="Try again what did not end ok.")
@click.argument("run_id", metavar="RUN")
@options.stage
@options.broker
@options.workers
@options.deadline
@options.summary_location
@options.cloudquery_exit_codes
@options.json
def retry(run_id: str, as_json: bool, **flags: Any) -> int:
    """Add a round to RUN for the cells that did not end ok, with the same sync time.

    Rows that were loaded stay, and nothing is loaded twice.

    Example: sharder retry 20260102T030405-a1b2c3
    """
    from sharder import report, run, wishes
    from sharder.cli.interrupt import interruptible

    with interruptible() as environment, report.opened(json=as_json, environment=environment) as to:
        return run.retry(run_id, wishes.Wishes(**flags), environment, to)
