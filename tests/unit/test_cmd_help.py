"""Help screens fit a screen and show an example; what is not a command is answered with what is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from sharder.cli import COMPLETE, sharder
from sharder.cli.group import HUB
from sharder.cli.reference import reference
from tests.fakes.command import ROOT, Run, running
from tests.fakes.specs import duckdb, source, spec

LINES, COLUMNS = 40, 100


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    return running(tmp_path, monkeypatch, capfd)


def every(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from every(command, (*path, name))
        else:
            yield (*path, name)


COMMANDS = list(every(sharder))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_a_help_screen_fits_and_shows_an_example(
    run: Run, path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    code, out, _ = run(*path, "--help")
    lines = out.splitlines()
    assert code == 0
    assert len(lines) <= LINES, f"{len(lines)} lines"
    assert max(map(len, lines)) <= COLUMNS
    assert f"Example: {' '.join(('sharder', *path))}" in " ".join(out.split())


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_option_is_in_the_reference(path: tuple[str, ...]) -> None:
    command: click.Command = sharder
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    page = reference()
    for option in (p for p in command.params if isinstance(p, click.Option)):
        assert option.hidden or option.help, f"{path} {option.opts} has no help"
        assert f"`{option.opts[0]}" in page


def test_the_commands_stand_in_the_order_of_their_use(run: Run) -> None:
    out = run("--help")[1]
    at = [out.index(f"\n  {name} ") for name in ("init", "validate-config", "submit", "status")]
    assert at == sorted(at)


@pytest.mark.parametrize(("typed", "meant"), [("submti", "submit"), ("synk", "sync"), ("validate", "validate-config")])  # fmt: skip
def test_a_misspelt_command_is_answered_with_the_nearest(run: Run, typed: str, meant: str) -> None:
    code, out, err = run(typed)
    assert (code, out) == (2, "")
    assert f"Did you mean '{meant}'?" in err


def test_a_command_like_no_other_leads_to_the_list(run: Run) -> None:
    assert "`sharder --help` lists all" in run("qqqq")[2]


@pytest.mark.parametrize("name", sorted(HUB))
def test_commands_of_cloudquerys_hub_say_that_there_is_none(run: Run, name: str) -> None:
    code, _, err = run(name)
    assert code == 2
    assert "no hub and no account" in err


def test_sync_is_submit(run: Run) -> None:
    Path("spec.yml").write_text("kind: [")
    assert run("sync", "spec.yml") == run("submit", "spec.yml")


def test_the_version_is_a_flag_too(run: Run) -> None:
    assert run("--version") == run("version")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_a_shell_gets_its_completion_script(run: Run, shell: str) -> None:
    code, out, _ = run("completion", shell)
    assert code == 0
    assert COMPLETE in out


def test_a_shell_that_asks_is_answered_with_commands_and_options() -> None:
    def asked(words: str, at: int) -> str:
        return subprocess.run(
            [sys.executable, "-c", "from sharder.cli import main; main()"],
            env={**os.environ, "PYTHONPATH": str(ROOT), COMPLETE: "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(at)},
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip

    assert "plain,validate-config" in asked("sharder val", 1)
    assert "plain,--output-dir" in asked("sharder tables --out", 2)


def test_plugins_of_sharder_need_no_installation(run: Run) -> None:
    Path("spec.yml").write_text(spec(source("hackernews", {}), duckdb()))
    code, out, _ = run("plugin", "install", "spec.yml")
    assert code == 0
    assert out.count("nothing to install") == 2
