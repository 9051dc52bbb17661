"""`sharder init`: a first spec that is valid for every source and destination there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import InputError
from sharder import starter, validating
from sharder.wishes import Wishes
from tests.fakes.command import Run, running


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    return running(tmp_path, monkeypatch, capfd)


PAIRS = [(s, d) for s in starter.plugins("source") for d in starter.plugins("destination")]


@pytest.mark.parametrize(("source", "destination"), PAIRS)
def test_every_pair_of_plugins_has_a_first_spec_that_is_valid(
    tmp_path: Path, source: str, destination: str
) -> None:
    choices = starter.default("source", source), starter.default("destination", destination)
    path = tmp_path / "spec.yml"
    path.write_text(starter.spec(*choices, starter.tables_of(source)))
    # What a person exports before the run; a path suits every plugin that asks for a connection.
    environment = {name: "sqlite:///x.db" for name, _ in starter.variables(choices)}
    verdict = validating.validate([str(path)], Wishes(), environment)
    assert [str(e) for e in verdict.errors] == []
    assert verdict.warnings == []


@pytest.mark.parametrize("destination", starter.plugins("destination"))
def test_options_in_comments_are_valid_when_they_are_switched_on(
    tmp_path: Path, destination: str
) -> None:
    choices = starter.default("source", "hackernews"), starter.default("destination", destination)
    text = starter.spec(*choices, ["*"])
    keys = {
        f"    # {key}:"
        for choice in choices
        for key in starter.model_of(choice.kind, choice.plugin).model_fields
    }
    switched = [
        line.replace("# ", "", 1) if any(map(line.startswith, keys)) else line
        for line in text.splitlines()
    ]
    assert switched != text.splitlines()
    path = tmp_path / "spec.yml"
    path.write_text("\n".join(switched))
    environment = {name: "postgresql://h/db" for name, _ in starter.variables(choices)}
    errors = validating.validate([str(path)], Wishes(), environment).errors
    assert [str(e) for e in errors] == []


def test_comments_say_what_the_models_say() -> None:
    choices = starter.default("source", "hackernews"), starter.default("destination", "duckdb")
    text = starter.spec(*choices, ["*"])
    assert "# item_concurrency: 100" in text
    assert "# Items fetched at once" in text
    assert "# start_time:" in text
    assert "Accepted" not in text


def test_a_secret_is_a_reference_and_never_a_value() -> None:
    choices = starter.default("source", "sql"), starter.default("destination", "postgresql")
    text = starter.spec(*choices, ["*"])
    assert "connection_string: ${SQL_CONNECTION_STRING}" in text
    assert "connection_string: ${POSTGRESQL_CONNECTION_STRING}" in text
    assert dict(starter.variables(choices)).keys() == {
        "SQL_CONNECTION_STRING", "POSTGRESQL_CONNECTION_STRING",
    }  # fmt: skip


@pytest.mark.parametrize(
    "text", ["postgresql://u:p@h/db", "a b", "", "1A", "pass-word", "${NAME}", "x=y"]
)
def test_what_may_be_a_secret_is_no_name_of_a_variable(text: str) -> None:
    assert not starter.is_variable(text)


def test_a_spec_is_written_and_the_next_commands_told(run: Run) -> None:
    code, out, err = run("init", "--source", "hackernews", "--destination", "postgresql")
    assert (code, err) == (0, "")
    path = Path("hackernews_to_postgresql.yml")
    assert "name: hackernews" in path.read_text()
    assert out.splitlines()[0] == f"wrote {path}; next:"
    assert "export POSTGRESQL_CONNECTION_STRING=" in out
    assert f"sharder submit {path}" in out


def test_a_file_is_overwritten_only_with_yes(run: Run) -> None:
    words = ("init", "--source", "hackernews", "--destination", "duckdb", "--spec-path", "a/s.yml")
    assert run(*words)[0] == 0
    Path("a/s.yml").write_text("mine")
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert "--yes" in err
    assert Path("a/s.yml").read_text() == "mine"
    assert run(*words, "--yes")[0] == 0
    assert Path("a/s.yml").read_text() != "mine"


def test_without_a_terminal_both_names_are_needed(run: Run) -> None:
    code, _, err = run("init", "--source", "hackernews")
    assert code == 2
    assert "--destination NAME; there are: " in err


def test_an_unknown_plugin_is_told_with_the_nearest(run: Run) -> None:
    code, _, err = run("init", "--source", "hackernew", "--destination", "duckdb")
    assert code == 2
    assert "did you mean 'hackernews'?" in err


def test_cloudquerys_flags_are_accepted_with_a_line_each(run: Run) -> None:
    code, _, err = run(
        "init", "--source", "aws", "--destination", "duckdb", "--yes",
        "--disable-ai", "--disable-platform", "--resume-conversation",
    )  # fmt: skip
    assert code == 0
    assert len([line for line in err.splitlines() if "does nothing" in line]) == 3


def test_a_place_that_cannot_be_written_is_said(run: Run) -> None:
    code, _, err = run(
        "init", "--source", "aws", "--destination", "duckdb", "--spec-path", "/proc/nope/s.yml"
    )
    assert code == 4
    assert "cannot be written" in err


def test_an_unknown_plugin_has_no_questions() -> None:
    with pytest.raises(InputError, match="no destination plugin 'x'"):
        starter.questions("destination", "x")
