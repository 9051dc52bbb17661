"""A big PostgreSQL table in slices, through the stage, into DuckDB, and back into another PostgreSQL.

ROUND_TRIP_ROWS=5000000 pytest tests/scenario/test_round_trip.py -s prints peak memory at full size.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import duckdb
import psycopg
import pytest
import yaml

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(3600)]

ROWS = int(os.environ.get("ROUND_TRIP_ROWS", "60000"))
SHARDER = Path(sys.executable).with_name("sharder")

# Gaps in the key; a nullable column to slice by; exact numbers, json, uuid, arrays, nulls and empty texts.
FILL = """
CREATE TABLE keyed (id bigint PRIMARY KEY, amount numeric(18,4), name text, doc jsonb, ref uuid, seen timestamptz,
                    tags text[], flag boolean);
INSERT INTO keyed SELECT i::bigint * 3 + i / 1000 * 100000::bigint, (i::bigint * 7919 % 1000003)::numeric / 10000,
    CASE i % 5 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE 'name ' || i || E'\\n"ü' END, jsonb_build_object('i', i),
    md5(i::text)::uuid, timestamptz '2020-01-01' + i * interval '1.000001 second',
    CASE WHEN i % 3 = 0 THEN NULL ELSE ARRAY['a' || i, NULL, ''] END, i % 2 = 0
FROM generate_series(1, %(rows)s) AS i;
CREATE TABLE keyless (num integer, v text);
INSERT INTO keyless SELECT CASE WHEN i %% 4 = 0 THEN NULL ELSE i END, 'v' || i
FROM generate_series(1, %(rows)s / 2) AS i;
"""

FIGURES = {
    "keyed": (
        "count(*)", "sum(id)", "sum(amount)", "count(name)", "sum(length(name))", "count(doc)",
        "sum(length(CAST(ref AS text)))", "min(CAST(ref AS text))", "max(CAST(ref AS text))",
        "sum(extract(epoch FROM seen))", "count(tags)", "count(*) FILTER (WHERE flag)",
        "sum((id % 997) * CAST(amount * 10000 AS bigint))",
        "min(CAST(tags[1] AS text))", "count(tags[2])", "max(tags[3])",
    ),
    "keyless": ("count(*)", "count(num)", "sum(num)", "min(v)", "max(v)", "sum(length(v))"),
}  # fmt: skip


def figures(run, table: str, name: str) -> list[str]:
    row = run(f"SELECT {', '.join(FIGURES[table])} FROM {name}")[0]
    return [f"{float(v):.6g}" if i == 9 and v is not None else str(v) for i, v in enumerate(row)]


def postgres_runner(dsn: str):
    def run(sql: str):
        with psycopg.connect(dsn, options="-csearch_path=public") as connection:
            return connection.execute(sql).fetchall()

    return run


def duckdb_runner(path: Path):
    def run(sql: str):
        with duckdb.connect(str(path), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    return run


def document(kind: str, **spec) -> str:
    return yaml.safe_dump({"kind": kind, "spec": spec}) + "---\n"


def submit(place: Path, name: str, text: str) -> subprocess.Popen[bytes]:
    (place / name).write_text(text.removesuffix("---\n"))
    return subprocess.Popen([SHARDER, "submit", name], cwd=place)


def until(condition, process) -> None:
    """Poll the stage while the run lives."""
    while not condition():
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
        assert condition(), "the run ended before it had planned"


def test_contents_survive_the_whole_way_and_late_rows_stay_out(tmp_path, postgres):
    source, back = postgres.create(), postgres.create()
    with psycopg.connect(source) as connection:
        connection.execute(FILL.replace("%(rows)s", str(ROWS)).replace("%%", "%"))
    before = {t: figures(postgres_runner(source), t, t) for t in FIGURES}
    there = submit(
        tmp_path,
        "there.yml",
        document(
            "source", name="pg", path="sharder/sql", tables=["*"], destinations=["duckdb"],
            spec={
                "connection_string": source, "slice_rows": max(ROWS // 8, 1), "slice_bytes": 1024,
                "slice_columns": {"keyless": "num"},
            },
        )
        + document(
            "destination", name="duckdb", path="cloudquery/duckdb",
            spec={"connection_string": "there.duckdb"},
        )
        + document("fleet", shard_seconds=0.01 * ROWS / 60_000),
    )  # fmt: skip
    until(lambda: list(tmp_path.glob(".sharder/stage/runs/*/plan/1/index.json")), there)
    with psycopg.connect(source) as connection:
        connection.execute("INSERT INTO keyed (id, name) VALUES (2, 'late'), (900000000, 'late')")
        connection.execute("INSERT INTO keyless VALUES (NULL, 'late'), (1, 'late')")
    assert there.wait() == 0
    shards = sum(
        len(p.read_text().splitlines())
        for p in tmp_path.glob(".sharder/stage/runs/*/plan/1/0*.jsonl")
    )
    assert shards > 8, "the tables were not cut into slices"
    run = duckdb_runner(tmp_path / "there.duckdb")
    assert {t: figures(run, t, t) for t in FIGURES} == before
    again = submit(
        tmp_path,
        "back.yml",
        document(
            "source", name="duck", path="sharder/sql", tables=list(FIGURES), destinations=["pg"],
            spec={"connection_string": f"duckdb:///{tmp_path}/there.duckdb", "client": "duck"},
        )
        + document(
            "destination", name="pg", path="cloudquery/postgresql", write_mode="append",
            spec={"connection_string": "${BACK}"},
        ),
    )  # fmt: skip
    assert again.wait() != 0, "a variable that is not set must be an error"
    os.environ["BACK"] = back
    again = subprocess.Popen([SHARDER, "submit", "back.yml"], cwd=tmp_path)
    assert again.wait() == 0
    del os.environ["BACK"]
    assert {t: figures(postgres_runner(back), t, t) for t in FIGURES} == before
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{ROWS:,} rows, {shards} shards, peak of any process {peak:.0f} MB")
