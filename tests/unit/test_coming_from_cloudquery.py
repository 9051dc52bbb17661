"""The page for CloudQuery's users answers every command, flag and variable of theirs, and promises none that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from sharder.cli import sharder
from sharder.cli.anywhere import WITHOUT_EFFECT

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "coming-from-cloudquery.md").read_text()

COMMANDS = (
    "sync", "migrate", "tables", "validate-config", "test-connection", "init", "plugin install",
    "plugin publish", "addon", "login", "logout", "switch", "completion",
)  # fmt: skip
FLAGS = (
    "--cq-dir", "--data-dir", "--log-level", "--log-format", "--log-file-name", "--log-file-overwrite",
    "--no-log-file", "--log-console", "--telemetry-level", "--invocation-id", "--color", "--license",
    "--no-migrate", "--summary-location", "--tables-metrics-location", "--shard", "--cq-columns-not-null",
)  # fmt: skip
VARIABLES = (
    "CLOUDQUERY_API_KEY", "CLOUDQUERY_API_URL", "CLOUDQUERY_ACCOUNTS_URL", "CQ_TELEMETRY_LEVEL",
    "CQ_NO_TELEMETRY", "CQ_DISABLE_PLATFORM_DESTINATION",
)  # fmt: skip


def flags() -> set[str]:
    """Every option of every command, and of the program itself."""
    commands = [sharder, *sharder.commands.values()]
    return {name for c in commands for p in c.params for name in p.opts} | WITHOUT_EFFECT.keys()


@pytest.mark.parametrize("word", [*COMMANDS, *FLAGS, *VARIABLES])
def test_a_word_of_cloudquery_is_answered(word: str) -> None:
    assert f"`{word}" in PAGE


@pytest.mark.parametrize("flag", FLAGS)
def test_a_flag_of_cloudquery_is_taken(flag: str) -> None:
    assert flag in flags()


def test_no_flag_is_promised_that_is_not_there() -> None:
    assert set(re.findall(r"`(--[a-z-]+)", PAGE)) <= flags()


def test_our_commands_are_there() -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith("| – | `plan`"))
    context = click.Context(sharder)
    for name in re.findall(r"`([a-z]+)`", row):
        assert sharder.get_command(context, name), name
