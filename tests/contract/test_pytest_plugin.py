"""`pytest --sharder-source`, in the directory of somebody who writes a source."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.suites.source import SourceSuite

pytestmark = pytest.mark.slow

SHOP = Path(__file__).parents[1] / "fakes" / "shop.py"
Pytest = Callable[..., subprocess.CompletedProcess[str]]


SUITE = sum(name.startswith("test_") for name in dir(SourceSuite))


@pytest.fixture
def run(tmp_path: Path) -> Pytest:
    (tmp_path / "acme.py").write_text(SHOP.read_text())

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        quiet = ("-q", "-p", "no:cacheprovider", "-p", "no:randomly")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_"))}
        return subprocess.run(
            [str(Path(sys.executable).with_name("pytest")), *quiet, *words],
            cwd=tmp_path, env=inherited, capture_output=True, text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    return run


def test_the_suite_runs_beside_the_authors_own_tests_in_parallel_too(run: Pytest, tmp_path: Path):
    (tmp_path / "test_own.py").write_text("def test_own(): pass\n")
    done = run("--sharder-source", "acme:Shop", "-n", "2", "-W", "error")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{SUITE + 1} passed" in done.stdout


def test_what_a_source_does_wrong_fails_the_test_that_says_so(run: Pytest, tmp_path: Path):
    spec = tmp_path / "spec.json"
    spec.write_text('{"trouble": {"north": "denied"}}')
    done = run("--sharder-source", "acme:Shop", "--sharder-spec", str(spec), "--sharder-table", "shop_orders")  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILED ::TestSource::test_every_cell_ends_once_and_ok" in done.stdout
    assert "HTTP Error 403" in done.stdout
    assert f"2 failed, {SUITE - 2} passed" in done.stdout


def test_a_table_without_rows_is_named(run: Pytest):
    words = ("--sharder-source", "acme:Shop", "--sharder-spec", '{"orders": 0}', "-k", "frozen_schema")  # fmt: skip
    assert run(*words).returncode == 1
    names = ("shop_orders", "shop_lines", "shop_taxes", "shop_events", "shop_notes")
    done = run(*words, *(f"--sharder-empty={name}" for name in names))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--sharder-source", "acme:Shops"), "did you mean 'Shop'?"),
        (("--sharder-source", "acme:Shop", "--sharder-spec", "[1]"), "--sharder-spec [1]"),
        (("--sharder-source", "acme:Shop", "--sharder-spec", "{"), "--sharder-spec {"),
    ],
)
def test_wrong_options_are_a_usage_error(run: Pytest, words: tuple[str, ...], says: str):
    done = run(*words)
    assert done.returncode == 4
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_pytest_that_did_not_ask_is_left_alone(run: Pytest, tmp_path: Path):
    (tmp_path / "test_own.py").write_text(
        "import sys\n"
        "def test_own():\n"
        "    heavy = {'pyarrow', 'pydantic', 'contracts', 'worker.sources.base', 'grpc'}\n"
        "    assert not heavy & sys.modules.keys()\n"
        "    assert 'worker.sources.python.pytest_plugin' in sys.modules\n"
    )
    done = run("-p", "no:hypothesis", "-p", "no:inline_snapshot")
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
