"""Commands about tables: their documents, and making them in the destinations."""

from __future__ import annotations

import os
from typing import Any

import click

from sharder.cli import options
from sharder.cli.look import shown


@click.command(short_help="The tables of a source or spec; documents of them.")
@click.argument("source", nargs=-1, required=True, metavar="FILE|DIR|NAME...")
@click.option(
    "--output-dir",
    metavar="DIR",
    default="",
    help="Where documents go, in one directory per source.  [default: cq-docs]",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["json", "markdown"]),
    default="json",
    show_default=True,
    help="DIR/SOURCE/__tables.json, or a page per table and a README.",
)
@click.option(
    "--filter",
    "filter_",
    type=click.Choice(["all", "spec"]),
    default="all",
    show_default=True,
    help="Every table of the sources, or those that the spec selects.",
)
@options.json
def tables(
    source: tuple[str, ...], output_dir: str, format_: str, filter_: str, as_json: bool
) -> int:
    """List the tables of a source by its NAME (aws, hackernews), or document those of a spec's sources.

    Of spec files the tables are written below --output-dir, as CloudQuery lays them out; a NAME is
    printed, and written too where --output-dir is given. With --json nothing is written: a line per table.

    Example: sharder tables spec.yml --format markdown --filter spec
    """
    from sharder import tables as work

    wish = work.Wish(output_dir, format_, selected=filter_ == "spec", printed=as_json)
    return shown(work.tables(source, wish, os.environ), as_json=as_json)


@click.command(short_help="Create and alter the tables of a spec; loads nothing.")
@options.spec
@options.stage
@options.broker
@options.json
def migrate(spec: tuple[str, ...], as_json: bool, **flags: Any) -> int:
    """Make the selected tables of all sources of SPEC in all of their destinations, as a load would.

    Nothing is extracted. `migrate_mode: forced` may rebuild a table; rows that cannot come along are
    counted. A line per table; exit code 3 if some tables are refused, 4 if all are.

    Example: sharder migrate spec.yml
    """
    from sharder import migrate as work
    from sharder import report, wishes
    from sharder.cli.interrupt import interruptible

    with interruptible() as environment, report.opened(json=as_json, environment=environment) as to:
        found, code = work.migrate(spec, wishes.Wishes(**flags), environment, to)
    return shown(found, as_json=as_json) or int(code)
