"""The options that commands share: each is defined once, with its help and its environment variable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from sharder.deal import Part

F = TypeVar("F", bound=Callable[..., Any])


class Seconds(click.ParamType[float]):
    """`90`, `20m`, `1h30m` → seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        from contracts.spec import seconds

        try:
            return seconds(float(value) if str(value).replace(".", "", 1).isdecimal() else value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


stage = click.option(
    "--stage",
    metavar="URL",
    default="",
    help="Where runs live: a directory, s3://…, gs://… or az://…. "
    "[env: SHARDER_STAGE; default: the spec's, or ./.sharder/stage]",
)
broker = click.option(
    "--broker",
    metavar="URL",
    default="",
    help="redis://host:6379/0; without one all runs here. [env: SHARDER_BROKER]",
)
workers = click.option(
    "--workers",
    type=click.IntRange(1),
    metavar="N",
    help="Worker processes when there is no broker. [env: SHARDER_WORKERS; default: one per core]",
)
deadline = click.option(
    "--deadline",
    type=Seconds(),
    metavar="TIME",
    help="What is not extracted by then (45m) fails; the rest is loaded.",
)
json = click.option("--json", "as_json", is_flag=True, help="JSON lines instead of sentences.")
_MOVED = f"{__name__}.spec"  # paths that were taken for the value of another option


class Refresh(click.Option):
    """`--full-refresh [TABLE]`: a value that is a file or a directory is the SPEC argument instead."""

    def process_value(self, ctx: click.Context, value: Any) -> tuple[str, ...]:
        given: tuple[str, ...] = super().process_value(ctx, value) or ()
        paths = [v for v in given if "/" in v or v.endswith((".yml", ".yaml")) or Path(v).exists()]
        ctx.meta[_MOVED] = paths
        return tuple(dict.fromkeys("*" if v in paths else v for v in given))


class Paths(click.Argument):
    """SPEC..., with what stood behind `--full-refresh`."""

    def process_value(self, ctx: click.Context, value: Any) -> tuple[str, ...]:
        if moved := ctx.meta.get(_MOVED):
            value = (*moved, *(value if isinstance(value, tuple) else ()))
        return tuple(super().process_value(ctx, value))


class Shard(click.ParamType["Part"]):
    """`n/m`."""

    name = "n/m"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Part:
        from sharder.deal import parse

        try:
            return parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


full_refresh = click.option(
    "--full-refresh",
    cls=Refresh,
    is_flag=False,
    flag_value="*",
    multiple=True,
    is_eager=True,
    metavar="[TABLE]",
    help="Read incremental tables from the beginning: this one (* is any text), or all. "
    "Nothing is deleted.",
)
no_migrate = click.option(
    "--no-migrate",
    "migrate",
    is_flag=True,
    default=True,
    flag_value=False,
    help="Create and alter no table: what does not fit fails its load.",
)
shard = click.option(
    "--shard",
    "part",
    type=Shard(),
    metavar="N/M",
    help="Only every M-th table, for M submits side by side. A fleet needs none: it splits by account.",
)
run_id = click.option(
    "--run-id",
    "--invocation-id",
    "run_id",
    metavar="ID",
    default="",
    help="Name the run. If there is such a run it goes on, or, if it is closed, its summary is shown; "
    "with another spec or other flags it is refused.",
)
cloudquery_exit_codes = click.option(
    "--cloudquery-exit-codes",
    is_flag=True,
    expose_value=False,
    help="0 even if tables failed, 1 if the run was aborted. [env: SHARDER_CLOUDQUERY_EXIT_CODES]",
)
summary_location = click.option(
    "--summary-location",
    metavar="FILE",
    default="",
    help="Append a JSON line per source and destination to FILE.",
)
tables_metrics_location = click.option(
    "--tables-metrics-location",
    metavar="FILE",
    default="",
    help="Keep a table of how far every table is in FILE.",
)
_backfill = (
    click.option(
        "--backfill",
        metavar="START..END",
        help="One run per interval, oldest first, each once. For example 2026-01-01..2026-02-01.",
    ),
    click.option("--every", metavar="TIME", help="Length of an interval: 6h, 1mo. [default: 1d]"),
    click.option(
        "--keep-going",
        is_flag=True,
        help="A failed interval does not keep the later ones from running.",
    ),
)
_narrowing = (
    click.option("--source", "sources", multiple=True, metavar="NAME", help="Only this source."),
    click.option(
        "--table", "tables", multiple=True, metavar="NAME", help="Only this table; * is any text."
    ),
    click.option("--client", "clients", multiple=True, metavar="ID", help="Only this client."),
)
spec = click.argument("spec", cls=Paths, nargs=-1, required=True, metavar="SPEC...")


def narrowing(command: F) -> F:
    """--source, --table, --client, each of them as often as wanted."""
    return several(_narrowing)(command)


def backfill(command: F) -> F:
    """--backfill and what goes with it."""
    return several(_backfill)(command)


def several(options: Sequence[Callable[[F], F]]) -> Callable[[F], F]:
    """Options in the order in which the help shows them."""

    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate
