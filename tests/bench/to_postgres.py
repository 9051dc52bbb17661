"""64 Parquet parts → PostgreSQL: the loader against a raw binary COPY (pgpq) of the same files, and dlt.

Raw and ours go into logged tables, each in one transaction, on the tests' server (on disk, without fsync).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from contracts import types
from contracts.stage import Stage
from contracts.table import with_cq_columns
from tests.bench import with_dlt
from tests.bench.pairs import Result, compare
from tests.bench.runs import ITEMS, SECOND, changed, destination, item_run, part_paths
from tests.bench.scale import Scale
from tests.bench.to_duckdb import forget, loaded
from tests.fakes.runs import RUN
from tests.fakes.servers import Postgres

FULL_NAMES = tuple(c.name for c in with_cq_columns(ITEMS).columns)


def ddl(table: str, key: str = "") -> str:
    from loader.warehouses.postgresql_types import map_type

    columns = ", ".join(
        f'"{c.name}" {map_type(c.type).sql}' for c in with_cq_columns(ITEMS).columns
    )
    return f"CREATE TABLE {table} ({columns}{f', PRIMARY KEY ({key})' if key else ''})"


def raw_copy(connection: Any, table: str, paths: list[Path]) -> None:
    """The fastest that is known: whole files, encoded in Rust, over one COPY."""
    import pgpq
    from pgpq.encoders import StringEncoderBuilder
    from pgpq.schema import Jsonb

    schema = with_cq_columns(ITEMS).schema
    plain = pa.schema([pa.field(f.name, _plain(f.type)) for f in schema])
    builders = {
        f.name: StringEncoderBuilder.new_with_output(p, Jsonb())
        if f.type == types.JSON else pgpq.ArrowToPostgresBinaryEncoder.infer_encoder(p)
        for f, p in zip(schema, plain, strict=True)
    }  # fmt: skip
    encoder = pgpq.ArrowToPostgresBinaryEncoder.new_with_encoders(plain, builders)
    with (
        connection.transaction(),
        connection.cursor() as cursor,
        cursor.copy(f"COPY {table} FROM STDIN (FORMAT BINARY)") as copy,
    ):
        copy.write(encoder.write_header())
        for path in paths:
            for batch in (
                pq.read_table(path, arrow_extensions_enabled=False).cast(plain).to_batches()
            ):
                copy.write(encoder.write_batch(batch))
        copy.write(encoder.finish())


def _plain(type_: pa.DataType) -> pa.DataType:
    return pa.timestamp("us") if pa.types.is_timestamp(type_) else types.storage_of(type_)


def content(connection: Any, table: str) -> Any:
    names = [n for n in FULL_NAMES if n != "_cq_id"]
    row = ", ".join(f'"{n}"' for n in names)
    return connection.execute(
        f"SELECT count(*), sum(hashtextextended(ROW({row})::text, 0)) FROM {table}"
    ).fetchone()


@dataclass(frozen=True)
class Bench:
    """Two runs with the same keys on a stage, the second with every row changed; and an empty database."""

    scale: Scale
    place: Path
    dsn: str
    connection: Any
    stage: Stage
    later: Stage

    @property
    def rows(self) -> int:
        return self.scale.parts * self.scale.part_rows

    @property
    def detail(self) -> str:
        return f"{self.rows:,} rows in {self.scale.parts} parts"

    def anew(self, mode: str = "append") -> None:
        """As if nothing had been loaded; the raw table has a key where ours has one."""
        self.connection.execute(
            "DROP TABLE IF EXISTS raw, items, sharder_loads, sharder_cells; "
            "DROP SCHEMA IF EXISTS sharder CASCADE; DROP SCHEMA IF EXISTS bench_dlt CASCADE"
        )
        self.connection.execute(ddl("raw", "" if mode == "append" else "id"))
        self.connection.execute("CHECKPOINT")
        for run, stage in ((RUN, self.stage), (SECOND, self.later)):
            destination(stage, "cloudquery/postgresql", {"connection_string": self.dsn}, mode, run)
            forget(stage, run)

    def filled(self) -> None:
        """The first run is in, and the server is at rest."""
        self.anew("overwrite")
        loaded(self.stage)
        self.connection.execute("VACUUM ANALYZE items")
        self.connection.execute("CHECKPOINT")

    def by_hand(self, run: str = RUN) -> None:
        raw_copy(self.connection, "raw", part_paths(self.stage, run))

    def agree(self) -> bool:
        return bool(content(self.connection, "items") == content(self.connection, "raw"))


def bench(scale: Scale) -> Iterator[Result]:
    import psycopg

    with Postgres() as server, tempfile.TemporaryDirectory() as directory:
        place, dsn = Path(directory), server.create()
        stage = item_run(place / "stage", scale.parts, scale.part_rows)
        later = changed(place / "stage", scale.parts, scale.part_rows)
        with psycopg.connect(dsn, autocommit=True) as connection:
            b = Bench(scale, place, dsn, connection, stage, later)
            yield append(b)
            if with_dlt.has_postgres():
                yield against_dlt(b)
            yield from keyed(b)


def append(b: Bench) -> Result:
    b.anew()
    assert loaded(b.stage) == b.rows
    b.by_hand()
    assert b.agree()
    return compare(
        "parts → PostgreSQL, append", lambda: loaded(b.stage), b.by_hand,
        against="raw binary COPY (pgpq)", aim=0.8, rounds=b.scale.rounds, before=b.anew, detail=b.detail,
    )  # fmt: skip


def against_dlt(b: Bench) -> Result:
    def dlt() -> None:
        with_dlt.parts_to_postgres(b.place / "dlt", b.dsn, part_paths(b.stage))

    b.anew()
    dlt()
    assert b.connection.execute("SELECT count(*) FROM bench_dlt.items").fetchone() == (b.rows,)
    return compare(
        "parts → PostgreSQL, append", lambda: loaded(b.stage), dlt, against="dlt, from Arrow by ADBC",
        aim=2.0, rounds=b.scale.slow_rounds, before=b.anew, detail=b.detail,
    )  # fmt: skip


def keyed(b: Bench) -> Iterator[Result]:
    """A first load and an upsert, which also count repeated keys; at most three times a keyed append."""
    yield compare(
        "parts → PostgreSQL, first load of a keyed table", lambda: loaded(b.stage), b.by_hand,
        against="raw binary COPY, keyed table", aim=1 / 3, rounds=b.scale.slow_rounds,
        before=partial(b.anew, "overwrite"), detail=b.detail,
    )  # fmt: skip
    b.filled()
    assert loaded(b.later, SECOND) == b.rows
    b.by_hand(SECOND)
    assert b.agree()
    yield compare(
        "parts → PostgreSQL, upsert of changed rows", lambda: loaded(b.later, SECOND), b.by_hand,
        against="raw binary COPY, keyed table", aim=1 / 3, rounds=b.scale.slow_rounds, before=b.filled,
        detail=b.detail,
    )  # fmt: skip
