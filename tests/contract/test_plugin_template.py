"""`sharder init --plugin-template`: what it writes is a project that is green."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from contracts import specfile
from contracts.errors import InputError
from sharder import authoring
from sharder.check import check
from tests.suites.source import SourceSuite

pytestmark = pytest.mark.slow

SUITE = sum(name.startswith("test_") for name in dir(SourceSuite))
PROGRAMS = Path(sys.executable).parent


def run(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_"))}
    return subprocess.run(
        [str(PROGRAMS / words[0]), *words[1:]],
        cwd=directory, env=inherited, capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Path:
    done = run(tmp_path, "sharder", "init", "--plugin-template", "mine")
    assert done.returncode == 0, done.stderr
    assert "wrote mine/todo.py" in done.stdout
    return tmp_path / "mine"


def test_its_tests_pass_and_its_types_are_right(project: Path):
    done = run(project, "pytest", "-q", "-W", "error", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{SUITE + 3} passed" in done.stdout
    typed = run(project, "mypy", "--strict", "--follow-imports=silent", "--cache-dir", os.devnull, "todo.py")  # fmt: skip
    assert typed.returncode == 0, typed.stdout


def test_its_spec_is_valid(project: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(project)
    loaded = specfile.load([project / "spec.yml"], {"TODO_TOKEN": "t"}, datetime.now(UTC))
    assert check(loaded) == ()
    assert loaded.warnings == ()


def test_what_is_there_is_not_overwritten(tmp_path: Path):
    (tmp_path / "todo.py").write_text("mine")
    with pytest.raises(InputError, match="is there already"):
        authoring.write(tmp_path)
    assert (tmp_path / "todo.py").read_text() == "mine"
    authoring.write(tmp_path, overwrite=True)
    assert (tmp_path / "todo.py").read_text() != "mine"


def test_the_project_is_complete_and_nothing_but_it_is_written(tmp_path: Path):
    names = {str(p.relative_to(tmp_path)) for p in authoring.write(tmp_path)}
    tests = {"tests/conftest.py", "tests/test_todo.py"}
    assert names == {"README.md", "pyproject.toml", "spec.yml", "todo.py", *tests}
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())
    assert "sharder" in project["project"]["dependencies"]
