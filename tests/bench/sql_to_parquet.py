"""A PostgreSQL table → Parquet: the sql source against bare ADBC, with the same writer on both sides.

Ours also makes what bare does not: `_cq_*` columns with an id from the key, checksums, a manifest.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.queue import Message
from contracts.stage import Stage
from contracts.store import open_store
from tests.bench.pairs import Result, compare
from tests.bench.runs import part_paths
from tests.bench.scale import Scale
from tests.fakes.servers import Postgres
from worker.sources.base import Context

ROW_GROUP = 122_880
CONTEXT = Context("bench", lambda: datetime.now(UTC), lambda _seconds: None, lambda: False)


def seed(dsn: str, table: str, rows: int) -> None:
    """Eleven columns with numeric, jsonb, uuid and an array, once."""
    import psycopg

    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"drop table if exists {table}")
        connection.execute(
            f"create table {table} (id bigint primary key, ts timestamptz, cat text, amount numeric(12,2), qty int,"
            " f float8, note text, doc jsonb, u uuid, tags text[], flag bool)"
        )
        connection.execute(
            f"insert into {table} select i, timestamptz '2024-01-01' + i * interval '1 second', 'cat' || (i % 50),"
            " (i % 100000) / 100.0, i % 1000, i * 1.1, 'note number ' || i || ' ' || md5(i::text),"
            " jsonb_build_object('a', i, 'b', 'x' || i % 10), md5(i::text)::uuid, array['t' || i % 7, 'u'], i % 2 = 0"
            f" from generate_series(1, {rows}) i"
        )
        connection.execute(f"analyze {table}")


def write(batches, schema: pa.Schema, path: Path) -> int:
    rows = 0
    with pq.ParquetWriter(
        path, schema, compression="zstd", compression_level=1, use_dictionary=False
    ) as writer:
        held: list[pa.RecordBatch] = []
        for batch in batches:
            rows += batch.num_rows
            held.append(batch)
            if sum(b.num_rows for b in held) >= ROW_GROUP:
                writer.write_table(pa.Table.from_batches(held, schema))
                held = []
        if held:
            writer.write_table(pa.Table.from_batches(held, schema))
    return rows


def bare(dsn: str, table: str, path: Path) -> int:
    """What one would write by hand: opaque numerics as their text, everything else as it comes."""
    from adbc_driver_postgresql import dbapi

    def storage(batch: pa.RecordBatch) -> pa.RecordBatch:
        arrays = [
            a.storage if isinstance(a.type, pa.BaseExtensionType) else a for a in batch.columns
        ]
        return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)

    with dbapi.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute(f"select * from {table}")
        with cursor.fetch_record_batch() as reader:
            plain = storage(pa.RecordBatch.from_pylist([], schema=reader.schema)).schema
            return write(map(storage, reader), plain, path)


def planned(dsn: str, table: str, place: Path) -> tuple[Stage, Message]:
    """A plan whose only shard is the table, on a new stage."""
    from tests.fakes.runs import write_run
    from worker.sources.sql import open as open_source

    shutil.rmtree(place, ignore_errors=True)
    stage = Stage(open_store(str(place)))
    spec = {"connection_string": dsn}
    with closing(open_source(spec, CONTEXT)) as source:
        found = next(t for t in source.tables() if t.name == table)
        clients = list(source.clients(found).ids)
    (message,) = write_run(stage, (found,), clients, path="cloudquery/sql", spec=spec)
    return stage, message


def ours(stage: Stage, message: Message) -> int:
    """The worker's road with the sql source: rows → stamp → writer → store → commit; rows of the commit."""
    from tests.fakes.runs import Steady
    from worker.extract import extract

    commit = extract(message, stage=stage, heart=Steady(), environment={})
    assert commit is not None
    assert [c.outcome for c in commit.cells] == ["ok"], commit.cells or commit.verdict
    return commit.rows


def content(paths: list[Path]) -> tuple[int, int]:
    """Rows and an order-free sum of hashes of the columns that both sides have in one form."""
    import duckdb

    names = ", ".join(f"'{p}'" for p in paths)
    found = duckdb.execute(
        "SELECT count(*), sum(hash(id, ts, cat, CAST(CAST(amount AS DECIMAL(12,2)) AS VARCHAR), qty, f, note,"
        f" CAST(doc AS VARCHAR), tags, flag)) FROM read_parquet([{names}])"
    ).fetchone()
    assert found
    return found[0], found[1]


def bench(scale: Scale) -> Iterator[Result]:
    """With a key (two hashes per row make its id) and without one (random ids)."""
    import psycopg

    with Postgres() as server, tempfile.TemporaryDirectory() as directory:
        dsn, place = server.create(), Path(directory)
        seed(dsn, "keyed", scale.sql_rows)
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("create table keyless as table keyed")
            connection.execute("analyze keyless")
        for table, what in (("keyed", "SQL → Parquet"), ("keyless", "SQL → Parquet, no key")):
            yield measured(scale, dsn, table, place, what)


def measured(scale: Scale, dsn: str, table: str, place: Path, what: str) -> Result:
    hand = place / "hand.parquet"
    shard: list[tuple[Stage, Message]] = []

    def plan() -> None:
        shard[:] = [planned(dsn, table, place / "stage")]

    plan()
    assert ours(*shard[0]) == bare(dsn, table, hand) == scale.sql_rows
    assert content(part_paths(shard[0][0])) == content([hand])
    return compare(
        what, lambda: ours(*shard[0]), lambda: bare(dsn, table, hand), against="bare ADBC + ParquetWriter",
        aim=0.85, rounds=scale.rounds, before=plan, detail=f"PostgreSQL, {scale.sql_rows:,} rows",
    )  # fmt: skip
