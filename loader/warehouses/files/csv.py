"""`csv`: the destination `file` with `format: csv`."""

from __future__ import annotations

from loader.warehouses.files import dialects, file
from loader.warehouses.files.options import CsvOptions as Options
from loader.warehouses.files.warehouse import FileWarehouse

__all__ = ["DIALECT", "Options", "open"]

DIALECT = dialects.CSV


def open(options: Options) -> FileWarehouse:  # noqa: A001  # every engine module has this factory
    return file.open(options)
