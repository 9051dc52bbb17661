"""`s3` keeps the contract of files on a real S3 simulator; and what is its own: Athena, empty files, the probe."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from contracts import types
from contracts.errors import Denied, Permanent
from contracts.store import Store, open_store
from contracts.table import Column
from loader.warehouses import registry
from tests.fakes.files import objects, rows_of
from tests.fakes.servers import S3
from tests.fakes.stage import StageRun, rows, shard, table
from tests.suites.files import FilesSuite

pytestmark = pytest.mark.s3


@pytest.fixture
def bucket(s3: S3) -> str:
    return s3.create("plain")


@pytest.fixture
def store(bucket: str) -> Store:
    return open_store(f"s3://{bucket}")


@pytest.fixture
def base(bucket: str) -> dict[str, Any]:
    return {"bucket": bucket, "region": "us-east-1", "use_path_style": True}


@pytest.fixture
def prefix() -> str:
    return "somewhere/"


class TestS3(FilesSuite):
    plugin = "s3"


def loaded(tmp_path, spec, *tree, cells=None, **kwargs) -> Any:
    run = StageRun(tmp_path / "stage", *tree, spec=spec, path="cloudquery/s3", **kwargs)
    run.round([shard(cells or {"a": rows(1)})])
    return run.load()


def test_keys_of_json_values_are_made_fit_for_athena(tmp_path, base, store):
    typed = table("items", Column("id", pa.int64(), primary_key=True), Column("c", types.JSON))
    tag = '{"aws:x": {"a-b": [{"é": 1}]}, "a.b": 1, "a_b": 2}'
    for format_ in ("json", "parquet"):
        spec = {**base, "path": format_, "format": format_, "athena": True}
        run = {"cells": {"a": ({"id": 1, "c": tag},)}, "run": f"run-{format_}"}
        assert loaded(tmp_path, spec, typed, **run).error == ""
        (row,) = rows_of(objects(store, f"{format_}/"))
        found = json.loads(row["c"]) if format_ == "parquet" else row["c"]
        assert found == {"aws_x": {"a_b": [{"_": 1}]}, "a_b_2": 1, "a_b": 2}


def test_a_table_without_rows_can_have_a_file_with_its_schema(tmp_path, base, store):
    spec = {
        **base, "path": "lake", "format": "parquet", "write_empty_objects_for_empty_tables": True,
    }  # fmt: skip
    assert loaded(tmp_path, spec, cells={"a": ()}).error == ""
    (key,) = objects(store)
    assert key.startswith("lake/items.parquet.")
    assert rows_of(objects(store)) == []


def test_the_probe_is_written_and_taken_away(base, store, s3):
    s3.requests()
    registry.open_warehouse("s3", {**base, "path": "lake", "format": "csv"}).prepare()
    written = [path for method, path in s3.requests() if method == "PUT"]
    assert len(written) == 1
    assert written[0].endswith("lake/TEST_TABLE.csv.TEST_UUID")
    assert objects(store) == {}


def test_test_write_false_writes_nothing(base, s3):
    options = {**base, "path": "lake", "format": "csv", "test_write": False}
    s3.requests()
    registry.open_warehouse("s3", options).prepare()
    assert s3.requests() == []


def test_a_bucket_that_refuses_is_told_before_the_run(base, s3):
    options = {**base, "bucket": s3.create("denied"), "path": "lake", "format": "csv"}
    with pytest.raises(Denied, match="denied"):
        registry.open_warehouse("s3", options).prepare()


def test_a_bucket_that_is_missing_is_told_before_the_run(base):
    options = {**base, "bucket": "nowhere-at-all", "path": "lake", "format": "csv"}
    with pytest.raises(Permanent, match="'nowhere-at-all' does not exist"):
        registry.open_warehouse("s3", options).prepare()
