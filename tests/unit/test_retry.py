"""The round that `retry` adds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InputError, Permanent
from contracts.plan import Plan, PlannedDestination, PlannedSource, PlannedTable
from contracts.table import Column, Table
from sharder.pack import joined
from sharder.retry import plan_retry

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
CLIENTS = 100


def planned(source, name, first, *, shards=2, cost_s=50.0):
    columns = (Column("id", pa.string(), primary_key=True),)
    tree = (Table(name, columns), Table(f"{name}_child", columns, name))
    return PlannedTable(
        source=source, name=name, tree=tree, selected=(name, f"{name}_child"), first=first,
        shards=shards, cells=2 * CLIENTS, clients=((0, CLIENTS),), authoritative=True, cost_s=cost_s,
    )  # fmt: skip


FIRST = Plan(
    run="r",
    round=1,
    created=NOW,
    sync_time=NOW,
    format="csv",
    sources=(
        PlannedSource(name="aws", path="p/aws", spec=0, destinations=("pg",), clients=CLIENTS),
        PlannedSource(name="hn", path="p/hn", spec=1, destinations=("duck",), clients=CLIENTS),
    ),
    destinations=(
        PlannedDestination(name="pg", path="p/pg", spec=2),
        PlannedDestination(name="duck", path="p/duck", spec=3),
        PlannedDestination(name="state", path="p/pg", spec=4, holds_state_of=("aws",)),
    ),
    tables=(
        planned("aws", "ec2", 0, cost_s=400.0),
        planned("aws", "s3", 2),
        planned("hn", "items", 4),
    ),
    shards=6,
    cells=6 * CLIENTS,
)
EC2, S3, ITEMS = ("aws", "ec2"), ("aws", "s3"), ("hn", "items")


def test_only_the_cells_that_did_not_end_ok_are_planned_again():
    found = plan_retry(
        [FIRST], [(S3, [(7, 8)]), (EC2, [(3, 5)]), (S3, [(1, 2), (7, 8)])], now=LATER
    )
    plan = found.plan
    assert (plan.round, plan.created, plan.sync_time, plan.format) == (2, LATER, NOW, "csv")
    assert {t.name: t.clients for t in plan.tables} == {"s3": ((1, 2), (7, 8)), "ec2": ((3, 5),)}
    assert [(s.id, s.table, s.clients) for s in found.shards()] == [
        ("02-0000000", "ec2", ((3, 5),)),
        ("02-0000001", "s3", ((1, 2), (7, 8))),
    ]
    assert (plan.shards, plan.cells) == (2, 8)
    assert plan.table(*EC2).tree == FIRST.table(*EC2).tree


def test_a_retry_is_never_authoritative_and_says_why():
    (table,) = plan_retry([FIRST], [(EC2, [(0, CLIENTS)])], now=LATER).plan.tables
    assert not table.authoritative
    assert table.why_not_authoritative == "a retry covers only the cells that did not end ok"


def test_a_table_whose_load_failed_takes_part_without_shards():
    found = plan_retry([FIRST], [(EC2, [(3, 5)])], load_again=[S3, EC2], now=LATER)
    assert [(t.name, t.first, t.shards, t.cells) for t in found.plan.tables] == [
        ("ec2", 0, 1, 4),
        ("s3", 1, 0, 0),
    ]
    assert list(found.plan.table(*S3).shard_ids(2)) == []


def test_only_the_sources_and_destinations_concerned_take_part():
    plan = plan_retry([FIRST], [(ITEMS, [(0, 1)])], now=LATER).plan
    assert ([s.name for s in plan.sources], [d.name for d in plan.destinations]) == (
        ["hn"],
        ["duck"],
    )
    plan = plan_retry([FIRST], [(EC2, [(0, 1)])], now=LATER).plan
    assert [d.name for d in plan.destinations] == ["pg", "state"]


def test_a_second_retry_goes_back_to_what_the_first_round_planned():
    second = plan_retry([FIRST], [(EC2, [(3, 5)])], now=LATER).plan
    third = plan_retry([FIRST, second], [(EC2, [(4, 5)]), (ITEMS, [(9, 10)])], now=LATER).plan
    assert third.round == 3
    assert {t.name: t.clients for t in third.tables} == {"ec2": ((4, 5),), "items": ((9, 10),)}
    assert {s.name for s in third.sources} == {"aws", "hn"}


def test_shards_are_as_long_as_the_first_round_expected():
    found = plan_retry([FIRST], [(EC2, [(0, CLIENTS)])], now=LATER, target_s=100.0)
    assert [s.cost_s for s in found.shards()] == [100.0] * 4


def test_nothing_to_retry_is_told():
    with pytest.raises(InputError, match="nothing is left to retry"):
        plan_retry([FIRST], [], now=LATER)


def test_a_table_that_the_run_never_planned_is_an_error():
    with pytest.raises(Permanent, match="no table 'rds'"):
        plan_retry([FIRST], [(("aws", "rds"), [(0, 1)])], now=LATER)


@given(
    ranges=st.lists(
        st.tuples(st.integers(0, CLIENTS), st.integers(0, 9)).map(lambda p: (p[0], p[0] + p[1])),
        min_size=1,
    )
)
def test_every_such_client_is_in_exactly_one_shard(ranges):
    found = plan_retry([FIRST], [(EC2, ranges)], now=LATER, target_s=10.0)
    again = [c for s in found.shards() for a, b in s.clients for c in range(a, b)]
    expected = [c for a, b in joined(ranges) for c in range(a, b) if c < CLIENTS]
    assert again == expected
