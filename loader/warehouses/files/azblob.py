"""`cloudquery/azblob`: a container of Azure Blob Storage."""

from __future__ import annotations

import os

from contracts.store.places import AzurePlace, open_place
from loader.warehouses.files import dialects
from loader.warehouses.files.options import AzureOptions as Options
from loader.warehouses.files.warehouse import FileWarehouse

__all__ = ["DIALECT", "Options", "open"]

DIALECT = dialects.PARQUET


def open(options: Options) -> FileWarehouse:  # noqa: A001  # every engine module has this factory
    """Raises MissingExtra, InputError, Denied."""
    place = AzurePlace(options.storage_account, options.container)
    return FileWarehouse(open_place(place, os.environ), options)
