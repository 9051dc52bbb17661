"""Planning a round: cells, order, authority, narrowing, and flat memory at any size."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from contracts.cursors import Cursors
from contracts.errors import InputError, Permanent
from contracts.history import History
from contracts.plan import Plan, Shard
from contracts.specfile import load
from contracts.stage import Stage
from contracts.store.local import LocalStore
from contracts.table import Column, Table
from sharder.clients import ClientFile
from sharder.deal import Part
from sharder.planner import Narrowing, plan_round, sync_time
from worker.sources.base import Clients

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)

SPEC = """\
kind: source
spec:
  name: aws
  path: cloudquery/aws
  tables: ["*"]
  destinations: [pg, duck]
  backend_options: {table_name: state, connection: "@@plugins.pg.connection"}
---
kind: source
spec: {name: hn, path: cloudquery/hackernews, tables: ["*"], destinations: [duck]}
---
kind: destination
spec: {name: pg, path: cloudquery/postgresql, write_mode: append}
---
kind: destination
spec: {name: duck, path: cloudquery/duckdb}
---
kind: destination
spec: {name: unused, path: cloudquery/duckdb}
---
kind: fleet
spec:
  format: csv
  part_size: 1MiB
  deadline: 2h
  attempts: 5
  sources: {aws: {rate_limit: 20/s, max_clients_in_flight: 50, timeout: 20m, attempts: 2}}
"""


def table(name, parent=None, **facts):
    return Table(name, (Column("arn", pa.string(), primary_key=True),), parent, **facts)


class Estate:
    """A source of made-up tables and clients."""

    def __init__(self, tables, clients):
        self._tables = tables
        self._clients = clients

    def tables(self):
        return self._tables

    def clients(self, table):
        return self._clients[table.name] if isinstance(self._clients, dict) else self._clients

    def read(self, work, cursors):
        raise AssertionError("planning reads no rows")

    def close(self):
        pass


class Database(Estate):
    """A source that knows what its cells take, and can cut them."""

    def size(self, table, client):
        return {"big": 600.0, "slow": 90.0}.get(table.name, 0.0)

    def split(self, table, client, n):
        return [{"of": client, "at": i} for i in range(n)]


ACCOUNTS = Clients("accounts", ["1", "2", "3"])
REGIONS = Clients("regions", [f"{a}:{r}" for a in "123" for r in ("eu", "us")])
AWS = Estate(
    [table("iam"), table("iam_keys", "iam"), table("ec2")],
    {"iam": ACCOUNTS, "ec2": REGIONS},
)
HN = Estate([table("items", incremental=True)], Clients("hn", ["hn"]))
SOURCES = {"aws": AWS, "hn": HN}


@pytest.fixture
def loaded(tmp_path):
    (tmp_path / "spec.yml").write_text(SPEC)
    return load([tmp_path / "spec.yml"], {}, NOW)


def planned(loaded, sources=SOURCES, **arguments):
    arguments = {"run": "r", "now": NOW, "cursors": {}} | arguments
    return plan_round(loaded, sources, **arguments)


def ids(found, source, ranges):
    lines = list(found.clients[source])
    return [lines[i] for start, stop in ranges for i in range(start, stop)]


def test_every_cell_is_in_one_shard_and_shards_are_numbered_table_by_table(loaded):
    found = planned(loaded)
    plan = found.plan
    shards = list(found.shards())
    assert [s.id for s in shards] == [f"01-{n:07d}" for n in range(plan.shards)]
    for t in plan.tables:
        own = [s for s in shards if (s.source, s.table) == (t.source, t.name)]
        assert [s.id for s in own] == list(t.shard_ids(1))
        clients = [c for s in own for c in ids(found, t.source, s.clients)]
        expected = {"iam": ACCOUNTS, "ec2": REGIONS, "items": HN.clients(None)}[t.name].ids
        assert clients == list(expected) == ids(found, t.source, t.clients)
    assert {t.name: t.cells for t in plan.tables} == {"iam": 6, "ec2": 6, "items": 1}
    assert plan.cells == 13


def test_lists_are_written_once_and_one_after_the_other(loaded):
    found = planned(loaded)
    assert list(found.clients["aws"]) == [*ACCOUNTS.ids, *REGIONS.ids]
    assert found.plan.source("aws").clients == 9


def test_two_lists_of_one_name_are_an_error_of_the_source(loaded):
    lists = {"iam": ACCOUNTS, "ec2": Clients("accounts", ["1"])}
    with pytest.raises(Permanent, match="two client lists of the name 'accounts'"):
        planned(loaded, {**SOURCES, "aws": Estate(AWS.tables(), lists)})


def test_ranges_beyond_a_list_are_an_error_of_the_source(loaded):
    clients = Clients("accounts", ["1"], ((0, 2),))
    with pytest.raises(Permanent, match="beyond its list"):
        planned(loaded, {**SOURCES, "aws": Estate([table("iam")], clients)})


def test_schemas_are_frozen_with_the_columns_of_every_table(loaded):
    tree = planned(loaded).plan.table("aws", "iam").tree
    assert [t.name for t in tree] == ["iam", "iam_keys"]
    names = [c.name for c in tree[1].columns]
    assert names == [
        "_cq_sync_time", "_cq_source_name", "_cq_id", "_cq_parent_id", "_cq_client_id", "arn",
    ]  # fmt: skip


def test_the_fleet_document_decides_format_sizes_and_limits(loaded):
    plan = planned(loaded).plan
    assert (plan.format, plan.part_size, plan.attempts, plan.deadline_s) == (
        "csv",
        1 << 20,
        5,
        7200,
    )
    aws, hn = plan.source("aws"), plan.source("hn")
    assert (aws.rate_per_s, aws.max_clients_in_flight, aws.timeout_s, aws.attempts) == (
        20, 50, 1200, 2,
    )  # fmt: skip
    assert (hn.rate_per_s, hn.attempts) == (0, 0)


def test_destinations_that_hold_state_come_last_and_unused_ones_not_at_all(loaded):
    plan = planned(loaded).plan
    assert [(d.name, d.spec, d.holds_state_of) for d in plan.destinations] == [
        ("duck", 3, ()),
        ("pg", 2, ("aws",)),
    ]
    assert [s.spec for s in plan.sources] == [0, 1]


def test_tables_with_the_longest_shard_come_first(loaded):
    histories = {
        "iam": History(source="aws", table="iam", updated=NOW, cells=3, mean_s=1, mean_rows=1),
        "ec2": History(
            source="aws", table="ec2", updated=NOW, cells=6, mean_s=20, mean_rows=9,
            heavy={"2:us": (90.0, 40), "gone": (80.0, 3)},
        ),
    }  # fmt: skip
    found = planned(loaded, histories=lambda source, name: histories.get(name))
    assert [t.name for t in found.plan.tables] == ["ec2", "iam", "items"]
    first = next(found.shards())
    assert (ids(found, "aws", first.clients), first.cost_s) == (["2:us"], 90.0)
    assert found.plan.table("aws", "iam").cost_s == 3


def test_a_source_says_itself_what_its_cells_take_and_cuts_the_huge_ones(loaded):
    database = Database([table("big"), table("slow"), table("small")], Clients("db", ["one"]))
    found = planned(loaded, {**SOURCES, "aws": database})
    shards = [s for s in found.shards() if s.source == "aws"]
    assert [s.table for s in shards] == ["slow", *["big"] * 10, "small"]
    assert [s.slice.bounds for s in shards[1:11]] == [{"of": "one", "at": i} for i in range(10)]
    assert {s.clients for s in shards} == {((0, 1),)}
    assert found.plan.table("aws", "big").cells == 1  # slices are parts of one cell


def test_a_whole_fresh_list_is_authoritative(loaded):
    assert all(t.authoritative for t in planned(loaded).plan.tables)


@pytest.mark.parametrize(
    ("clients", "why"),
    [
        (Clients("a", ["1"], whole=False, why_not="from a cache"), "from a cache"),
        (Clients("a", ["1"], whole=False), "the source could not list all of its clients"),
        (Clients("a", []), "the list of clients is empty"),
        (Clients("a", ["1"], ranges=()), "the list of clients is empty"),
    ],
)
def test_any_other_list_is_not_and_the_plan_says_why(loaded, clients, why):
    plan = planned(loaded, {**SOURCES, "aws": Estate([table("iam")], clients)}).plan
    (iam,) = [t for t in plan.tables if t.source == "aws"]
    assert (iam.authoritative, iam.why_not_authoritative) == (False, why)
    assert plan.table("hn", "items").authoritative


@pytest.mark.parametrize(
    ("narrowing", "expected", "why"),
    [
        (Narrowing(sources=("aws",)), {"iam": "123", "ec2": "123"}, "--source"),
        (Narrowing(tables=("iam",)), {"iam": "123"}, "--table"),
        (Narrowing(tables=("iam_keys",)), {"iam": "123"}, "--table"),
        (Narrowing(clients=("2",)), {"iam": "2", "ec2": "2"}, "--client"),
        (Narrowing(clients=("*:us",)), {"ec2": "123"}, "--client"),
        (Narrowing(("aws",), ("ec2",), ("3:eu", "1:us")), {"ec2": "13"},
         "--source and --table and --client"),
    ],
)  # fmt: skip
def test_a_narrowed_run_plans_less_and_is_never_authoritative(loaded, narrowing, expected, why):
    found = planned(loaded, narrowing=narrowing)
    clients = {
        t.name: sorted({c[0] for c in ids(found, t.source, t.clients)}) for t in found.plan.tables
    }
    assert clients == {name: list(accounts) for name, accounts in expected.items()}
    for t in found.plan.tables:
        assert not t.authoritative
        assert t.why_not_authoritative == f"the run was narrowed by {why}"
    assert sum(s.cells for s in found.shards()) == sum(len(ids(found, t.source, t.clients)) for t in found.plan.tables)  # fmt: skip


@pytest.mark.parametrize(
    ("narrowing", "message"),
    [
        (Narrowing(sources=("awz",)), "--source awz matches nothing in this spec\n  did you mean 'aws'"),
        (Narrowing(tables=("iam_kys",)), "--table iam_kys matches nothing.*\n  did you mean 'iam_keys'"),
        (Narrowing(clients=("9",)), "--client 9 matches nothing in this spec$"),
    ],
)  # fmt: skip
def test_narrowing_to_nothing_is_an_error(loaded, narrowing, message):
    with pytest.raises(InputError, match=message):
        planned(loaded, narrowing=narrowing)


def test_the_sync_time_is_later_than_every_earlier_sync_of_the_sources():
    later = NOW + timedelta(hours=1)
    cursors = [
        Cursors(run="r", destination="pg", last_sync={"aws": later, "other": later + timedelta(days=1)}),
        Cursors(run="r", destination="duck", last_sync={"aws": NOW}),
    ]  # fmt: skip
    assert sync_time(NOW, cursors, ["aws"]) == later + timedelta(microseconds=1)
    assert sync_time(NOW, cursors, ["hn"]) == NOW


def test_a_plan_is_written_to_the_stage_and_read_back(loaded, tmp_path):
    found = planned(loaded)
    stage = Stage(LocalStore(tmp_path / "stage"))
    for source, clients in found.clients.items():
        assert stage.write_clients("r", source, clients) == found.plan.source(source).clients
    stage.write_plan(found.plan, found.shards())
    assert stage.plan("r", 1) == found.plan
    shards = list(stage.shards("r", 1, 0, found.plan.shards))
    assert shards == list(found.shards())
    assert list(stage.clients("r", "aws", shards[0].clients)) == ids(
        found, "aws", shards[0].clients
    )


class Lines(Sequence):
    """Account × region ids, made when they are asked for."""

    def __init__(self, accounts, regions):
        self.accounts, self.regions = accounts, regions

    def __len__(self):
        return self.accounts * self.regions

    def __getitem__(self, i):
        if not 0 <= i < len(self):
            raise IndexError(i)
        return f"{i // self.regions:012d}:region-{i % self.regions}"


def _drained(found):
    counts = Counter()
    for shard in found.shards():
        assert isinstance(shard, Shard)
        counts[shard.table] += shard.cells
    return counts


def _peak(loaded, accounts, tables):
    names = [table(f"aws_table_{i:03d}") for i in range(tables)]
    clients = Clients("account_regions", Lines(accounts, 17))
    heavy = {f"{i * 7:012d}:region-{i % 17}": (2.0 + i, 10) for i in range(100)}
    history = History(
        source="aws", table="t", updated=NOW, cells=accounts * 17, mean_s=0.35, mean_rows=5, heavy=heavy
    )  # fmt: skip
    sources = {**SOURCES, "aws": Estate(names, clients)}
    tracemalloc.start()
    try:
        found = planned(loaded, sources, histories=lambda source, name: history)
        counts = _drained(found)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    counts.pop("items")
    assert set(counts.values()) == {accounts * 17}
    assert len(counts) == tables
    assert isinstance(found.plan, Plan)
    return peak


def test_memory_does_not_grow_with_the_number_of_accounts(loaded):
    small, large = (_peak(loaded, accounts, 20) for accounts in (1_000, 10_000))
    assert large < small * 1.1 + 200_000


def test_lines_of_the_client_file_lead_back_to_clients():
    file = ClientFile("aws")
    assert [file.add(ACCOUNTS), file.add(REGIONS), file.add(ACCOUNTS)] == [
        ((0, 3),), ((3, 9),), ((0, 3),),
    ]  # fmt: skip
    assert [file.client(i) for i in range(len(file))] == list(file) == [*ACCOUNTS.ids, *REGIONS.ids]
    assert file.lines_of({"2", "3:eu"}.__contains__) == {"2": [1], "3:eu": [7]}
    with pytest.raises(IndexError):
        file.client(9)


def test_the_shards_of_a_deal_plan_every_table_once(loaded):
    parts = [planned(loaded, narrowing=Narrowing(part=Part(n, 2))) for n in (1, 2)]
    names = [sorted((t.source, t.name) for t in found.plan.tables) for found in parts]
    assert names == [[("aws", "ec2"), ("hn", "items")], [("aws", "iam")]]
    assert [found.plan.part for found in parts] == ["1/2", "2/2"]
    assert [found.dealt for found in parts] == [3, 3]
    whole = planned(loaded).plan
    assert sum(found.plan.cells for found in parts) == whole.cells
    assert whole.part == ""
    for t in parts[0].plan.tables:
        assert not t.authoritative
        assert t.why_not_authoritative == "the run was narrowed by --shard"


def test_a_surplus_shard_is_an_empty_plan_of_the_same_sources(loaded):
    found = planned(loaded, narrowing=Narrowing(part=Part(9, 9)))
    assert (found.plan.tables, found.plan.shards, found.plan.cells) == ((), 0, 0)
    assert [s.name for s in found.plan.sources] == ["aws", "hn"]
    assert list(found.shards()) == []


def test_a_table_and_a_client_of_another_shard_are_no_mistake(loaded):
    found = planned(loaded, narrowing=Narrowing((), ("iam",), ("1",), Part(1, 2)))
    assert found.plan.tables == ()
    with pytest.raises(InputError, match="--client nobody matches nothing"):
        planned(loaded, narrowing=Narrowing(clients=("nobody",), part=Part(1, 2)))
    with pytest.raises(InputError, match="--table nothing matches nothing"):
        planned(loaded, narrowing=Narrowing(tables=("nothing",), part=Part(1, 2)))


def test_a_full_refresh_names_tables(loaded):
    def refreshed(*patterns):
        plan = planned(loaded, full_refresh=patterns).plan
        return {t.name for t in plan.tables if plan.refreshes(t)}

    assert refreshed() == set()
    assert refreshed("*") == {"iam", "ec2", "items"}
    assert refreshed("ite*", "ec2") == {"items", "ec2"}
    assert refreshed("iam_keys") == {"iam"}  # a child is read with its parents
    with pytest.raises(InputError, match="--full-refresh itms matches nothing") as wrong:
        refreshed("itms")
    assert "items" in wrong.value.hint


def test_plans_from_before_tables_could_be_named_refresh_whole_sources(loaded):
    plan = planned(loaded).plan.model_copy(update={"full_refresh": ("hn",)})
    assert {t.name for t in plan.tables if plan.refreshes(t)} == {"items"}


def test_the_plan_says_of_which_invocation_it_is_and_whether_tables_may_change(loaded):
    plan = planned(loaded, sync_id="nightly", migrate=False).plan
    assert (plan.sync_id, plan.migrate) == ("nightly", False)
    assert (planned(loaded).plan.sync_id, planned(loaded).plan.migrate) == ("", True)
