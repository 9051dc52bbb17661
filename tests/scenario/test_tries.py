"""The script of a recipe with the program itself: what a scheduler sees, try after try."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
import yaml

from contracts.errors import Exit
from tests.fakes import specs
from tests.fakes.contents import of_duckdb
from tests.fakes.fleet import Fleet
from tests.fakes.servers import ROOT

pytestmark = pytest.mark.timeout(180)

(TASK,) = yaml.safe_load((ROOT / "examples/recipes/kestra/flow.yaml").read_text())["tasks"]
Try = Callable[..., int]


@pytest.fixture
def denied(embedded: Fleet) -> Path:
    """Who is denied; and the spec that asks them."""
    file = embedded.home / "denied"
    file.write_text("")
    source = {
        "kind": "source",
        "spec": {
            "name": "books",
            "path": "test/ledger",
            "version": "v1.0.0",
            "tables": ["ledger0"],
            "destinations": ["w"],
            "spec": {"rows": 3, "denied": str(file)},
        },
    }
    (embedded.home / "spec.yml").write_text(specs.spec(source, specs.duckdb("${WAREHOUSE}")))
    return file


@pytest.fixture
def a_try(embedded: Fleet, denied: Path) -> Try:
    def run(warehouse: str = "./w.duckdb") -> int:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {"PATH": path, "RUN_ID": "nightly-20260102T020000", "WAREHOUSE": warehouse}
        script = ["bash", "-e", "-u", "-o", "pipefail", "-c", TASK["commands"][0]]
        done = subprocess.run(
            script,
            cwd=embedded.home,
            env={**embedded.environment, **environment},
            capture_output=True,
            text=True,
        )
        assert "Traceback" not in done.stdout, done.stdout
        return done.returncode

    return run


def rows(fleet: Fleet) -> int:
    return len(of_duckdb(fleet.home / "w.duckdb").get("ledger0", ()))


def test_an_account_that_is_denied_fails_the_try_and_the_next_one_brings_only_it(
    embedded: Fleet, denied: Path, a_try: Try
) -> None:
    denied.write_text("bob")
    assert a_try() == Exit.PARTIAL
    assert rows(embedded) == 6
    denied.write_text("ann cid")  # whoever is asked again would now be denied
    assert a_try() == Exit.OK
    assert rows(embedded) == 9
    assert a_try() == Exit.OK  # and again, when there is nothing left to do
    lines = (embedded.home / "summary.jsonl").read_bytes().splitlines()
    assert [s["round"] for s in map(orjson.loads, lines)] == [1, 2, 3]


def test_nothing_at_all_is_loaded_and_the_next_try_brings_everything(
    embedded: Fleet, denied: Path, a_try: Try
) -> None:
    denied.write_text("ann bob cid")
    assert a_try() == Exit.OUTSIDE
    denied.write_text("")
    assert a_try() == Exit.OK
    assert rows(embedded) == 9


def test_a_warehouse_that_is_away_before_there_is_a_plan_is_found_by_a_later_try(
    embedded: Fleet, denied: Path, a_try: Try
) -> None:
    assert a_try("/proc/w.duckdb") == Exit.OUTSIDE
    assert a_try() == Exit.OK
    assert rows(embedded) == 9


def test_wrong_input_stays_wrong_input(embedded: Fleet, denied: Path, a_try: Try) -> None:
    spec = embedded.home / "spec.yml"
    spec.write_text(spec.read_text().replace("ledger0", "ledgre0"))
    assert a_try() == Exit.INPUT
