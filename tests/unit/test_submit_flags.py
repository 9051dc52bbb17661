"""The flags that wrappers written for CloudQuery give: each does what it says there, or says why not."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import pytest

from contracts.errors import Exit
from sharder.cli import anywhere, exits, main, runs

HERE = Path(__file__).parents[2]
SPEC = """kind: source
spec:
  name: files
  path: cloudquery/file
  version: v1.2.3
  tables: ["*"]
  destinations: [w]
  spec:
    tables:
      - {name: one, path: ./one.csv, primary_key: [id]}
      - {name: two, path: ./two.csv, primary_key: [id]}
---
kind: destination
spec:
  name: w
  path: cloudquery/duckdb
  version: v6.0.0
  spec: {connection_string: ./w.duckdb}
"""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command in a directory with a spec.yml and two files; exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.setenv("SHARDER_WORKERS", "1")
    for name in [n for n in os.environ if n.startswith("SHARDER_LOG")] + [exits.VARIABLE]:
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "spec.yml").write_text(SPEC)
    for name in ("one", "two"):
        (tmp_path / f"{name}.csv").write_text("id,v\n1,a\n2,b\n")

    def command(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(words)
        out, err = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        assert "Traceback" not in err
        return ended.value.code, out, err

    return command


def parsed(*words: str) -> dict[str, object]:
    return runs.submit.make_context("submit", list(words)).params


@pytest.mark.parametrize(
    ("words", "tables", "spec"),
    [
        (["spec.yml"], (), ("spec.yml",)),
        (["--full-refresh", "spec.yml"], ("*",), ("spec.yml",)),
        (["spec.yml", "--full-refresh"], ("*",), ("spec.yml",)),
        (["--full-refresh", "specs/", "--table", "t"], ("*",), ("specs/",)),
        (["--full-refresh", "nope.yaml"], ("*",), ("nope.yaml",)),
        (["--full-refresh", "a_*", "spec.yml"], ("a_*",), ("spec.yml",)),
        (["spec.yml", "--full-refresh=b", "--full-refresh", "a"], ("b", "a"), ("spec.yml",)),
        (["--full-refresh", "spec.yml", "more.yml"], ("*",), ("spec.yml", "more.yml")),
    ],
    ids=" ".join,
)
def test_full_refresh_takes_tables_and_leaves_the_spec_alone(
    words: list[str], tables: Sequence[str], spec: Sequence[str]
) -> None:
    found = parsed(*words)
    assert (found["full_refresh"], found["spec"]) == (tables, spec)


def test_a_directory_behind_full_refresh_is_the_spec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "specs").mkdir()
    assert parsed("--full-refresh", "specs")["spec"] == ("specs",)


def test_full_refresh_without_any_spec_asks_for_one() -> None:
    with pytest.raises(click.MissingParameter):
        parsed("--full-refresh")


@pytest.mark.parametrize(
    ("shard", "says"),
    [("1", "not of the form n/m"), ("a/b", "must be integers"), ("0/2", "count from 1"), ("3/2", "n is above m")],
)  # fmt: skip
def test_a_wrong_shard_is_told(run: Run, shard: str, says: str) -> None:
    code, out, err = run("submit", "spec.yml", "--shard", shard)
    assert (code, out) == (Exit.INPUT, "")
    assert says in err


def test_a_start_says_where_rows_come_from_and_go_to(run: Run) -> None:
    _, _, err = run("submit", "spec.yml", "--stage", "ftp://x")
    assert err.splitlines()[0] == "files (cloudquery/file@v1.2.3) -> w (cloudquery/duckdb@v6.0.0)"


def test_an_invocation_id_that_cannot_be_a_run_id_comes_with_one_that_can(run: Run) -> None:
    code, _, err = run("submit", "spec.yml", "--invocation-id", "manual__2026-01-01T00:00:00+00:00")
    assert code == Exit.INPUT
    assert "for example manual__2026-01-01T00-00-00-00-00" in err


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Exit.OK, 0),
        (Exit.PARTIAL, 0),
        (Exit.INPUT, 1),
        (Exit.OUTSIDE, 1),
        (Exit.LEASE, 1),
        (Exit.INTERRUPTED, 1),
        (Exit.BUG, 2),
    ],
)
def test_every_exit_code_has_one_of_cloudquerys(ours: Exit, theirs: int) -> None:
    assert exits.translated(ours) == theirs


def test_a_bug_is_cloudquerys_crash_and_keeps_its_trace(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> int:
        raise RuntimeError("a bug")

    assert exits.of(broken, cloudquery=True) == 2
    assert "RuntimeError: a bug" in capsys.readouterr().err
    with pytest.raises(RuntimeError):
        exits.of(broken, cloudquery=False)


def test_a_log_file_that_cannot_be_written_ends_the_command(run: Run) -> None:
    code, _, err = run("submit", "spec.yml", "--log-file-name", "no/such/x.log")
    assert code == Exit.INPUT
    assert "the log file 'no/such/x.log' cannot be written: No such file" in err


def test_what_ends_a_command_is_logged(run: Run, tmp_path: Path) -> None:
    run("submit", "nope.yml", "--log-file-name", "x.log")
    assert "ERROR" in (tmp_path / "x.log").read_text()
    assert "there is no file nope.yml" in (tmp_path / "x.log").read_text()


def test_flags_without_effect_are_accepted_and_explained(run: Run) -> None:
    for flag, why in anywhere.WITHOUT_EFFECT.items():
        words = [flag] if flag == "--cq-columns-not-null" else [flag, "x"]
        _, _, err = run("submit", "nope.yml", *words)
        assert f"note: {flag} has no effect: {why}" in err
        assert "there is no file nope.yml" in err


def test_words_behind_two_dashes_are_left_alone() -> None:
    words = ["submit", "--log-console", "--", "--log-level", "x"]
    assert anywhere.arranged(words) == ["--log-console", "submit", "--", "--log-level", "x"]
