"""`loader run` serves a fleet; `loader load` and `loader prepare` do one job by hand, on a run's own documents."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from contracts import settings
from contracts.errors import Exit, InputError, SharderError
from contracts.fleet import JOBS_PER_CHILD
from contracts.observe import log

if TYPE_CHECKING:
    from contracts.receipt import Receipt
    from contracts.stage import Stage


class NoHeart:
    """By hand nobody listens, and nobody else's attempt is a reason to wait."""

    def beat(self, run: str, job: str, attempt: str) -> None:
        del run, job, attempt

    def fresh(self, run: str, job: str) -> bool:
        del run, job
        return False

    def stop(self, run: str, job: str) -> None:
        del run, job


@click.group()
@click.version_option(package_name="sharder")
def cli() -> None:
    """Load parts into warehouses. Only this program holds their credentials."""


@cli.command()
@click.option("--broker", default="", help="Redis of the fleet; default: SHARDER_BROKER.")
@click.option(
    "--concurrency", default=1, show_default=True, help="Loads at once, one process each."
)
@click.option(
    "--grace", "grace_s", default=0.0, help="Seconds that a load may go on after SIGTERM."
)
@click.option(
    "--alive",
    envvar="SHARDER_HEARTBEAT_FILE",
    type=click.Path(path_type=Path),
    help="A file that is touched while messages are consumed, for a liveness probe.",
)
@click.option(
    "--metrics-port", default=0, help="Serve metrics for Prometheus on this port.  [default: none]"
)
@click.option(
    "--recycle",
    "jobs_per_child",
    type=click.IntRange(1),
    default=JOBS_PER_CHILD,
    show_default=True,
    help="Loads after which a process is replaced by a fresh one.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    help="Lines of text or of JSON. [env: SHARDER_LOG_FORMAT; default: text]",
)
def run(
    broker: str,
    concurrency: int,
    grace_s: float,
    alive: Path | None,
    metrics_port: int,
    jobs_per_child: int,
    log_format: str | None,
) -> int:
    """Take loads from the queue until SIGTERM."""
    from loader.tasks import serve

    found = settings.from_environment()
    log.set_up(found.log_level, log_format or found.log_format)
    broker = broker or found.broker
    if not broker:
        raise InputError(
            "there is no broker to take loads from",
            "set SHARDER_BROKER or --broker, for example redis://localhost:6379/0; "
            "without a fleet, `sharder submit` starts its own loader",
        )
    return serve(
        broker,
        concurrency=concurrency,
        grace_s=grace_s,
        alive=alive,
        metrics_port=metrics_port,
        jobs_per_child=jobs_per_child,
    )


@cli.command()
@click.argument("run_id", metavar="RUN")
@click.argument("source")
@click.argument("table")
@click.option("--destination", default="", help="Default: every destination of the source.")
@click.option("--round", "round_", default=0, help="Default: the last round of the run.")
@click.option("--stage", "stage_url", default="", help="Default: SHARDER_STAGE.")
def load(
    run_id: str, source: str, table: str, destination: str, round_: int, stage_url: str
) -> int:
    """Load one top-level table of a run here and now; repeating it changes nothing."""
    from contracts.queue import Message
    from loader.load import load as work

    stage = _stage(run_id, stage_url)
    number = round_ or max(stage.rounds(run_id), default=0)
    if not number:
        raise InputError(f"the stage {stage.store.url} has no run '{run_id}'")
    plan = stage.plan(run_id, number)
    planned = plan.table(source, table)
    names = (destination,) if destination else plan.loaded_into(planned)
    unknown = set(names) - {d.name for d in plan.destinations}
    if unknown:
        raise InputError(f"run {run_id} has no destination '{unknown.pop()}'")
    exits = [int(Exit.OK)]
    for name in names:
        message = Message("load", run_id, "", name, source, table, number)
        receipt = work(message, stage=stage, heart=NoHeart(), environment=os.environ)
        for line in report(receipt) if receipt else ():
            click.echo(line)
        exits.append(_exit(receipt))
    return max(exits)


@cli.command()
@click.argument("run_id", metavar="RUN")
@click.argument("destination")
@click.option("--stage", "stage_url", default="", help="Default: SHARDER_STAGE.")
def prepare(run_id: str, destination: str, stage_url: str) -> int:
    """Look at a destination as a submit does: can it be reached, which cursors are in it."""
    from contracts.queue import Message
    from loader.prepare import prepare as work

    stage = _stage(run_id, stage_url)
    work(Message("prepare", run_id, "", destination), stage=stage, environment=os.environ)
    found = stage.cursors(run_id, destination)
    if found is None:
        return Exit.BUG
    if found.error:
        click.echo(found.error.message, err=True)
        return found.error.exit_code
    click.echo(f"{destination}: {found.guarantee}")
    for source, at in sorted(found.last_sync.items()):
        click.echo(f"{source}: last sync {at.isoformat()}")
    for source, cursors in sorted(found.cursors.items()):
        click.echo(f"{source}: {len(cursors)} cursors")
    return Exit.OK


def report(receipt: Receipt) -> list[str]:
    """A line per table, and the sum or the error."""
    name = receipt.destination
    lines = [
        f"{name}: {t.table} {t.published} rows, {t.duplicates} duplicates, {t.stale} stale"
        for t in receipt.tables
    ]
    seconds = (receipt.ended - receipt.started).total_seconds()
    end = receipt.error or f"{receipt.published} rows, {seconds:.1f} s"
    return [*lines, f"{name}: round {receipt.round} {receipt.outcome}: {end}"]


def _exit(receipt: Receipt | None) -> int:
    if receipt is None or receipt.outcome == "failed":
        return Exit.OUTSIDE
    return Exit.PARTIAL if receipt.cells_failed else Exit.OK


def _stage(run: str, url: str) -> Stage:
    from contracts.layout import check_run
    from contracts.stage import Stage
    from contracts.store import open_store

    found = settings.from_environment()
    log.set_up(found.log_level, found.log_format)
    check_run(run)
    return Stage(open_store(url or found.stage_url))


def main() -> None:
    """Exit codes as everywhere: docs/reference/exit-codes.md."""
    try:
        sys.exit(cli.main(standalone_mode=False) or Exit.OK)
    except click.ClickException as error:
        error.show()
        sys.exit(Exit.INPUT)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(Exit.INTERRUPTED)
    except SharderError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
