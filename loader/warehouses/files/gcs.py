"""`cloudquery/gcs`: a bucket of Google Cloud Storage."""

from __future__ import annotations

import os

from contracts.store.places import GcsPlace, open_place
from loader.warehouses.files import dialects
from loader.warehouses.files.options import GcsOptions as Options
from loader.warehouses.files.warehouse import FileWarehouse

__all__ = ["DIALECT", "Options", "open"]

DIALECT = dialects.PARQUET


def open(options: Options) -> FileWarehouse:  # noqa: A001  # every engine module has this factory
    """Raises MissingExtra, InputError, Denied."""
    place = GcsPlace(options.bucket, options.service_account_key_json)
    return FileWarehouse(open_place(place, os.environ), options)
