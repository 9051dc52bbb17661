"""Parquet: the schema from the footer, batches from row groups, slices of whole row groups."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, BinaryIO

import pyarrow as pa

from contracts.errors import Permanent
from worker.sources.exact import normalise
from worker.sources.file.base import Batches, Request
from worker.sources.file.options import Csv

_MIN_ROWS, _MAX_ROWS = 256, 131_072


def _open(file: BinaryIO) -> Any:
    from pyarrow import parquet

    # Without pre-buffering and with a read buffer a column chunk is read page by page.
    return parquet.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)


def infer(path: str, file: BinaryIO, sample_bytes: int, csv: Csv) -> pa.Schema:
    del path, sample_bytes, csv
    schema = _open(file).schema_arrow
    return pa.schema([pa.field(f.name, normalise(f.type)) for f in schema])


def read(request: Request) -> Batches:
    reader = _open(request.file)
    meta = reader.metadata
    groups = range(meta.num_row_groups)
    if request.bounds is not None:
        if request.bounds["groups"] != meta.num_row_groups:
            raise Permanent("the file has changed since it was cut into slices", "start a new run")
        groups = groups[request.bounds["from"] : request.bounds["to"]]
    wanted = set(request.schema.names)
    present = reader.schema_arrow.names
    columns = [n for n in present if n in wanted] if request.ignore_extra else present
    size = sum(meta.row_group(i).total_byte_size for i in groups)
    rows = sum(meta.row_group(i).num_rows for i in groups)
    per_batch = request.batch_bytes * rows // max(size, 1)
    yield from reader.iter_batches(
        batch_size=max(_MIN_ROWS, min(_MAX_ROWS, per_batch)),
        row_groups=list(groups),
        columns=columns,
        use_threads=False,
    )


def cuts(path: str, file: BinaryIO, size: int, n: int, csv: Csv) -> list[dict[str, Any]]:
    del path, size, csv
    groups = _open(file).metadata.num_row_groups
    edges = sorted({groups * i // n for i in range(n + 1)})
    if len(edges) < 3:
        return []
    return [{"by": "groups", "from": a, "to": b, "groups": groups} for a, b in pairwise(edges)]
