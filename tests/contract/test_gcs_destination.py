"""`gcs` keeps the contract of files, on a server that does what the reference of Google's XML API says."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.errors import InputError
from contracts.store import Store, open_store
from loader.warehouses import registry
from tests.fakes.servers import Gcs
from tests.suites.files import FilesSuite


@pytest.fixture
def bucket(gcs: Gcs) -> str:
    return gcs.create()


@pytest.fixture
def store(bucket: str) -> Store:
    return open_store(f"gs://{bucket}")


@pytest.fixture
def base(bucket: str) -> dict[str, Any]:
    return {"bucket": bucket}


@pytest.fixture
def prefix() -> str:
    return "somewhere/"


class TestGcs(FilesSuite):
    plugin = "gcs"
    formats = ("json", "parquet")


def test_a_key_of_a_service_account_must_be_json_and_is_not_repeated():
    options = {"bucket": "b", "path": "lake", "format": "csv"}
    with pytest.raises(InputError, match="service_account_key_json") as told:
        registry.open_warehouse("gcs", {**options, "service_account_key_json": "hunter2"})
    assert "hunter2" not in str(told.value)
