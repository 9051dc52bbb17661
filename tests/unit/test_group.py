"""Tables that share shards: which do, how many clients go with them, and that no cell is planned twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import layout
from contracts.apart import apart, of_table
from contracts.commit import Cell, Commit, Part
from contracts.errors import Permanent
from contracts.history import History
from contracts.plan import Plan, groups
from contracts.specfile import load
from contracts.stage import Stage
from contracts.store import open_store
from contracts.table import Column, Table
from sharder import undone
from sharder.deal import Part as Deal
from sharder.group import START_S, share_out
from sharder.lessons import Lessons
from sharder.planner import Narrowing, plan_round
from sharder.retry import plan_retry
from sharder.summary import Tally
from tests.fakes import tree
from worker.sources.base import Clients
from worker.sources.suite import SourceSuite, context

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
SPEC = """\
kind: source
spec: {name: gcp, path: cloudquery/aws, tables: ["*"], destinations: [w]}
---
kind: destination
spec: {name: w, path: cloudquery/duckdb}
"""


def table(name, parent=None):
    return Table(name, (Column("id", pa.string(), primary_key=True),), parent)


class Program:
    """A source that starts a program for each shard: `sets` of its tables may share one."""

    def __init__(self, tables, clients, sets=None):
        self._tables, self._clients = tables, clients
        self._sets = sets

    def tables(self):
        return self._tables

    def clients(self, table):
        return Clients("all", self._clients)

    def groups(self, trees):
        return [[tree[0].name for tree in trees]] if self._sets is None else self._sets

    def read(self, work, cursors):
        raise AssertionError("planning reads no rows")

    def close(self):
        pass


def three(clients=("a", "b"), sets=None):
    tables = [table("disks"), table("nets"), table("net_rules", "nets"), table("users")]
    return Program(tables, list(clients), sets)


@pytest.fixture
def loaded(tmp_path):
    (tmp_path / "spec.yml").write_text(SPEC)
    return load([tmp_path / "spec.yml"], {}, NOW)


def planned(loaded, source, **more):
    arguments = {"run": "r", "now": NOW, "cursors": {}} | more
    return plan_round(loaded, {"gcp": source}, **arguments)


def tops(plan, shard):
    return tuple(t.name for t in plan.tables_of(shard))


def tops_of(found):
    return [tops(found.plan, shard) for shard in found.shards()]


def test_tables_of_a_set_share_their_shards_in_the_order_of_the_source(loaded):
    found = planned(loaded, three())
    (shard,) = found.shards()
    assert (shard.table, shard.tables, shard.clients) == ("disks", 3, ((0, 2),))
    assert tops(found.plan, shard) == ("disks", "nets", "users")
    assert [(t.first, t.shards, t.cells) for t in found.plan.tables] == [
        (0, 1, 2),
        (0, 1, 4),
        (0, 1, 2),
    ]
    assert (found.plan.shards, found.plan.cells, found.plan.version) == (1, 8, 2)
    assert sum(t.cost_s for t in found.plan.tables) == pytest.approx(shard.cost_s, abs=0.01)
    assert shard.cost_s == pytest.approx(2 * (START_S + 4 * 0.35))


def test_what_a_source_keeps_apart_stays_apart(loaded):
    found = planned(loaded, three(sets=[["disks", "users"]]))
    assert sorted(tops_of(found)) == [("disks", "users"), ("nets",)]


def test_a_plan_without_shared_shards_is_of_the_version_that_older_programs_read(loaded):
    for sets in ([], [["disks"], ["nets"]]):
        found = planned(loaded, three(sets=sets))
        assert found.plan.version == 1
        assert all(s.tables == 1 for s in found.shards())
        assert b'"tables"' not in next(found.shards()).to_line()


def test_a_set_that_takes_longer_than_a_shard_is_shared_out(loaded):
    tables = [table(f"t{n:03}") for n in range(400)]  # 140 s for one client
    found = planned(loaded, Program(tables, ["a", "b"]))
    per_client = Counter(s.clients for s in found.shards())
    assert per_client == {((0, 1),): 3, ((1, 2),): 3}
    assert max(s.cost_s for s in found.shards()) < 60


def test_many_clients_go_with_a_small_group(loaded):
    found = planned(loaded, three([f"c{n}" for n in range(100)]))
    shards = list(found.shards())
    assert {s.cells for s in shards} == {12, 13}  # of 4.4 s each
    assert all(s.tables == shards[0].tables for s in shards)


def test_history_replaces_the_prior_and_a_slow_client_gets_a_shard_of_its_own(loaded):
    def histories(source, name):
        heavy = {"c7": (100.0, 9)} if name == "nets" else {}
        mean_s = 2.0 if name != "nets" else 11.8
        return History(
            source=source, table=name, updated=NOW, cells=10, mean_s=mean_s, mean_rows=1, heavy=heavy
        )  # fmt: skip

    source = three([f"c{n}" for n in range(10)])
    found = planned(loaded, source, histories=histories)
    slow, *others = found.shards()
    assert (slow.clients, slow.cost_s) == (((7, 8),), 104.0)
    assert [s.cells for s in others] == [9]
    assert others[0].cost_s == pytest.approx(9 * 6.0)


def test_a_table_that_is_read_anew_shares_with_none_that_goes_on_from_its_cursor(loaded):
    found = planned(loaded, three(), full_refresh=["users", "net_rules"])
    assert set(tops_of(found)) == {("disks",), ("nets", "users")}
    assert {t.name for t in found.plan.tables if t.full_refresh} == {"nets", "users"}


def test_tables_with_different_clients_share_no_shard(loaded):
    source = three()
    source.clients = lambda t: Clients(t.name, ["a"] if t.name == "users" else ["a", "b"])
    found = planned(loaded, source)
    assert sorted(tops_of(found)) == [("disks",), ("nets",), ("users",)]


def test_tables_without_clients_have_no_shards(loaded):
    found = planned(loaded, three([]))
    assert [(t.name, t.shards) for t in found.plan.tables] == [
        ("disks", 0),
        ("nets", 0),
        ("users", 0),
    ]
    assert (list(found.shards()), found.plan.version) == ([], 1)


@pytest.mark.parametrize(
    ("sets", "says"),
    [
        ([["disks", "nets"], ["nets"]], "'nets' is in two groups"),
        ([["net_rules"]], "'net_rules' is no top-level table of the plan"),
    ],
)
def test_groups_that_are_none_are_a_bug_of_the_source(loaded, sets, says):
    with pytest.raises(Permanent, match=says):
        planned(loaded, three(sets=sets))


def test_the_suite_of_sources_finds_one_that_reads_only_the_first_tree_of_a_shard():
    source = tree.open({"together": True, "trees": 3}, context())
    suite = SourceSuite()
    suite.test_tables_that_share_a_shard_are_read_as_each_of_them_alone(source)
    read = source.read
    source.read = lambda work, cursors: read(replace(work, tree=work.trees[0]), cursors)
    with pytest.raises(AssertionError):
        suite.test_tables_that_share_a_shard_are_read_as_each_of_them_alone(source)


TREES = st.lists(st.integers(0, 3), min_size=1, max_size=8)  # children of each


@given(
    trees=TREES,
    clients=st.integers(1, 40),
    target=st.sampled_from([1.0, 5.0, 60.0]),
    sets=st.integers(0, 3),
    narrowing=st.sampled_from(
        [
            Narrowing(),
            Narrowing(tables=("t0*",)),
            Narrowing(clients=("c1",)),
            Narrowing(part=Deal(1, 2)),
        ]
    ),
)
def test_every_cell_is_in_one_shard_whatever_is_grouped(
    tmp_path_factory, trees, clients, target, sets, narrowing
):
    place = tmp_path_factory.mktemp("spec") / "spec.yml"
    place.write_text(f"{SPEC}---\nkind: fleet\nspec: {{shard_seconds: {target}}}\n")
    tables = [
        t
        for n, children in enumerate(trees)
        for t in (
            table(f"t{n}"),
            *(table(f"t{n}_{c}", f"t{n}") for c in range(children)),
        )
    ]
    top_names = {t.name for t in tables if not t.parent}
    source = Program(tables, [f"c{n}" for n in range(clients + 1)])
    source.groups = lambda planted: [
        [tree[0].name for tree in planted if int(tree[0].name[1:]) % 4 == n] for n in range(sets)
    ]
    found = planned(load([place], {}, NOW), source, narrowing=narrowing)
    plan, shards = found.plan, list(found.shards())
    cells = Counter(
        (name, client)
        for shard in shards
        for t in plan.tables_of(shard)
        for name in t.selected
        for start, stop in shard.clients
        for client in range(start, stop)
    )
    assert set(cells.values()) <= {1}
    assert len(cells) == plan.cells == sum(t.cells for t in plan.tables)
    only = {"c1"} if narrowing.clients else None
    lines = [n for n, c in enumerate(found.clients["gcp"]) if only is None or c in only]
    assert set(cells) == {(n, c) for t in plan.tables for n in t.selected for c in lines}
    assert [s.id for s in shards] == [layout.shard_id(1, n) for n in range(plan.shards)]
    for t in plan.tables:
        assert {s.id for s in shards if t in plan.tables_of(s)} == set(t.shard_ids(1))
    assert {t.name for t in plan.tables} <= top_names
    assert Plan.from_bytes(plan.to_bytes()) == plan
    assert plan.version == (2 if any(s.tables > 1 for s in shards) else 1)


@given(
    st.lists(st.floats(0.001, 200), max_size=60),
    st.sampled_from([1.0, 10.0, 60.0]),
)
def test_tables_are_shared_out_once_each_and_none_of_the_groups_takes_two_targets(costs, target):
    found = share_out(costs, target)
    assert sorted(n for group in found for n in group) == list(range(len(costs)))
    for group in found:
        assert len(group) == 1 or sum(costs[n] for n in group) < 2 * target


# What a shared commit means for each of its tables.


def ends(*cells, parts=(), seconds=60.0, verdict=None):
    return Commit(
        run="r", shard="01-0000000", attempt="x", started=NOW, ended=NOW + timedelta(seconds=seconds),
        cells=tuple(cells), parts=tuple(parts), verdict=verdict,
    )  # fmt: skip


def cell(name, client, rows=0, outcome="ok"):
    return Cell(table=name, client=client, outcome=outcome, rows=rows)


def part(name, size):
    return Part(key=name, table=name, rows=1, bytes=size, checksum="crc32:00000000", cells={"a": 1})


ALL = [
    cell(n, c, 450 if n == "nets" else 0)
    for n in ("disks", "nets", "net_rules", "users")
    for c in "ab"
]


def test_a_shared_commit_is_spread_over_its_tables_by_what_they_gave(loaded):
    found = planned(loaded, three())
    (shard,) = found.shards()
    commit = ends(*ALL, parts=[part("nets", 7), part("users", 2)])
    shares = {own.table: (own, mine) for own, mine in apart(shard, commit, found.plan)}
    assert {n: len(c.cells) for n, (_, c) in shares.items()} == {"disks": 2, "nets": 4, "users": 2}
    assert {n: c.bytes for n, (_, c) in shares.items()} == {"disks": 0, "nets": 7, "users": 2}
    # Weights: 100 for two empty cells; 1,000 for two of 450 rows.
    seconds = {n: (c.ended - c.started).total_seconds() for n, (_, c) in shares.items()}
    assert seconds == pytest.approx({"disks": 60 / 13, "nets": 60 * 11 / 13, "users": 60 / 13})
    assert sum(own.cost_s for own, _ in shares.values()) == pytest.approx(shard.cost_s)
    for planned_table in found.plan.tables:
        own, mine = of_table(shard, commit, planned_table)
        assert (own.table, own.tables) == (planned_table.name, 1)
        assert mine.cells == shares[planned_table.name][1].cells


def test_a_verdict_is_that_of_every_table_and_its_time_is_shared_evenly(loaded):
    found = planned(loaded, three())
    (shard,) = found.shards()
    lost = cell("disks", "", outcome="failed")
    shares = apart(shard, ends(verdict=lost), found.plan)
    assert [c.verdict for _, c in shares] == [lost] * 3
    assert {(c.ended - c.started).total_seconds() for _, c in shares} == {20.0}


def test_the_sums_of_a_round_count_each_table_by_itself(loaded):
    found = planned(loaded, three())
    (shard,) = found.shards()
    tally = Tally(found.plan)
    tally.add(shard, ends(*ALL[:-1], cell("users", "b", outcome="failed"), parts=[part("nets", 7)]))
    summary = tally.summary(ended=NOW, lost=0, cancelled="")
    assert {t.table: (t.cells.ok, t.cells.failed, t.rows, t.bytes) for t in summary.tables} == {
        "disks": (2, 0, 0, 0),
        "nets": (4, 0, 900, 7),
        "users": (1, 1, 0, 0),
    }
    assert sum(t.seconds for t in summary.tables) == pytest.approx(60, abs=0.01)
    assert [p.table for p in summary.problems] == ["users"]
    assert tally.tables["gcp", "users"].done_s == pytest.approx(
        tally.tables["gcp", "users"].expected_s, abs=0.01
    )


def test_a_watcher_that_gave_a_shared_shard_up_failed_the_cells_of_all_its_tables(loaded):
    found = planned(loaded, three())
    (shard,) = found.shards()
    tally = Tally(found.plan)
    tally.add(shard, ends(verdict=cell("disks", "", outcome="failed")), ["a", "b"])
    assert {t: v.failed for (_, t), v in tally.tables.items()} == {
        "disks": 2,
        "nets": 4,
        "users": 2,
    }


@pytest.fixture
def stage(tmp_path, loaded):
    stage = Stage(open_store(str(tmp_path / "stage")))
    found = planned(loaded, three([f"c{n}" for n in range(4)]))
    stage.write_clients("r", "gcp", found.clients["gcp"])
    stage.write_plan(found.plan, found.shards())
    return stage


def finish(stage, *failed):
    cells = [
        cell(n, f"c{c}", outcome="failed" if (n, c) in failed else "ok")
        for n in ("disks", "nets", "net_rules", "users")
        for c in range(4)
    ]
    commit = ends(*cells)
    stage.create_commit(commit)
    return commit


def test_each_table_of_a_group_learns_its_own_history(stage):
    plan, (shard,) = stage.plan("r", 1), stage.shards("r", 1, 0, 1)
    Lessons(stage, plan, lambda: NOW).add(shard, finish(stage))
    # 16 cells without rows in 60 s: a tree of two tables takes twice as long.
    assert [stage.history("gcp", t).mean_s for t in ("disks", "nets", "users")] == [3.75, 7.5, 3.75]


def test_a_retry_groups_again_the_tables_of_which_the_same_clients_are_left(stage):
    finish(stage, ("disks", 1), ("net_rules", 1), ("users", 1), ("users", 3))
    plan = stage.plan("r", 1)
    left = dict(undone.cells(stage, [plan]))
    assert left == {
        ("gcp", "disks"): [(1, 2)],
        ("gcp", "nets"): [(1, 2)],
        ("gcp", "users"): [(1, 2), (3, 4)],
    }
    again = plan_retry([plan], left.items(), now=NOW)
    assert {(tops(again.plan, s), s.clients) for s in again.shards()} == {
        (("disks", "nets"), ((1, 2),)),
        (("users",), ((1, 2), (3, 4))),
    }
    assert (again.plan.version, again.plan.shards, again.plan.cells) == (2, 2, 1 + 2 + 2)
    assert Plan.from_bytes(again.plan.to_bytes()) == again.plan


def test_a_retry_of_one_table_of_a_group_is_a_plan_that_older_programs_read(stage):
    finish(stage, ("users", 3))
    plan = stage.plan("r", 1)
    again = plan_retry([plan], undone.cells(stage, [plan]), now=NOW, load_again=[("gcp", "nets")])
    assert (again.plan.version, tops_of(again)) == (1, [("users",)])
    assert [len(g) for g in groups(again.plan.tables)] == [1, 1]


def test_a_plan_whose_tables_share_shards_but_not_their_clients_is_none(stage):
    plan = stage.plan("r", 1)
    first, *others = plan.tables
    wrong = plan.model_copy(
        update={"tables": (first.model_copy(update={"clients": ((0, 1),)}), *others)}
    )
    with pytest.raises(Permanent, match="has the shards of 'disks'"):
        Plan.from_bytes(wrong.to_bytes())
