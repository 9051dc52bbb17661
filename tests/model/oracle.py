"""What must be in the warehouse: told of every publish, and worked out from the winning commits alone.

It knows nothing of the loader: a cell's rows are those that the source gave to the attempt which won the
shard, in the round in which the cell ended ok (or as far as its last checkpoint).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from contracts import layout
from contracts.commit import Commit
from contracts.plan import Plan, PlannedTable
from contracts.stage import Stage

Row = tuple[str, int, str, str]  # client, key, the attempt's mark, run


@dataclass
class Given:
    """What a source gave to one attempt. `sure`: rows that may be loaded, and cursors that go with them."""

    rows: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    cursors: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class End:
    """How a cell ended in one round."""

    outcome: str
    attempt: str


@dataclass
class Holding:
    """What one destination holds, by the model."""

    rows: list[Row] = field(default_factory=list)
    cursors: dict[str, str] = field(default_factory=dict)
    done: dict[str, set[int]] = field(default_factory=dict)  # run → rounds whose rows are in
    newest: tuple[datetime, int] | None = None
    publishes: int = 0


class Oracle:
    """Of one table."""

    def __init__(
        self, stage: Stage, given: Mapping[str, Mapping[str, Given]], mode: str, table: str
    ) -> None:
        """`given`: attempt → table → what its source gave it."""
        self._stage, self._given, self._mode = stage, given, mode
        self._table = table
        self.holdings: dict[str, Holding] = {}

    def holding(self, destination: str) -> Holding:
        return self.holdings.setdefault(destination, Holding())

    def published(self, destination: str, run: str, round_: int) -> None:
        """A load was published just now."""
        held = self.holding(destination)
        plans = [self._stage.plan(run, n) for n in self._stage.rounds(run) if n <= round_]
        plans = [p for p in plans if self.planned(p)]
        done = held.done.setdefault(run, set())
        pending = {p.round for p in plans} - done
        assert round_ in pending, f"round {round_} of {run} was published twice"
        at = (plans[-1].sync_time, round_)
        assert held.newest is None or at > held.newest, f"{run} wrote over a newer run"
        ends = {p.round: dict(self.ends(p)) for p in plans}
        ok: set[str] = set()
        bad: set[str] = set()
        for client in ends[1]:
            rounds = [n for n in sorted(ends) if client in ends[n]]
            good = [n for n in rounds if ends[n][client].outcome == "ok"]
            (ok if good else bad).add(client)
            if set(good) & done:
                continue
            fresh = [n for n in rounds if n in pending and (n in good or self._keeps(ends[n][client], client))]  # fmt: skip
            if fresh:
                chosen = next((n for n in reversed(fresh) if n in good), fresh[-1])
                self._take(held, run, client, ends[chosen][client])
        if self._mode == "overwrite-delete-stale":
            whole = any(p.round in pending and self.planned(p)[0].authoritative for p in plans)
            gone = {c for n in pending for c, e in ends[n].items() if e.outcome == "ok"}
            self._delete_stale(held, run, gone, bad, whole=whole)
        done |= pending
        held.newest = at
        held.publishes += 1

    def planned(self, plan: Plan) -> list[PlannedTable]:
        return [t for t in plan.tables if t.name == self._table]

    def ends(self, plan: Plan) -> Iterator[tuple[str, End]]:
        """Client → end, of every planned cell; each shard has a commit."""
        for shard in self._stage.shards(plan.run, plan.round, 0, plan.shards):
            if self._table not in [t.name for t in plan.tables_of(shard)]:
                continue
            data = self._stage.store.get(layout.commit(plan.run, shard.id))
            commit = Commit.from_bytes(data)
            ends = {c.client: c.outcome for c in commit.cells if c.table == self._table}
            for client in self._stage.clients(plan.run, shard.source, shard.clients):
                yield client, End("failed" if commit.verdict else ends[client], commit.attempt)

    def _keeps(self, end: End, client: str) -> bool:
        given = self._given.get(end.attempt)
        return bool(given and client in given[self._table].rows)

    def _take(self, held: Holding, run: str, client: str, end: End) -> None:
        given = self._given[end.attempt][self._table]
        fresh = [(client, key, mark, run) for key, mark in given.rows.get(client, [])]
        if self._mode.startswith("overwrite"):
            keys = {row[1] for row in fresh}
            held.rows = [row for row in held.rows if row[1] not in keys]
        held.rows += fresh
        held.cursors |= given.cursors.get(client, {})

    def _delete_stale(
        self, held: Holding, run: str, ok: set[str], bad: set[str], *, whole: bool
    ) -> None:
        held.rows = [
            row
            for row in held.rows
            if row[3] == run or (row[0] in bad if whole else row[0] not in ok)
        ]


def rows_of(connection: Any, run_of: Mapping[datetime, str], table: str) -> list[Row]:
    """What is in the table of a DuckDB connection; nothing if there is no table."""
    found = connection.execute(
        "SELECT 1 FROM duckdb_tables() WHERE schema_name = 'main' AND table_name = ?", [table]
    ).fetchall()
    if not found:
        return []
    rows = connection.execute(f"SELECT _cq_client_id, k, v, _cq_sync_time FROM {table}").fetchall()
    return sorted((client, key, mark, run_of[at]) for client, key, mark, at in rows)


def cursors_of(connection: Any) -> dict[str, str]:
    found = connection.execute(
        "SELECT 1 FROM duckdb_tables() WHERE schema_name = 'main' AND table_name = 'cursors'"
    ).fetchall()
    if not found:
        return {}
    return dict(connection.execute("SELECT key, value FROM cursors").fetchall())
