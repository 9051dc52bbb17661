"""dlt, as its users run it: a resource of pages or Arrow tables into files, PostgreSQL or DuckDB."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HINTS = {
    "created": {"data_type": "timestamp"}, "updated": {"data_type": "timestamp"},
    "score": {"data_type": "double"}, "tags": {"data_type": "json"}, "doc": {"data_type": "json"},
}  # fmt: skip


def installed() -> bool:
    return importlib.util.find_spec("dlt") is not None


def has_postgres() -> bool:
    """dlt reaches PostgreSQL through psycopg2."""
    return installed() and importlib.util.find_spec("psycopg2") is not None


def _run(place: Path, destination: Any, data: Any, format_: str, mode: str = "append") -> None:
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    import dlt

    logging.getLogger("dlt").setLevel(logging.ERROR)
    shutil.rmtree(place / "work", ignore_errors=True)
    pipeline = dlt.pipeline(
        "bench",
        pipelines_dir=str(place / "work"),
        destination=destination,
        dataset_name="bench_dlt",
    )
    pipeline.run(data, write_disposition=mode, loader_file_format=format_)


def dicts_to_files(place: Path, pages: list[list[dict[str, Any]]], format_: str) -> None:
    import dlt

    target = dlt.destinations.filesystem(bucket_url=str(place / "out"))
    _run(
        place,
        target,
        dlt.resource(iter(pages), name="pages", columns=HINTS, max_table_nesting=0),
        format_,
    )


def rows_in_files(place: Path) -> int:
    """Rows that `dicts_to_files` wrote."""
    import gzip

    import pyarrow.parquet as pq

    found = [
        p
        for p in (place / "out" / "bench_dlt" / "pages").iterdir()
        if p.suffix in {".parquet", ".gz"}
    ]
    return sum(
        pq.read_metadata(p).num_rows
        if p.suffix == ".parquet"
        else gzip.decompress(p.read_bytes()).count(b"\n") - 1
        for p in found
    )


def _tables(paths: Iterable[Path]) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    for path in paths:
        table = pq.read_table(path, arrow_extensions_enabled=False)
        # dlt has neither uuid nor json, and ADBC no lists for its jsonb: they go in as bytes and texts.
        for name, as_ in {
            "_cq_id": pa.binary(),
            "_cq_parent_id": pa.binary(),
            "ref": pa.binary(),
            "doc": pa.string(),
        }.items():
            at = table.schema.get_field_index(name)
            table = table.set_column(at, name, table.column(at).cast(as_))
        at = table.schema.get_field_index("tags")
        yield table.set_column(at, "tags", pc.binary_join(table.column(at), ","))


def parts_to_duckdb(place: Path, paths: list[Path]) -> None:
    import dlt

    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    target = dlt.destinations.duckdb(str(place / "dlt.duckdb"))
    _run(place, target, dlt.resource(_tables(paths), name="items"), "parquet")


def rows_in_duckdb(place: Path) -> int:
    import duckdb

    with duckdb.connect(str(place / "dlt.duckdb")) as connection:
        (count,) = connection.execute("SELECT count(*) FROM bench_dlt.items").fetchone()
    return int(count)


def parts_to_postgres(place: Path, dsn: str, paths: list[Path]) -> None:
    import dlt

    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    target = dlt.destinations.postgres(dsn)
    _run(place, target, dlt.resource(_tables(paths), name="items"), "parquet")
