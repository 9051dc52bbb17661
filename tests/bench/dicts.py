"""Pages of 1,000 dicts → Parquet and CSV: the worker against hand-written pyarrow, and against dlt.

Both sides make Arrow of a page in the same way (one struct array, the fastest there is), so what is
compared is what the worker adds: `_cq_*` columns, budget, manifest, checksums, atomic files, a commit.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from contracts import types
from contracts.table import Column, Table, with_cq_columns
from tests.bench.pairs import Result, compare, cpu
from tests.bench.runs import CLIENT, part_paths, work
from tests.bench.scale import Scale
from tests.fakes.runs import SYNC_TIME

NAMES = (
    "id",
    "uid",
    "name",
    "kind",
    "region",
    "created",
    "updated",
    "score",
    "count",
    "on",
    "tags",
    "doc",
)
_DOC = pa.struct(
    [
        ("owner", pa.string()),
        ("size", pa.int64()),
        ("state", pa.struct([("code", pa.int32()), ("name", pa.string())])),
    ]
)
TABLE = Table(
    "pages",
    tuple(
        Column(name, type_)
        for name, type_ in zip(NAMES, (
            pa.int64(), pa.string(), pa.string(), pa.string(), pa.string(), types.TIMESTAMP, types.TIMESTAMP,
            pa.float64(), pa.int64(), pa.bool_(), pa.list_(pa.string()), _DOC,
        ), strict=True)
    ),
)  # fmt: skip
STRUCT = pa.struct([c.field for c in TABLE.columns])
ROW_GROUP_BYTES = 16 << 20
_START = datetime(2024, 1, 1, tzinfo=UTC)


def pages(records: int, size: int = 1000) -> list[list[dict[str, Any]]]:
    return [
        [record(i) for i in range(start, min(start + size, records))]
        for start in range(0, records, size)
    ]


def record(i: int) -> dict[str, Any]:
    return {
        "id": i,
        "uid": f"{i * 2654435761 % (1 << 64):016x}-0000-4000",
        "name": f"resource number {i}",
        "kind": f"kind{i % 40}",
        "region": ("eu-west-1", "us-east-1", "ap-south-1")[i % 3],
        "created": _START + timedelta(seconds=i),
        "updated": _START + timedelta(seconds=2 * i),
        "score": i * 1.1,
        "count": i % 1000,
        "on": i % 2 == 0,
        "tags": [f"team:{i % 7}", "env:prod"],
        "doc": {"owner": f"user{i % 100}", "size": i, "state": {"code": i % 16, "name": "running"}},
    }


def batch_of(page: list[dict[str, Any]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_struct_array(pa.array(page, STRUCT))


def ours(place: Path, given: list[list[dict[str, Any]]], format_: str) -> Path:
    """The worker's road: rows → stamp → writer → store → commit."""
    stage = work(
        place, (TABLE,), lambda _work: ((TABLE.name, batch_of(p)) for p in given), format_=format_
    )
    (path,) = part_paths(stage)
    return path


def stamped(page: list[dict[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    n = len(page)
    ids = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(16), n, [None, pa.py_buffer(os.urandom(16 * n))]
    )
    own = [
        pa.repeat(pa.scalar(SYNC_TIME, types.TIMESTAMP), n),
        pa.repeat(pa.scalar("src"), n),
        pa.ExtensionArray.from_storage(types.UUID, ids),
        pa.nulls(n, types.UUID),
        pa.repeat(pa.scalar(CLIENT), n),
    ]
    return pa.RecordBatch.from_arrays([*own, *batch_of(page).columns], schema=schema)


def groups(given: list[list[dict[str, Any]]], schema: pa.Schema) -> Iterator[pa.Table]:
    """Row groups of the same size as the worker's."""
    held: list[pa.RecordBatch] = []
    size = 0
    for page in given:
        batch = stamped(page, schema)
        held.append(batch)
        size += batch.nbytes
        if size >= ROW_GROUP_BYTES:
            yield pa.Table.from_batches(held, schema)
            held, size = [], 0
    if held:
        yield pa.Table.from_batches(held, schema)


REPEATED = ["_cq_sync_time", "_cq_source_name", "_cq_client_id", "kind", "region"]


def by_hand_parquet(path: Path, given: list[list[dict[str, Any]]]) -> Path:
    """Everything known beforehand: schema, codec, which columns are worth a dictionary."""
    schema = with_cq_columns(TABLE).schema
    with pq.ParquetWriter(
        path, schema, compression="zstd", compression_level=1, use_dictionary=REPEATED
    ) as writer:
        for table in groups(given, schema):
            writer.write_table(table, row_group_size=table.num_rows)
    return path


def by_hand_csv(path: Path, given: list[list[dict[str, Any]]]) -> Path:
    """pyarrow's writer; what it cannot write becomes text page by page, nested values by orjson."""
    schema = with_cq_columns(TABLE).schema
    first = True
    with path.open("wb") as file:
        for page in given:
            batch = stamped(page, schema)
            columns = [_csv_column(c) for c in batch.columns[:-2]]
            columns += [
                pa.array([orjson.dumps(r[n]).decode() for r in page]) for n in ("tags", "doc")
            ]
            options = pyarrow.csv.WriteOptions(include_header=first, quoting_style="all_valid")
            pyarrow.csv.write_csv(
                pa.RecordBatch.from_arrays(columns, names=schema.names), file, options
            )
            first = False
    return path


def _csv_column(column: pa.Array) -> pa.Array:
    if isinstance(column.type, pa.BaseExtensionType):
        return pa.array(
            [v if v is None else v.hex() for v in column.storage.to_pylist()], pa.string()
        )
    return column


def content(path: Path) -> tuple[int, str]:
    """Rows and a digest of everything but the random ids."""
    import hashlib

    if path.suffix == ".csv":
        read = pyarrow.csv.ReadOptions(block_size=1 << 24)
        table = pyarrow.csv.read_csv(path, read, pyarrow.csv.ParseOptions(newlines_in_values=True))
        table = table.select(["id", "uid", "name", "count"])
    else:
        table = pq.read_table(path).drop_columns(["_cq_id"])
    digest = hashlib.sha256()
    for start in range(0, table.num_rows, 10_000):
        digest.update(repr(table.slice(start, 10_000).to_pylist()).encode())
    return table.num_rows, digest.hexdigest()


HAND = {"parquet": by_hand_parquet, "csv": by_hand_csv}
DLT_AIMS = {"parquet": 15.0, "csv": 8.0}


def bench(scale: Scale) -> Iterator[Result]:
    given = pages(scale.records)
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)

        def clean() -> None:
            for found in place.iterdir():
                shutil.rmtree(found) if found.is_dir() else found.unlink()

        for format_, aim in (("parquet", 0.8), ("csv", 0.8)):
            system = partial(ours, place / "stage", given, format_)
            by_hand = partial(HAND[format_], place / f"hand.{format_}", given)
            found = (system(), by_hand())
            sizes = [path.stat().st_size / 1e6 for path in found]
            assert content(found[0]) == content(found[1])
            yield compare(
                f"dict pages → {format_}", system, by_hand, against="hand-written pyarrow", aim=aim,
                rounds=scale.rounds, clock=cpu, before=clean,
                detail=f"{scale.records:,} records; {sizes[0]:.1f} and {sizes[1]:.1f} MB",
            )  # fmt: skip
            clean()
        from tests.bench import with_dlt

        if not with_dlt.installed():
            return
        for format_ in ("parquet", "csv"):
            dlt = partial(with_dlt.dicts_to_files, place / "dlt", given, format_)
            clean()
            dlt()
            assert with_dlt.rows_in_files(place / "dlt") == scale.records
            yield compare(
                f"dict pages → {format_}", partial(ours, place / "stage", given, format_), dlt, against="dlt",
                aim=DLT_AIMS[format_], rounds=scale.slow_rounds, clock=cpu, before=clean,
                detail=f"{scale.records:,} records",
            )  # fmt: skip
