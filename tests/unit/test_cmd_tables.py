"""`sharder tables`: lists of a plugin's tables, and documents of a spec's in CloudQuery's layout."""

from __future__ import annotations

from pathlib import Path

import orjson
import pyarrow as pa
import pytest

from contracts import types
from contracts.table import Column, Table
from sharder import tabledocs
from tests.fakes.command import Run, running
from tests.fakes.specs import duckdb, source, spec
from worker.sources.base import Facts


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    return running(tmp_path, monkeypatch, capfd)


TYPES = {
    pa.string(): "utf8",
    pa.large_string(): "large_utf8",
    pa.bool_(): "bool",
    pa.int64(): "int64",
    pa.uint8(): "uint8",
    pa.float16(): "float16",
    pa.float32(): "float32",
    pa.float64(): "float64",
    pa.binary(): "binary",
    pa.binary(16): "fixed_size_binary[16]",
    pa.date32(): "date32",
    pa.date64(): "date64",
    pa.time64("us"): "time64[us]",
    pa.duration("ns"): "duration[ns]",
    pa.decimal128(10, 2): "decimal128(10, 2)",
    pa.month_day_nano_interval(): "month_day_nano_interval",
    types.TIMESTAMP: "timestamp[us, tz=UTC]",
    pa.timestamp("ns"): "timestamp[ns]",
    types.UUID: "uuid",
    types.JSON: "json",
    types.INET: "inet",
    types.MAC: "mac",
    pa.list_(pa.string()): "list<item: utf8, nullable>",
    pa.list_(pa.field("item", types.UUID, nullable=False)): "list<item: uuid>",
    pa.list_(pa.int32(), 3): "fixed_size_list<item: int32, nullable>[3]",
    pa.struct([("a", pa.string()), ("b", pa.list_(pa.int64()))]): "struct<a: utf8, b: list<item: int64, nullable>>",
    pa.map_(pa.string(), pa.int64()): "map<utf8, int64, items_nullable>",
    pa.dictionary(pa.int8(), pa.string()): "dictionary<values=utf8, indices=int8, ordered=false>",
}  # fmt: skip


@pytest.mark.parametrize("type_", TYPES, ids=str)
def test_types_are_named_as_cloudquery_documents_them(type_: pa.DataType) -> None:
    assert tabledocs.type_name(type_) == TYPES[type_]


PARENT = Table(
    "buckets",
    (
        Column("arn", pa.string(), nullable=False, primary_key=True, description="Its name | ARN"),
        Column("seen", types.TIMESTAMP, incremental_key=True),
    ),
    incremental=True,
    title="Buckets",
    description="All of them",
)
CHILD = Table("bucket_grants", (Column("grant", types.JSON),), parent="buckets")


def known(table: Table) -> Facts:
    return Facts(("s3:ListAllMyBuckets",), paid=True) if table is PARENT else Facts()


def test_children_stand_in_the_relations_of_their_parent() -> None:
    (table,) = orjson.loads(tabledocs.as_json([PARENT, CHILD], known))
    assert table.keys() == {
        "name", "title", "description", "columns", "relations", "is_paid", "is_incremental",
        "permissions_needed", "sensitive_columns",
    }  # fmt: skip
    assert (table["is_incremental"], table["is_paid"]) == (True, True)
    assert table["permissions_needed"] == ["s3:ListAllMyBuckets"]
    (child,) = table["relations"]
    assert child["name"] == "bucket_grants"
    arn = next(c for c in table["columns"] if c["name"] == "arn")
    assert arn == {
        "name": "arn", "type": "utf8", "is_primary_key": True, "is_incremental_key": False,
        "is_primary_key_component": False, "type_schema": "",
    }  # fmt: skip


def test_a_page_per_table_and_a_readme_that_leads_to_them() -> None:
    pages = tabledocs.as_pages("aws", [PARENT, CHILD], known)
    assert pages.keys() == {"README.md", "buckets.md", "bucket_grants.md"}
    assert "- [buckets](buckets.md) (incremental)\n  - [bucket_grants](bucket_grants.md)" in pages["README.md"]  # fmt: skip
    page = pages["buckets.md"]
    assert "| arn | `utf8` | primary key. Its name \\| ARN |" in page
    assert "`s3:ListAllMyBuckets`" in page
    assert "child: [bucket_grants](bucket_grants.md)" in page
    assert "parent: [buckets](buckets.md)" in pages["bucket_grants.md"]
    assert "primary key is `_cq_id`" in pages["bucket_grants.md"]


def aws(*tables: str) -> str:
    return spec(source("cloud", {}, plugin="aws", tables=tables), duckdb())


def test_a_spec_is_documented_where_cloudquery_would_do_it(run: Run, tmp_path: Path) -> None:
    (tmp_path / "spec.yml").write_text(aws("aws_s3_buckets"))
    code, out, err = run("tables", "spec.yml")
    assert (code, err) == (0, "")
    path = Path("cq-docs/cloud/__tables.json")
    assert str(path) in out
    found = orjson.loads(path.read_bytes())
    assert len(found) > 20
    buckets = next(t for t in found if t["name"] == "aws_s3_buckets")
    assert "s3:ListAllMyBuckets" in buckets["permissions_needed"]


def test_only_the_tables_that_the_spec_selects(run: Run, tmp_path: Path) -> None:
    (tmp_path / "spec.yml").write_text(aws("aws_s3_buckets"))
    code, out, _ = run(
        "tables", "spec.yml", "--filter", "spec", "--format", "markdown", "--output-dir", "d"
    )
    assert code == 0
    assert "cloud: 1 table in d/cloud/README.md" in out
    assert {p.name for p in Path("d/cloud").iterdir()} == {"README.md", "aws_s3_buckets.md"}


def test_a_plugins_name_prints_a_list_and_writes_nothing(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("tables", "hackernews")
    assert code == 0
    assert "hackernews_items (incremental)" in out
    assert out.endswith("1 table\n")
    assert not list(tmp_path.iterdir())


def test_a_plugins_name_is_documented_where_a_directory_is_given(run: Run) -> None:
    code, out, _ = run("tables", "hackernews", "--output-dir", "d")
    assert (code, out) == (0, "hackernews: 1 table in d/hackernews/__tables.json\n")


def test_json_is_a_line_per_table_and_writes_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "spec.yml").write_text(aws("aws_s3_buckets"))
    code, out, _ = run("tables", "spec.yml", "--filter", "spec", "--json")
    assert code == 0
    assert [orjson.loads(line)["name"] for line in out.splitlines()] == ["aws_s3_buckets"]
    assert [p.name for p in tmp_path.iterdir()] == ["spec.yml"]


def test_a_directory_that_cannot_be_written_is_said(run: Run, tmp_path: Path) -> None:
    (tmp_path / "spec.yml").write_text(aws("aws_s3_buckets"))
    code, _, err = run("tables", "spec.yml", "--output-dir", "/proc/nope")
    assert code == 4
    assert "/proc/nope/cloud cannot be written" in err


def test_a_spec_without_a_source_has_no_tables(run: Run, tmp_path: Path) -> None:
    (tmp_path / "spec.yml").write_text(spec(duckdb()))
    code, _, err = run("tables", "spec.yml")
    assert code == 2
    assert "no source" in err
