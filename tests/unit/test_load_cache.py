"""Open warehouses of a loader process: kept between loads, but never a file that others wait for."""

from __future__ import annotations

import duckdb

from contracts.spec import Destination
from loader.cache import Warehouses
from loader.documents import OpenDestination
from loader.warehouses.duckdb import Options


def destination(path):
    spec = {"connection_string": str(path)}
    document = Destination(name="d", path="cloudquery/duckdb", spec=spec)
    return OpenDestination(document, Options.model_validate(spec))


def test_a_released_file_can_be_opened_by_others_and_again_by_us(tmp_path):
    warehouses = Warehouses()
    found = destination(tmp_path / "w.duckdb")
    with warehouses.use("run", found) as first:
        assert first.describe("nothing") is None
    warehouses.release()
    duckdb.connect(str(tmp_path / "w.duckdb"), read_only=True).close()
    with warehouses.use("run", found) as second:
        assert second is not first
    warehouses.close()
