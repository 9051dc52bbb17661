"""What every Source does, as tests: ours are bound to it in tests/contract/, somebody else's by
`pytest --sharder-source module:factory` or in their own tests.

Imports pytest; only tests import this.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from contracts import table as cq
from contracts import types
from contracts.table import Table, from_json, to_json, trees, with_cq_columns
from worker.sources.base import (
    CellDone,
    Checkpoint,
    Context,
    Deleted,
    Event,
    Rows,
    Source,
    Work,
    facts_of,
)
from worker.stamp import Stamp
from worker.tombstones import tombstones

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


def context(name: str = "src", **changes: object) -> Context:
    """Surroundings in which nothing takes time; `changes` replace single ones."""
    usual: dict[str, object] = {
        "now": lambda: NOW,
        "sleep": lambda _seconds: None,
        "cancelled": lambda: False,
    }
    return Context(name=name, **(usual | changes))  # type: ignore[arg-type]


def frozen(source: Source) -> dict[str, tuple[Table, ...]]:
    """Top-level table → its tree, as a plan has it."""
    found = trees(source.tables())
    return {top: tuple(with_cq_columns(t) for t in tree) for top, tree in found.items()}


@dataclass
class Reading:
    """Everything that one read yielded, rows stamped as the worker does it."""

    rows: dict[tuple[str, str], list[pa.RecordBatch]] = field(default_factory=dict)
    ends: list[CellDone] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    cursors: dict[str, str] = field(default_factory=dict)

    def table(self, table: Table, client: str | None = None) -> pa.Table:
        batches = [
            b
            for (t, c), found in self.rows.items()
            if t == table.name and client in (None, c)
            for b in found
        ]
        return pa.Table.from_batches(batches, table.schema)

    def outcomes(self, table: str) -> dict[str, str]:
        return {e.client: e.outcome for e in self.ends if e.table == table}


def read(
    source: Source,
    tree: Sequence[Table],
    clients: Sequence[str],
    *,
    cursors: Mapping[str, str] | None = None,
    selected: Sequence[str] | None = None,
    slice_: Mapping[str, object] | None = None,
) -> Reading:
    names = frozenset(t.name for t in tree if selected is None or t.name in selected)
    stamps = {t.name: Stamp(t, "src", NOW) for t in tree}
    reading = Reading()
    for event in source.read(Work(tuple(tree), names, clients, slice_), cursors or {}):
        reading.events.append(event)
        match event:
            case Rows(table, client, batch):
                stamped = stamps[table](client, batch)
                reading.rows.setdefault((table, client), []).append(stamped)
            case Deleted():
                tombstones(
                    event, {t.name: t for t in tree}, {}
                )  # raises for what no commit could hold
            case Checkpoint(cursor=cursor):
                reading.cursors |= cursor
            case CellDone():
                reading.ends.append(event)
                reading.cursors |= event.cursor
    return reading


class SourceSuite:
    """The binding gives `source`: opened with `context()`, over data that does not change.

    `tops` limits the tests that read rows to some top-level tables; `empty` names tables that have no
    rows there.
    """

    tops: Sequence[str] | None = None
    empty: frozenset[str] = frozenset()

    @pytest.fixture
    def source(self) -> Source:
        raise NotImplementedError

    def trees(self, source: Source) -> list[tuple[Table, ...]]:
        return [
            tree for top, tree in frozen(source).items() if self.tops is None or top in self.tops
        ]

    def ids(self, source: Source, top: Table) -> list[str]:
        """The clients that the source itself names for a table."""
        found = source.clients(top)
        ranges = found.ranges if found.ranges is not None else ((0, len(found.ids)),)
        return [found.ids[i] for start, stop in ranges for i in range(start, stop)]

    def test_tables_have_names_of_their_own_and_follow_their_parents(self, source: Source) -> None:
        seen: set[str] = set()
        for table in source.tables():
            assert table.name not in seen
            assert table.parent is None or table.parent in seen
            seen.add(table.name)
        assert seen

    def test_columns_have_names_of_their_own_and_types_that_documents_can_hold(
        self, source: Source
    ) -> None:
        for table in source.tables():
            names = [c.name for c in table.columns]
            assert len(set(names)) == len(names)
            assert not [n for n in names if n in {cq.SYNC_TIME, cq.SOURCE_NAME}]
            assert all(types.decode(types.encode(c.type)) == c.type for c in table.columns)
            assert from_json(to_json(table)) == table

    def test_a_top_level_table_names_its_clients_once(self, source: Source) -> None:
        for tree in self.trees(source):
            found = source.clients(tree[0])
            ids = self.ids(source, tree[0])
            assert len(set(ids)) == len(ids)
            assert all(ids)
            assert found.list
            assert found.whole or found.why_not

    def test_every_cell_ends_once_and_ok(self, source: Source) -> None:
        for tree in self.trees(source):
            clients = self.ids(source, tree[0])
            reading = read(source, tree, clients)
            ends = Counter((e.table, e.client) for e in reading.ends)
            assert ends == Counter({(t.name, c): 1 for t in tree for c in clients})
            assert [e for e in reading.ends if e.outcome != "ok"] == []

    def test_rows_fit_the_frozen_schema_and_have_their_keys(self, source: Source) -> None:
        for tree in self.trees(source):
            reading = read(source, tree, self.ids(source, tree[0]))
            for table in tree:
                found = reading.table(table)
                found.validate(full=True)
                assert bool(found.num_rows) == (table.name not in self.empty), table.name
                for column in table.primary_key:
                    assert found[column].null_count == 0

    def test_no_row_follows_the_end_of_its_cell(self, source: Source) -> None:
        for tree in self.trees(source):
            ended = set()
            for event in read(source, tree, self.ids(source, tree[0])).events:
                assert (event.table, event.client) not in ended
                if isinstance(event, CellDone):
                    ended.add((event.table, event.client))

    def test_reading_twice_gives_the_same_rows_and_ids(self, source: Source) -> None:
        for tree in self.trees(source):
            clients = self.ids(source, tree[0])
            one, other = read(source, tree, clients), read(source, tree, clients)
            for table in tree:
                columns = [cq.ID] if table.primary_key != (cq.ID,) else [cq.CLIENT_ID]
                assert _bag(one.table(table), columns) == _bag(other.table(table), columns)

    def test_ids_are_unique_within_a_client(self, source: Source) -> None:
        for tree in self.trees(source):
            clients = self.ids(source, tree[0])
            reading = read(source, tree, clients)
            for table in tree:
                for client in clients:
                    assert max(_bag(reading.table(table, client), [cq.ID]).values(), default=1) == 1

    def test_children_point_to_a_row_of_their_parent(self, source: Source) -> None:
        for tree in self.trees(source):
            reading = read(source, tree, self.ids(source, tree[0]))
            by_name = {t.name: t for t in tree}
            for table in tree[1:]:
                parents = set(reading.table(by_name[table.parent or ""])[cq.ID].to_pylist())
                assert set(reading.table(table)[cq.PARENT_ID].to_pylist()) <= parents

    def test_an_unknown_client_fails_its_own_cell_only(self, source: Source) -> None:
        for tree in self.trees(source):
            clients = self.ids(source, tree[0])
            outcomes = read(source, tree, [*clients, "no-such-client"]).outcomes(tree[0].name)
            assert outcomes.pop("no-such-client", "failed") == "failed"
            assert outcomes == dict.fromkeys(clients, "ok")

    def test_tables_that_are_not_selected_have_no_cells(self, source: Source) -> None:
        for tree in self.trees(source):
            clients = self.ids(source, tree[0])
            reading = read(source, tree, clients, selected=[tree[-1].name])
            assert {e.table for e in reading.ends} == {tree[-1].name}
            assert len(reading.ends) == len(clients)

    def test_a_source_that_can_be_tested_says_who_answered(self, source: Source) -> None:
        if hasattr(source, "test"):
            said = source.test()
            assert said
            assert "\n" not in said

    def test_facts_are_known_of_every_table(self, source: Source) -> None:
        for table in source.tables():
            assert all(facts_of(source, table).permissions)

    def test_tables_that_share_a_shard_are_read_as_each_of_them_alone(self, source: Source) -> None:
        groups = getattr(source, "groups", None)
        if groups is None:
            return
        trees = {tree[0].name: tree for tree in self.trees(source)}
        for names in groups(list(trees.values())):
            together = [trees[name] for name in names]
            clients = self.ids(source, together[0][0])
            shared = read(source, [t for tree in together for t in tree], clients)
            for tree in together:
                alone = read(source, tree, clients)
                for table in tree:
                    own = [c.name for c in table.columns if not c.name.startswith("_cq_")]
                    assert _bag(shared.table(table), own) == _bag(alone.table(table), own)
                    assert shared.outcomes(table.name) == alone.outcomes(table.name)

    def test_slices_together_are_the_whole_cell(self, source: Source) -> None:
        split = getattr(source, "split", None)
        if split is None:
            return
        for tree in self.trees(source):
            for client in self.ids(source, tree[0]):
                slices = split(tree[0], client, 3)
                if not slices:
                    continue
                whole = read(source, tree, [client]).table(tree[0])
                pieces = [read(source, tree, [client], slice_=s).table(tree[0]) for s in slices]
                names = [c.name for c in tree[0].columns if not c.name.startswith("_cq_")]
                assert sum((_bag(p, names) for p in pieces), Counter()) == _bag(whole, names)


def _bag(table: pa.Table, columns: Sequence[str]) -> Counter[str]:
    return Counter(repr(row) for row in table.select(columns).to_pylist())
