"""`worker run` serves a fleet; `worker shard RUN SHARD` does one shard by hand, on a run's own documents."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from contracts import settings
from contracts.errors import Exit, InputError, SharderError, missing_extra
from contracts.fleet import JOBS_PER_CHILD
from contracts.observe import log

if TYPE_CHECKING:
    from contracts.commit import Commit


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
    """Extract shards: stateless, as many as you like."""


@cli.command()
@click.option("--broker", default="", help="Redis of the fleet; default: SHARDER_BROKER.")
@click.option(
    "--concurrency", default=1, show_default=True, help="Shards at once, one process each."
)
@click.option(
    "--grace", "grace_s", default=0.0, help="Seconds that a shard may go on after SIGTERM."
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
    help="Shards after which a process is replaced by a fresh one.",
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
    """Take shards from the queue until SIGTERM."""
    from worker.tasks import serve

    found = settings.from_environment()
    log.set_up(found.log_level, log_format or found.log_format)
    broker = broker or found.broker
    if not broker:
        raise InputError(
            "there is no broker to take shards from",
            "set SHARDER_BROKER or --broker, for example redis://localhost:6379/0; "
            "without a fleet, `sharder submit` starts its own workers",
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
@click.argument("shard_id", metavar="SHARD")
@click.option("--stage", "stage_url", default="", help="Default: SHARDER_STAGE.")
@click.option("--dry-run", is_flag=True, help="Write no commit, and remove the parts again.")
def shard(run_id: str, shard_id: str, stage_url: str, dry_run: bool) -> int:
    """Work on one shard here and now, and print what it wrote."""
    from contracts.layout import check_run, parse_shard_id
    from contracts.queue import Message
    from contracts.stage import Stage
    from contracts.store import open_store
    from worker.extract import extract
    from worker.limits.process import limits_of_process

    found = settings.from_environment()
    log.set_up(found.log_level, found.log_format)
    parse_shard_id(shard_id)
    commit = extract(
        Message("shard", check_run(run_id), shard=shard_id),
        stage=Stage(open_store(stage_url or found.stage_url)),
        heart=NoHeart(),
        environment=os.environ,
        limits=limits_of_process(found.broker),
        dry_run=dry_run,
    )
    if commit is None:
        return Exit.OUTSIDE
    for line in report(commit):
        click.echo(line)
    ends = [*commit.cells, *([commit.verdict] if commit.verdict else [])]
    return Exit.PARTIAL if any(c.outcome == "failed" for c in ends) else Exit.OK


@cli.command(context_settings={"ignore_unknown_options": True})
@click.argument("source")
@click.argument("again", nargs=-1, metavar="[serve]")
@click.option("--network", type=click.Choice(["unix", "tcp"]), default="tcp", show_default=True)
@click.option(
    "--address",
    default="localhost:7777",
    show_default=True,
    help="HOST:PORT, or the path of a socket.",
)
@click.option(
    "--log-level",
    type=click.Choice(["trace", "debug", "info", "warn", "error"]),
    default="info",
    show_default=True,
)
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), default="json", show_default=True
)
@click.option("--no-sentry", is_flag=True, help="Accepted for CloudQuery's sake; does nothing.")
@click.option("--license", "license_", default="", help="Accepted for CloudQuery's sake.")
@click.option("--otel-endpoint", default="", help="Accepted for CloudQuery's sake.")
@click.option("--otel-endpoint-insecure", is_flag=True, help="Accepted for CloudQuery's sake.")
def serve(
    source: str,
    again: tuple[str, ...],
    network: str,
    address: str,
    log_level: str,
    log_format: str,
    **moot: object,
) -> None:
    """Offer SOURCE to CloudQuery's CLI, as a plugin of protocol v3.

    SOURCE is one of ours (aws, file, hackernews, sql), module:factory of one in Python, or module:Class of
    CloudQuery's Python SDK. The CLI adds its own arguments, which begin with `serve` once more.

    Example: worker serve hackernews serve --network unix --address /tmp/hn.sock
    """
    del moot
    try:
        from worker.serve import logs, server
        from worker.serve.address import parse
    except ModuleNotFoundError as error:
        raise missing_extra(error.name or "grpc", "plugins", "`worker serve`") from error

    logs.set_up(log_level, log_format)
    if unknown := [word for word in again if word != "serve"]:
        log.event("arguments_ignored", arguments=unknown)
    register = server.served(source, log_level=log_level, log_format=log_format)
    server.run(register, parse(network, address))


def report(commit: Commit) -> list[str]:
    """Parts and cells, a line each, and the sum."""
    lines = [f"part {p.key} {p.rows} rows {p.bytes} bytes" for p in commit.parts]
    ends = [*commit.cells, *([commit.verdict] if commit.verdict else [])]
    for cell in ends:
        why = f" {cell.reason}: {cell.message}" if cell.outcome != "ok" else ""
        lines.append(f"cell {cell.table} {cell.client or '*'} {cell.outcome} {cell.rows} rows{why}")
    seconds = (commit.ended - commit.started).total_seconds()
    lines.append(f"{commit.rows} rows, {commit.bytes} bytes, {seconds:.1f} s")
    return lines


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
