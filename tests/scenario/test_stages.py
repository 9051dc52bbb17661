"""Whole runs whose stage is a bucket of another cloud: the same spec, the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from contracts.errors import Exit
from contracts.store import open_store
from tests.fakes import specs
from tests.fakes.contents import of_duckdb
from tests.fakes.fleet import Fleet
from tests.fakes.servers import Azurite, Gcs

pytestmark = pytest.mark.timeout(180)

ROWS = 1000


def submit(home: Path, stage: str, environment: Mapping[str, str]) -> None:
    """Two tables of files into DuckDB, with the stage at the URL."""
    for name, first in (("people", 0), ("places", ROWS)):
        lines = "".join(f"{n},{name} {n}\n" for n in range(first, first + ROWS))
        (home / f"{name}.csv").write_text(f"id,name\n{lines}")
    tables = [{"name": name, "path": f"./{name}.csv"} for name in ("people", "places")]
    source = specs.source("files", {"tables": tables}, plugin="file")
    (home / "spec.yml").write_text(specs.spec(source, specs.duckdb()))
    with Fleet(home, {**environment, "SHARDER_STAGE": stage}) as fleet:
        fleet.sharder("submit", "spec.yml")
    assert not (home / ".sharder" / "stage").exists()


def check(home: Path, stage: str) -> None:
    tables = of_duckdb(home / "w.duckdb")
    assert sorted(row["name"] for row in tables["people"]) == sorted(
        f"people {n}" for n in range(ROWS)
    )
    assert len(tables["places"]) == ROWS
    (run,) = {e.key.split("/")[1] for e in open_store(stage).list("runs/")}
    keys = [e.key for e in open_store(stage).list(f"runs/{run}/")]
    assert sum("/data/" in key and key.endswith(".parquet") for key in keys) >= 2
    assert sum("/loads/" in key for key in keys) == 2


@pytest.mark.azure
def test_a_run_with_its_stage_in_azure(tmp_path: Path, azurite: Azurite, azure_url: str) -> None:
    submit(tmp_path, azure_url, azurite.environment())
    check(tmp_path, azure_url)


def test_a_run_with_its_stage_in_gcs(tmp_path: Path, gcs: Gcs, gcs_url: str) -> None:
    submit(tmp_path, gcs_url, gcs.environment())
    check(tmp_path, gcs_url)


def test_a_stage_that_ignores_conditions_is_refused_before_anything_is_read(
    tmp_path: Path, gcs: Gcs
) -> None:
    source = specs.source("files", {"path": "./*.csv"}, plugin="file")
    (tmp_path / "spec.yml").write_text(specs.spec(source, specs.duckdb()))
    stage = f"gs://{gcs.create('deaf')}/stage"
    with Fleet(tmp_path, {**gcs.environment(), "SHARDER_STAGE": stage}) as fleet:
        done = fleet.sharder("submit", "spec.yml", expect=Exit.OUTSIDE)
    assert "ignores 'create only' conditions" in done.err
    assert not list(open_store(stage).list(""))
