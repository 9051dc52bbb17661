"""Names that would be SQL, paths or somebody else's: loaded as they are, or refused; nothing is executed."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import duckdb
import orjson
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.errors import InputError
from contracts.store import open_store
from contracts.table import Column
from loader.warehouses.duckdb import DIALECT
from loader.warehouses.postgresql_types import DIALECT as POSTGRESQL
from tests.fakes.servers import S3
from tests.fakes.stage import StageRun, rows, shard, table

NAMES = (
    'a"; DROP TABLE canary; --', "a'; DROP TABLE canary; --", "a\\", "a;b", "--", "/*", "..", "../../up", "a/b",
    "%2f", "select", "information_schema", "a\nb", "\u202eabc", "e\u0301", "\u00e9", "\U0001f600", " a ", "x" * 180,
    "$1", "{{TABLE}}", "${HOME}", "?", ":name",
)  # fmt: skip


ID = Column("id", pa.int64(), nullable=False, primary_key=True)


@pytest.mark.parametrize("name", NAMES)
def test_duckdb_holds_a_hostile_table_with_a_hostile_column(tmp_path: Path, name: str) -> None:
    file = tmp_path / "w.duckdb"
    with duckdb.connect(str(file)) as warehouse:
        warehouse.execute("CREATE TABLE canary AS SELECT 1 AS id")
    hostile = table(name, ID, Column(name, pa.string()))
    run = StageRun(
        tmp_path / "stage",
        hostile,
        spec={"connection_string": str(file)},
        source=name if name.isascii() else "src",
    )
    run.round([shard({name: ({"id": 1, name: name},)})])
    receipt = run.load()
    assert receipt.outcome == "ok", receipt.error
    with duckdb.connect(str(file)) as warehouse:
        assert warehouse.sql("SELECT id FROM canary").fetchall() == [(1,)]
        found = warehouse.execute(
            f"SELECT {DIALECT.quote(name)}, _cq_client_id, _cq_source_name FROM {DIALECT.quote(name)}"
        )
        assert found.fetchall() == [(name, name, run.source)]
    assert {p.name for p in tmp_path.iterdir()} == {"stage", "w.duckdb"}


@pytest.mark.parametrize("format_", ["csv", "json", "parquet"])
def test_a_file_destination_stays_below_its_path(tmp_path: Path, format_: str) -> None:
    for n, name in enumerate(NAMES):
        place = tmp_path / f"{n}" / "inside" / "lake"
        spec = {"path": f"{place}/{{{{TABLE}}}}.{{{{FORMAT}}}}", "format": format_}
        run = StageRun(
            tmp_path / f"stage{n}", table(name), spec=spec, path="cloudquery/file", write_mode="append",
        )  # fmt: skip
        run.round([shard({name: rows(1)})])
        try:
            receipt = run.load()
            ended = receipt.error or "ok"
        except InputError as error:
            ended = str(error)
        written = [p for p in (tmp_path / f"{n}").rglob("*") if p.is_file()]
        assert all(p.is_relative_to(place) for p in written), (name, written)
        assert bool([p for p in written if ".sharder" not in str(p)]) == (ended == "ok"), (
            name,
            ended,
        )


@pytest.mark.postgres
def test_postgresql_holds_hostile_tables_with_hostile_columns(
    tmp_path: Path, postgres_dsn: str
) -> None:
    with psycopg.connect(postgres_dsn, autocommit=True) as warehouse:
        warehouse.execute("CREATE TABLE canary AS SELECT 1 AS id")
    children = [table(n, ID, Column(n, pa.string()), parent="top") for n in NAMES]
    run = StageRun(
        tmp_path, table("top"), *children, spec={"connection_string": postgres_dsn}, path="cloudquery/postgresql",
    )  # fmt: skip
    client = NAMES[0]
    cells = {n: {client: ({"id": 1, n: n},)} for n in NAMES}
    run.round([shard({client: rows(1)}, children=cells)])
    receipt = run.load()
    assert receipt.outcome == "ok", receipt.error
    with psycopg.connect(postgres_dsn, options="-csearch_path=public") as warehouse:
        assert warehouse.execute("SELECT id FROM canary").fetchall() == [(1,)]
        for name in NAMES:
            physical = POSTGRESQL.quote(POSTGRESQL.name_of(name))
            found = warehouse.execute(f"SELECT {physical}, _cq_client_id FROM {physical}".encode())
            assert found.fetchall() == [(name, client)]
        there = warehouse.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        others = {t for (t,) in there.fetchall()} - {POSTGRESQL.name_of(n) for n in NAMES}
        assert others == {"canary", "top", "sharder_cells", "sharder_loads"}


@pytest.mark.postgres
@pytest.mark.parametrize("plugin", ["postgresql", "duckdb"])
def test_a_name_that_no_engine_holds_fails_alone_and_says_so(
    tmp_path: Path, postgres_dsn: str, plugin: str
) -> None:
    spec = {"connection_string": postgres_dsn if plugin == "postgresql" else f"{tmp_path}/w.db"}
    where = {"spec": spec, "path": f"cloudquery/{plugin}"}
    run = StageRun(tmp_path / "nul", table("a\0b", ID, Column("c\0d", pa.string())), **where)
    run.round([shard({"a": ({"id": 1, "c\0d": "x"},)})])
    receipt = run.load()
    if receipt.outcome == "ok":
        assert plugin == "duckdb"
    else:
        assert receipt.error
        assert "NUL" in receipt.error, receipt.error
    with pytest.raises(InputError, match="is too long"):
        StageRun(tmp_path / "long", table("x" * 300), **where).round([shard({"a": rows(1)})])


@pytest.mark.s3
def test_an_s3_destination_stays_below_its_prefix(tmp_path: Path, s3: S3) -> None:
    bucket = s3.create("hostile")
    spec = {
        "bucket": bucket, "region": "us-east-1", "use_path_style": True, "format": "json",
        "path": "lake/{{TABLE}}.{{FORMAT}}", "no_rotate": True,
    }  # fmt: skip
    hostile = ("..", "../../up", "a/b", "\U0001f600", "a\nb", "%2f", 'a"; --')
    for n, name in enumerate(hostile):
        run = StageRun(
            tmp_path / f"{n}", table(name), spec=spec, path="cloudquery/s3", write_mode="append"
        )
        run.round([shard({name: rows(1)})])
        assert run.load().error == ""
    keys = [entry.key for entry in open_store(f"s3://{bucket}").list("")]
    assert all(key.startswith("lake/") for key in keys)
    tables = [key for key in keys if "/_sharder/" not in key]
    assert len(tables) == len(hostile)
    assert all(re.fullmatch(r"lake/[A-Za-z0-9._-]+\.json", key) for key in tables)


def test_two_spellings_of_a_letter_are_two_tables(tmp_path: Path) -> None:
    file = tmp_path / "w.duckdb"
    for n, name in enumerate(("caf\u00e9", "cafe\u0301")):
        run = StageRun(
            tmp_path / "stage", table(name), spec={"connection_string": str(file)}, run=f"run-{n}"
        )
        run.round([shard({"a": rows(n)})])
        assert run.load().outcome == "ok"
    with duckdb.connect(str(file)) as warehouse:
        names = {t for (t,) in warehouse.sql("SELECT table_name FROM duckdb_tables()").fetchall()}
        assert {"caf\u00e9", "cafe\u0301"} <= names


LONG = ("c" * 300, "c" * 299 + "d", "\u00e9" * 150 + '"; DROP TABLE canary; --')
ALIKE = ("Id ", " id", "ID\u200b")


@pytest.mark.postgres
@pytest.mark.parametrize("plugin", ["postgresql", "duckdb"])
def test_columns_of_three_hundred_characters_that_begin_alike_stay_apart(
    tmp_path: Path, postgres_dsn: str, plugin: str
) -> None:
    spec = {"connection_string": postgres_dsn if plugin == "postgresql" else f"{tmp_path}/w.db"}
    names = (*LONG, *ALIKE)
    wide = table("wide", ID, *(Column(n, pa.string()) for n in names))
    run = StageRun(tmp_path / "stage", wide, spec=spec, path=f"cloudquery/{plugin}")
    client = "\u00e9'\"; DROP TABLE canary; --" * 20
    run.round([shard({client: ({"id": 1, **{n: n for n in names}},)})])
    receipt = run.load()
    assert receipt.outcome == "ok", receipt.error
    dialect = POSTGRESQL if plugin == "postgresql" else DIALECT
    columns = ", ".join(dialect.quote(dialect.name_of(n)) for n in names)
    sql = f"SELECT {columns}, _cq_client_id FROM wide"
    if plugin == "postgresql":
        with psycopg.connect(postgres_dsn) as warehouse:
            found = warehouse.execute(sql.encode()).fetchall()
    else:
        with duckdb.connect(f"{tmp_path}/w.db") as warehouse:
            found = warehouse.execute(sql).fetchall()
    assert found == [(*names, client)]


@pytest.mark.parametrize("format_", ["csv", "json", "parquet"])
def test_files_hold_columns_and_clients_of_any_name(tmp_path: Path, format_: str) -> None:
    names = (*LONG, *(n for n in NAMES if len(n) < 100), "nul\0")
    place = tmp_path / "lake"
    spec = {"path": f"{place}/{{{{TABLE}}}}.{{{{FORMAT}}}}", "format": format_, "no_rotate": True}
    wide = table("wide", ID, *(Column(n, pa.string()) for n in names))
    run = StageRun(tmp_path / "stage", wide, spec=spec, path="cloudquery/file", write_mode="append")
    client = "../..\\'\"\n" + "x" * 300
    run.round([shard({client: ({"id": 1, **{n: n for n in names}},)})])
    receipt = run.load()
    assert receipt.outcome == "ok", receipt.error
    assert {p.name for p in tmp_path.iterdir()} == {"stage", "lake"}
    (row,) = read_rows(place / f"wide.{format_}")
    assert {n: row[n] for n in names} == {n: n for n in names}
    assert row["_cq_client_id"] == client


def read_rows(file: Path) -> list[dict[str, object]]:
    if file.suffix == ".parquet":
        found: list[dict[str, object]] = pq.read_table(file).to_pylist()
        return found
    if file.suffix == ".json":
        return [orjson.loads(line) for line in file.read_bytes().split(b"\n") if line]
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.postgres
@pytest.mark.parametrize("plugin", ["postgresql", "duckdb"])
def test_a_value_or_a_client_with_nul_ends_as_a_row_or_as_a_reason(
    tmp_path: Path, postgres_dsn: str, plugin: str
) -> None:
    spec = {"connection_string": postgres_dsn if plugin == "postgresql" else f"{tmp_path}/w.db"}
    run = StageRun(tmp_path / "stage", table("t"), spec=spec, path=f"cloudquery/{plugin}")
    run.round([shard({"a\0b": ({"id": 1, "v": "x\0y"},)})])
    receipt = run.load()
    if plugin == "duckdb":
        with duckdb.connect(f"{tmp_path}/w.db") as warehouse:
            found = warehouse.execute("SELECT v, _cq_client_id FROM t").fetchall()
        assert (receipt.outcome, found) == ("ok", [("x\0y", "a\0b")])
    else:  # its texts hold no NUL
        with psycopg.connect(postgres_dsn) as warehouse:
            found = warehouse.execute("SELECT v, _cq_client_id FROM t").fetchall()
        assert (receipt.outcome, found) == ("ok", [("xy", "ab")])
