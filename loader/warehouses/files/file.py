"""`cloudquery/file`: a directory on the loader's machine."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from contracts.store.local import LocalStore
from loader.warehouses.files import dialects
from loader.warehouses.files.options import FileOptions as Options
from loader.warehouses.files.warehouse import FileWarehouse

__all__ = ["DIALECT", "Options", "open"]

DIALECT = dialects.PARQUET


def open(options: Options) -> FileWarehouse:  # noqa: A001  # every engine module has this factory
    """The directory before the path's first placeholder is made with the first file."""
    return FileWarehouse(_Directory(Path(options.directory)), options)


class _Directory(LocalStore):
    """A directory that people look into: what it was written through does not stay."""

    def close(self) -> None:
        with suppress(OSError):  # another process may be writing, or nothing was written
            (self.root / ".tmp").rmdir()
