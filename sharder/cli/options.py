"""The options that commands share: each is defined once, with its help and its environment variable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

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
    help="Where runs live: a directory or s3://bucket/prefix. "
    "[env: SHARDER_STAGE; default: the fleet document's, else ./.sharder/stage]",
)
broker = click.option(
    "--broker",
    metavar="URL",
    default="",
    help="redis://host:6379/0. Without one everything runs on this machine. [env: SHARDER_BROKER]",
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
    help="What has not been extracted by then fails; the rest is loaded. For example 45m.",
)
json = click.option("--json", "as_json", is_flag=True, help="JSON lines instead of sentences.")
full_refresh = click.option(
    "--full-refresh",
    is_flag=True,
    help="Read incremental tables from the beginning; nothing is deleted.",
)
run_id = click.option(
    "--run-id",
    metavar="ID",
    default="",
    help="Name the run. If there is such a run it goes on, or, if it is closed, its summary is shown.",
)
_narrowing = (
    click.option("--source", "sources", multiple=True, metavar="NAME", help="Only this source."),
    click.option(
        "--table", "tables", multiple=True, metavar="NAME", help="Only this table; * is any text."
    ),
    click.option("--client", "clients", multiple=True, metavar="ID", help="Only this client."),
)
spec = click.argument("spec", nargs=-1, required=True, metavar="SPEC...")


def narrowing(command: F) -> F:
    """--source, --table, --client, each of them as often as wanted."""
    return several(_narrowing)(command)


def several(options: Sequence[Callable[[F], F]]) -> Callable[[F], F]:
    """Options in the order in which the help shows them."""

    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate
