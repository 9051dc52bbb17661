"""What each format can do: suggest a schema from a sample, and read a file or a part of it.

Readers get an open, seekable file and yield batches as the format delivers them; `worker.sources.file.source`
makes them conform to the frozen schema and names file and column when they do not.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import pyarrow as pa

from worker.sources.file.options import Csv

Batches = Generator[pa.RecordBatch, None, None]


@dataclass(frozen=True)
class Request:
    """One file to read. `schema`: the wanted columns; `bounds`: a slice, as `cuts` made it."""

    path: str
    file: BinaryIO
    schema: pa.Schema
    batch_bytes: int
    csv: Csv
    ignore_extra: bool
    bounds: Mapping[str, Any] | None = None


class Format(Protocol):
    """A module with these functions."""

    @staticmethod
    def infer(path: str, file: BinaryIO, sample_bytes: int, csv: Csv) -> pa.Schema:
        """Names and types that the beginning of a file suggests; a column of nulls only has type null."""

    @staticmethod
    def read(request: Request) -> Batches: ...

    @staticmethod
    def cuts(path: str, file: BinaryIO, size: int, n: int, csv: Csv) -> list[dict[str, Any]]:
        """About n slices that are the whole file together; empty if it cannot be cut."""
