"""64 Parquet parts → files of a destination, against a hand-written loop over pyarrow that writes the same columns.

The loop knows no clients, no cells and no types but those of this table. One file per table, and files of 10,000
rows as CloudQuery's default has them.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from contracts import types
from tests.bench.pairs import Result, compare
from tests.bench.runs import destination, item_run, part_paths
from tests.bench.scale import Scale
from tests.bench.to_duckdb import forget, loaded
from tests.fakes.runs import RUN

ZEROS = {"batch_size": 0, "batch_size_bytes": 0, "batch_timeout": 0}


def flat(batch: pa.RecordBatch) -> pa.Table:
    """What a person would write: extension types by their text, JSON by its storage."""
    from contracts.stagefile.text import to_text

    columns = [
        to_text(c) if types.extension_of(c.type) == "uuid" else c.storage if isinstance(c, pa.ExtensionArray) else c
        for c in batch.columns
    ]  # fmt: skip
    return pa.table(columns, names=batch.schema.names)


def by_hand_parquet(paths: list[Path], out: Path) -> None:
    writer = None
    for path in paths:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                table = flat(batch)
                writer = writer or pq.ParquetWriter(out, table.schema, compression="snappy")
                writer.write_table(table)
    if writer:
        writer.close()


def by_hand_csv(paths: list[Path], out: Path) -> None:
    from contracts.stagefile.text import to_text

    with out.open("wb") as sink:
        for n, path in enumerate(paths):
            with pq.ParquetFile(path) as file:
                for m, batch in enumerate(file.iter_batches()):
                    table = flat(batch)
                    for at, field in enumerate(table.schema):
                        if pa.types.is_nested(field.type):
                            texts = pa.chunked_array(
                                [to_text(c) for c in table[at].chunks], pa.string()
                            )
                            table = table.set_column(at, field.name, texts)
                    options = pyarrow.csv.WriteOptions(include_header=not n and not m)
                    pyarrow.csv.write_csv(table, sink, options)


HAND: dict[str, Callable[[list[Path], Path], None]] = {
    "parquet": by_hand_parquet,
    "csv": by_hand_csv,
}


def rows_in(out: Path, format_: str) -> int:
    if format_ == "parquet":
        return sum(pq.read_metadata(f).num_rows for f in out.rglob("*.parquet*"))
    return sum(pyarrow.csv.read_csv(f).num_rows for f in out.rglob("*.csv*"))


def bench(scale: Scale) -> Iterator[Result]:
    rows = scale.parts * scale.part_rows
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        stage = item_run(place / "stage", scale.parts, scale.part_rows)
        paths = part_paths(stage)
        out = place / "out"

        def anew() -> None:
            shutil.rmtree(out, ignore_errors=True)
            forget(stage, RUN)

        for format_, hand in HAND.items():
            for what, limits in (("one file", ZEROS), ("files of 10,000 rows", {})):
                spec: dict[str, Any] = {"path": str(out), "format": format_, **limits}
                destination(stage, "cloudquery/file", spec, "append")
                anew()
                assert loaded(stage) == rows
                assert rows_in(out, format_) == rows
                yield compare(
                    f"parts → {format_}, {what}", partial(loaded, stage),
                    partial(hand, paths, place / f"hand.{format_}"),
                    against="a loop over pyarrow, one file", aim=0.7, rounds=scale.rounds, before=anew,
                    detail=f"{rows:,} rows in {scale.parts} parts",
                )  # fmt: skip
