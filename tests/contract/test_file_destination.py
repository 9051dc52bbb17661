"""`file` and `csv` keep the contract of files; and what is their own: directories, nothing left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from contracts.errors import InputError
from contracts.store import Store
from contracts.store.local import LocalStore
from loader.warehouses import registry
from tests.fakes.stage import StageRun, rows, shard
from tests.suites.files import DialectsSuite, FilesSuite


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return LocalStore(tmp_path / "out")


@pytest.fixture
def base() -> dict[str, Any]:
    return {}


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    return f"{tmp_path}/out/"


class TestFile(FilesSuite, DialectsSuite):
    plugin = "file"


class TestCsv(FilesSuite, DialectsSuite):
    plugin = "csv"
    formats = ("csv", "csv.gz")


def test_csv_needs_no_format(tmp_path):
    run = StageRun(tmp_path / "stage", spec={"path": f"{tmp_path}/out"}, path="csv")
    run.round([shard({"a": rows(1)})])
    assert run.load().error == ""
    (file,) = (tmp_path / "out").rglob("*.*")
    assert file.read_text().startswith('"_cq_sync_time","_cq_source_name"')


def test_a_directory_holds_nothing_but_the_files(tmp_path):
    run = StageRun(
        tmp_path / "stage",
        spec={"path": f"{tmp_path}/out", "format": "json"},
        path="cloudquery/file",
    )
    run.round([shard({"a": rows(1)})])
    run.load()
    (file,) = (tmp_path / "out").iterdir()
    assert file.name.startswith("items.json.")


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "taken").write_text("")
    warehouse = registry.open_warehouse(
        "file", {"path": f"{tmp_path}/taken/below", "format": "json"}
    )
    with pytest.raises(Exception, match="taken"):
        warehouse.prepare()


def test_options_are_validated_without_a_store():
    with pytest.raises(InputError, match="path"):
        registry.open_warehouse("file", {"format": "csv"})
