"""Golden documents: each format version is pinned byte for byte, and stays readable."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import types
from contracts.commit import Attempt, Cell, Commit, Part, Tombstone, Value
from contracts.cursors import Cursors, Failure
from contracts.errors import Permanent, SharderError, VersionUnknown
from contracts.history import History
from contracts.migration import Migrated, MigratedTable
from contracts.plan import Plan, PlannedDestination, PlannedSource, PlannedTable, Shard, Slice
from contracts.receipt import LoadedTable, Receipt
from contracts.summary import (
    CellCounts,
    ClientSummary,
    DestinationSummary,
    LoadedSummary,
    MemberSummary,
    Problem,
    Summary,
    TableSummary,
)
from contracts.sync import Conclusion
from contracts.table import Column, Table, with_cq_columns
from sharder.backfill import Backfilled

GOLDEN = Path(__file__).parents[1] / "golden"
T0 = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
T1 = datetime(2026, 1, 2, 3, 5, tzinfo=UTC)
RUN = "20260102T030405-abcdef"

INSTANCES = with_cq_columns(
    Table(
        "aws_ec2_instances",
        (
            Column("arn", pa.string(), nullable=False, primary_key=True, description="The ARN"),
            Column("tags", types.JSON),
            Column("launch_time", types.TIMESTAMP),
        ),
    )
)
USERS = with_cq_columns(Table("aws_iam_users", (Column("arn", pa.string(), primary_key=True),)))
TABLE = PlannedTable(
    source="aws", name="aws_ec2_instances", tree=(INSTANCES,), selected=("aws_ec2_instances",),
    first=0, shards=2, cells=34, clients=((0, 17), (20, 37)), authoritative=False,
    why_not_authoritative="--client narrowed the run", cost_s=11.9,
)  # fmt: skip

DOCUMENTS = {
    "plan.json": Plan(
        run=RUN, round=1, created=T0, sync_time=T0,
        sources=(PlannedSource(name="aws", path="cloudquery/aws", spec=0, destinations=("pg",), clients=37),),
        destinations=(PlannedDestination(name="pg", path="cloudquery/postgresql", spec=1, holds_state_of=("aws",)),),
        tables=(TABLE,), shards=2, cells=34,
    ),
    "plan-grouped.json": Plan(
        version=2, run=RUN, round=1, created=T0, sync_time=T0,
        sources=(PlannedSource(name="aws", path="cloudquery/aws", spec=0, destinations=("pg",), clients=37),),
        destinations=(PlannedDestination(name="pg", path="cloudquery/postgresql", spec=1),),
        tables=(TABLE, TABLE.model_copy(update={"name": "aws_iam_users", "tree": (USERS,), "selected": ("aws_iam_users",)})),
        shards=2, cells=68,
    ),
    "commit.json": Commit(
        run=RUN, shard="01-0000000", attempt="a1", worker="host/7", started=T0, ended=T1,
        parts=(Part(key="runs/x/data/00000.parquet", table="aws_ec2_instances", rows=3, bytes=900,
                    checksum="crc32:0badcafe", cells={"1:us-east-1": 2, "2:us-east-1": 1}, dropped=("2:us-east-1",)),),
        cells=(Cell(table="aws_ec2_instances", client="1:us-east-1", outcome="ok", rows=2, cursor={"k": "v"}),
               Cell(table="aws_ec2_instances", client="2:us-east-1", outcome="failed", reason="denied", message="no")),
    ),
    "commit-grown.json": Commit(
        run=RUN, shard="01-0000002", attempt="a1", started=T0, ended=T1,
        parts=(Part(key="runs/x/data/00000.parquet", table="t", rows=1, bytes=900, checksum="crc32:0badcafe", cells={"a": 1}),
               Part(key="runs/x/data/00001.parquet", table="t", rows=2, bytes=900, checksum="crc32:0badcafe", cells={"a": 2}, form=1)),
        cells=(Cell(table="t", client="a", outcome="ok", rows=3, deletes=(
            Tombstone(where={"id": Value(type="int64", text="7")}, relations=(("c", "t"),), before={"t": 1, "c": 0}),
        )),),
        tables=(Table("t", (Column("id", pa.int64(), nullable=False, primary_key=True), Column("new", types.JSON)),
                      own_client_ids=True, evolves=True),),
    ),
    "commit-verdict.json": Commit(
        run=RUN, shard="01-0000001", attempt="watch", started=T0, ended=T1,
        verdict=Cell(table="*", client="*", outcome="failed", reason="lost", message="3 attempts died"),
    ),
    "attempt.json": Attempt(run=RUN, job="01-0000000", attempt="a1", worker="host/7", started=T0),
    "cursors.json": Cursors(run=RUN, destination="pg", guarantee="transactional", cursors={"hn": {"items": "7"}},
                            last_sync={"hn": T0}),
    "cursors-failed.json": Cursors(run=RUN, destination="pg", error=Failure(message="wrong password")),
    "migration.json": Migrated(
        run=RUN, destination="pg",
        tables=(
            MigratedTable(source="aws", table="t1", action="created"),
            MigratedTable(source="aws", table="t2", action="rebuilt", changes=("key none became (arn)",), rows_dropped=2),
            MigratedTable(source="aws", table="t3", action="refused", error="column 'a' is text and must become bigint"),
        ),
    ),
    "migration-failed.json": Migrated(
        run=RUN, destination="pg", error=Failure(message="wrong password", kind="Denied")
    ),
    "receipt.json": Receipt(
        run=RUN, destination="pg", source="aws", table="aws_ec2_instances", round=1, rounds=(1,), load="l1",
        outcome="ok", guarantee="transactional", started=T0, ended=T1, cells_ok=33, cells_failed=1,
        tables=(LoadedTable(table="aws_ec2_instances", copied=2, published=2, stale=1),),
    ),
    "history.json": History(source="aws", table="aws_ec2_instances", updated=T0, cells=34, mean_s=0.4, mean_rows=12.5,
                            heavy={"1:us-east-1": (61.5, 40000)}),
    "summary.json": Summary(
        run=RUN, round=1, sync_time=T0, started=T0, ended=T1, exit_code=3, cells=CellCounts(ok=33, failed=1),
        tables=(TableSummary(source="aws", table="aws_ec2_instances", cells=CellCounts(ok=33, failed=1), rows=2,
                             bytes=900, seconds=1.5),),
        destinations=(DestinationSummary(destination="pg", source="aws", table="aws_ec2_instances", published=2,
                                         stale=1, guarantee="transactional"),),
        problems=(Problem(source="aws", table="aws_ec2_instances", outcome="failed", reason="denied", cells=1,
                          clients=("2:us-east-1",), message="no"),),
        rows=2, bytes=900,
    ),
    "summary-members.json": Summary(
        run=RUN, round=1, sync_time=T0, started=T0, ended=T1, exit_code=3, cells=CellCounts(ok=33, failed=1),
        tables=(TableSummary(source="aws", table="t", cells=CellCounts(ok=33, failed=1), rows=2, bytes=900, seconds=1.5,
                             members=(MemberSummary(table="t", cells=CellCounts(ok=33, failed=1), rows=2, lost=1),)),),
        destinations=(DestinationSummary(destination="pg", source="aws", table="t", published=2, stale=1,
                                         guarantee="transactional", seconds=0.5, duplicates=1,
                                         cells=CellCounts(ok=33, failed=1), warnings=1,
                                         members=(LoadedSummary(table="t", published=2, duplicates=1, stale=1),)),),
        problems=(), rows=2, bytes=900, release="0.1.0", clients_not_ok=1,
        clients=(ClientSummary(source="aws", client="2:us-east-1", failed=1, skipped=0, reason="lost"),),
    ),
    "conclusion.json": Conclusion(run=RUN, destination="pg", round=1, outcome="ok", started=T0, ended=T1, rows=1),
    "backfill.json": Backfilled(
        run="nightly-20260101-20260102", start=datetime(2026, 1, 1, tzinfo=UTC), end=datetime(2026, 1, 2, tzinfo=UTC),
        done=datetime(2026, 3, 5, 14, 30, 12, tzinfo=UTC),
    ),
}  # fmt: skip

KINDS = sorted({type(d) for d in DOCUMENTS.values()}, key=lambda c: c.__name__)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_is_written_as_its_golden_file(name):
    golden = GOLDEN / f"v{DOCUMENTS[name].version}" / name
    assert DOCUMENTS[name].to_bytes() + b"\n" == golden.read_bytes(), (
        "the format changed: raise the version, keep the old golden file, and write a new one"
    )


@pytest.mark.parametrize(
    "golden", sorted(GOLDEN.glob("v*/**/*.json")), ids=lambda p: f"{p.parent.name}/{p.name}"
)
def test_documents_of_every_version_stay_readable(golden):
    kind = type(DOCUMENTS[golden.name])
    assert kind.from_bytes(golden.read_bytes()) == DOCUMENTS[golden.name]


@pytest.mark.parametrize("kind", KINDS)
def test_a_document_of_a_newer_version_is_refused_by_name(kind):
    with pytest.raises(VersionUnknown, match=rf"{kind.kind} of format version 99"):
        kind.from_bytes(b'{"version": 99, "anything": "else"}', "some/key")


@pytest.mark.parametrize("kind", KINDS)
@given(
    data=st.binary(max_size=60)
    | st.sampled_from([b"{}", b"[]", b"null", b'{"version": "x"}', b'{"version": null}'])
)
def test_what_is_no_document_is_one_clear_error(kind, data):
    with pytest.raises(SharderError):
        kind.from_bytes(data)


def test_a_line_of_the_plan_reads_back():
    for shard in (
        Shard("01-0000000", "aws", "t", ((0, 5), (7, 9)), 61.25),
        Shard(
            "02-0000001",
            "db",
            "t",
            ((3, 4),),
            60.0,
            Slice(0, 2, {"column": "id", "low": None, "high": 9}),
        ),
        Shard("01-0000002", "gcp", "t", ((0, 1),), 61.25, tables=2),
    ):
        assert Shard.from_line(shard.to_line()) == shard
    assert shard.cells == 1


@pytest.mark.parametrize(
    "line",
    [
        b"", b"{}", b"[]", b'{"id":1,"source":"a","table":"t","clients":[[1]]}',
        b'{"id":"01-0000000","source":"a","table":"t","clients":[],"tables":["t"]}',
        b'{"id":"01-0000000","source":"a","table":"t","clients":[],"tables":0}',
        b'{"id":"01-0000000","source":"a","table":"t","clients":[],"tables":-7}',
    ],
)  # fmt: skip
def test_what_is_no_shard_is_refused(line):
    with pytest.raises(Permanent, match="not a shard"):
        Shard.from_line(line)


def test_a_program_of_an_older_release_refuses_a_plan_of_shared_shards(monkeypatch):
    """It would take them for shards of their first table alone."""
    monkeypatch.setattr(Plan, "current", 1)
    assert Plan.from_bytes(DOCUMENTS["plan.json"].to_bytes())
    with pytest.raises(
        VersionUnknown, match="plan of format version 2; this release reads up to 1"
    ):
        Plan.from_bytes(DOCUMENTS["plan-grouped.json"].to_bytes())


def test_a_plan_knows_the_tables_of_a_shard():
    plan = DOCUMENTS["plan-grouped.json"]
    shard = Shard("01-0000001", "aws", TABLE.name, ((0, 1),), tables=2)
    assert [t.name for t in plan.tables_of(shard)] == ["aws_ec2_instances", "aws_iam_users"]
    with pytest.raises(Permanent, match="has 3 tables, but the plan gives its number to 2"):
        plan.tables_of(replace(shard, tables=3))


@pytest.mark.parametrize("parents", [{"a": "a"}, {"a": "b", "b": "a"}, {"b": "c", "c": "b"}])
def test_a_plan_whose_tables_are_their_own_ancestors_is_refused(parents):
    key = (Column("id", pa.int64()),)
    tree = [Table(name, key, parent=parents.get(name)) for name in ("a", "b", "c")]
    damaged = plan_of(tree).to_bytes()
    with pytest.raises(Permanent, match="before its parent"):
        Plan.from_bytes(damaged, "index.json")


def test_a_plan_that_has_a_table_twice_in_a_tree_is_refused():
    twice = [Table("a", (Column("id", pa.int64()),), parent=parent) for parent in (None, "a")]
    with pytest.raises(Permanent, match="has 'a' twice"):
        Plan.from_bytes(plan_of(twice).to_bytes(), "index.json")


def plan_of(tree):
    planned = PlannedTable(
        source="s", name="a", tree=tuple(tree), selected=("a",), first=0, shards=1, cells=1, clients=((0, 1),),
        authoritative=True,
    )  # fmt: skip
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return Plan(
        run="r1", round=1, created=moment, sync_time=moment, tables=(planned,), shards=1, cells=1,
        sources=(PlannedSource(name="s", path="cloudquery/test", spec=0, destinations=("w",), clients=1),),
        destinations=(PlannedDestination(name="w", path="cloudquery/duckdb", spec=1),),
    )  # fmt: skip


def test_a_plan_knows_its_tables_by_name():
    plan = DOCUMENTS["plan.json"]
    assert plan.table("aws", "aws_ec2_instances") == TABLE
    assert list(TABLE.shard_ids(1)) == ["01-0000000", "01-0000001"]
    with pytest.raises(Permanent, match="has no table 'x'"):
        plan.table("aws", "x")


@pytest.mark.parametrize("form", [-1, 2, 1])
def test_a_part_whose_form_is_not_in_the_commit_is_refused(form):
    commit = DOCUMENTS["commit-grown.json"].model_dump(mode="json")
    commit["parts"][1]["form"] = form
    commit["tables"][0]["name"] = "t" if form != 1 else "another"
    with pytest.raises(Permanent, match="form that the commit does not name"):
        Commit.from_bytes(orjson.dumps(commit))


def test_only_a_commit_that_older_releases_would_misread_has_the_newer_version():
    assert DOCUMENTS["commit.json"].version == 1
    assert DOCUMENTS["commit-grown.json"].version == 2
