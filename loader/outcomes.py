"""What the rounds of a run say about one top-level table: outcomes of cells, rows to load, cursors.

Commits are read as a stream: memory grows with the slices of huge cells and with the cells of retry rounds,
never with the cells of a run, whether they ended ok or not.

A cell is ok when all its slices are, in any round. Of the rounds that a load covers a cell's rows come
from one: the last in which it ended ok, else the last that has rows up to a checkpoint; a cell that
was ok in a round already loaded gives nothing more, so that `retry` doubles nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from contracts import layout
from contracts.apart import of_table
from contracts.commit import Cell, Commit, Outcome, Part, Tombstone
from contracts.errors import NotFound, Permanent, Reason, Transient
from contracts.plan import Plan, PlannedTable, Shard
from contracts.stage import Stage
from contracts.table import Table
from loader.ahead import ahead
from loader.publication import Counts
from loader.sieve import Place, Sieve

Key = tuple[str, str]  # table, client
READ_AHEAD = 16  # commits asked for at once, where each takes a round trip
_SEVERITY = {"ok": 0, "skipped": 1, "failed": 2}


@dataclass(frozen=True, slots=True)
class Seen:
    """How one cell ended in one round. `rows` are those that may be loaded; `sliced`: over several shards."""

    table: str
    client: str
    round: int
    outcome: Outcome
    rows: int = 0
    reason: Reason | None = None
    message: str = ""
    cursor: Mapping[str, str] = field(default_factory=dict)
    sliced: bool = False
    deletes: tuple[Tombstone, ...] = ()

    @property
    def key(self) -> Key:
        return self.table, self.client

    @property
    def gives(self) -> bool:
        """Whether the round has something of this cell to load."""
        return self.outcome == "ok" or bool(self.rows or self.cursor)


@dataclass
class Survey:
    """The result of reading every commit of the table once.

    `expected`: rows to load per table. `taken` names the round that a cell's rows come from, 0 for none, where
    a single commit does not say it: of cells of several rounds, and of sliced cells. `deletes`: tombstones of the
    cells that are loaded now.
    """

    pending: tuple[int, ...]
    counts: dict[str, Counts] = field(default_factory=dict)
    expected: dict[str, int] = field(default_factory=dict)
    cursors: dict[str, str] = field(default_factory=dict)
    taken: dict[Key, int] = field(default_factory=dict)
    deletes: list[tuple[Key, tuple[Tombstone, ...]]] = field(default_factory=list)

    def takes(self, round_: int, table: str, client: str) -> bool:
        return self.taken.get((table, client), round_) == round_

    def settle(self, entries: list[Seen], *, alone: bool) -> None:
        """Decide one cell from its ends in all rounds, oldest first."""
        last = entries[-1]
        ok = [e for e in entries if e.outcome == "ok"]
        self._count(last.table, "ok" if ok else last.outcome)
        fresh = [e for e in entries if e.round in self.pending and e.gives]
        if any(e.round not in self.pending for e in ok):
            fresh = []
        source = next((e for e in reversed(fresh) if e.outcome == "ok"), None) or (
            fresh[-1] if fresh else None
        )
        if source:
            self.expected[source.table] = self.expected.get(source.table, 0) + source.rows
            agree(self.cursors, source)
            if source.deletes:
                self.deletes.append((source.key, source.deletes))
        apart = not alone or (source is None and last.sliced)
        if apart and any(e.round in self.pending for e in entries):
            self.taken[last.key] = source.round if source else 0

    def _count(self, table: str, outcome: Outcome) -> None:
        old = self.counts.get(table, Counts())
        self.counts[table] = replace(old, **{outcome: getattr(old, outcome) + 1})


@dataclass(frozen=True)
class Loadable:
    """A part with the number of its rows that are loaded. `dropped` names every client that is left out,
    also those whose rows come from another round; `cells` is empty, to be small. `form`: the schema of the
    part; None: as planned. `place`: where tombstones of its commit may concern it.
    """

    part: Part
    rows: int
    form: Table | None = None
    place: Place | None = None


@dataclass(frozen=True)
class Round:
    """One round of the run that has the table in its plan."""

    plan: Plan
    table: PlannedTable

    @property
    def number(self) -> int:
        return self.plan.round


def survey(stage: Stage, rounds: list[Round], pending: tuple[int, ...]) -> Survey:
    """Read the commits of all rounds, the first one (the only large one) as a stream."""
    result = Survey(pending)
    for entries in _by_cell(stage, rounds):
        result.settle(entries, alone=len(entries) == 1)
    return result


def not_ok(stage: Stage, rounds: list[Round], found: Survey) -> Iterator[Seen]:
    """Cells that no round ended ok, with their last outcome: read once more, as there may be millions."""
    if any(c.failed or c.skipped for c in found.counts.values()):
        for entries in _by_cell(stage, rounds):
            if all(e.outcome != "ok" for e in entries):
                yield entries[-1]


def _by_cell(stage: Stage, rounds: list[Round]) -> Iterator[list[Seen]]:
    """The ends of each cell in all rounds, oldest first."""
    later: dict[Key, list[Seen]] = {}
    for round_ in rounds[1:]:
        for seen in cells(stage, round_):
            later.setdefault(seen.key, []).append(seen)
    for seen in cells(stage, rounds[0]):
        yield [seen, *later.pop(seen.key, [])]
    yield from later.values()


def parts(stage: Stage, rounds: list[Round], found: Survey) -> dict[str, list[Loadable]]:
    """Parts to load per table, in the order of the plan.

    This list is what a load keeps in memory: some hundred bytes per part, however many cells are in it, and each
    form of a table once.
    """
    result: dict[str, list[Loadable]] = {}
    forms: dict[Table | None, Table | None] = {None: None}
    for round_ in rounds:
        if round_.number not in found.pending:
            continue
        for _, commit in commits(stage, round_):
            # A manifest may name a cell as failed and not as dropped: what counts is how the cell ended.
            given = {
                (c.table, c.client) for c in commit.cells if c.outcome == "ok" or c.rows or c.cursor
            }
            sieve = Sieve(narrowed(commit))
            before: dict[str, Counter[str]] = defaultdict(Counter)
            for part in commit.parts:
                touched = sieve.touches(part.table)
                at = Place(sieve, dict(before[part.table]), tuple(part.cells)) if touched else None
                before[part.table].update(part.cells)
                dropped = set(part.dropped)
                for client in part.cells:
                    key = part.table, client
                    alone = key not in found.taken
                    if key not in given if alone else not found.takes(round_.number, *key):
                        dropped.add(client)
                rows = part.rows - sum(part.cells[c] for c in dropped)
                if rows:
                    slim = {"dropped": tuple(sorted(dropped)), "cells": {}}
                    form = commit.form(part)
                    form = forms.setdefault(form, form)
                    loadable = Loadable(part.model_copy(update=slim), rows, form, at)
                    result.setdefault(part.table, []).append(loadable)
    return result


def ok_cells(stage: Stage, rounds: list[Round], found: Survey) -> Iterator[Seen]:
    """Cells that ended ok and are loaded now: the scope of stale rows without an authoritative list."""
    for round_ in rounds:
        if round_.number in found.pending:
            for seen in cells(stage, round_):
                if seen.outcome == "ok" and found.takes(round_.number, *seen.key):
                    yield seen


def cells(stage: Stage, round_: Round) -> Iterator[Seen]:
    """Every planned cell of the round, once; slices of one cell are joined and come last."""
    joined: dict[Key, Seen] = {}
    sizes: dict[str, dict[str, list[int]]] = {}  # client → table → rows of each slice
    for shard, commit in commits(stage, round_):
        for seen in _of_shard(stage, round_, shard, commit):
            if shard.slice:
                joined[seen.key] = _join(joined.get(seen.key), seen)
                sizes.setdefault(seen.client, {}).setdefault(seen.table, []).append(seen.rows)
            else:
                yield seen
    if round_.plan.source(round_.table.source).plugin:
        for client, found in sizes.items():
            _refuse_repeats(round_, client, found)
    for seen in joined.values():
        # A cell whose other slice failed gives no rows and no cursor, and takes nothing back.
        whole = replace(seen, sliced=True)
        yield whole if seen.outcome == "ok" else replace(whole, rows=0, cursor={}, deletes=())


def _refuse_repeats(round_: Round, client: str, sizes: Mapping[str, list[int]]) -> None:
    """Raises Permanent if every slice brought the same: most plugins ignore that they are asked for one only,
    and each sends everything.
    """
    with_rows = [counts for counts in sizes.values() if any(counts)]
    if with_rows and all(len(counts) > 1 and len(set(counts)) == 1 for counts in with_rows):
        source, parts_ = round_.table.source, len(with_rows[0])
        raise Permanent(
            f"table '{round_.table.name}': each of the {parts_} parts of client '{client}' has the same "
            f"number of rows ({with_rows[0][0]:,}); the plugin seems to send everything for each of them, "
            "so nothing was loaded",
            f"leave `plugins.{source}.shards` out of the fleet document, and submit again",
        )


def commits(stage: Stage, round_: Round) -> Iterator[tuple[Shard, Commit]]:
    """The table's part of each, in the order of the plan. Raises Transient if a shard has no commit yet."""
    plan, table = round_.plan, round_.table

    def read(shard: Shard) -> tuple[Shard, Commit]:
        try:
            return of_table(shard, stage.commit(plan.run, shard.id), table)
        except NotFound as error:
            raise Transient(
                f"table '{table.name}' of source '{table.source}' cannot be loaded yet: "
                f"shard {shard.id} of run {plan.run} has no commit"
            ) from error

    shards = stage.shards(plan.run, plan.round, table.first, table.shards)
    remote = stage.store.local_path(layout.commits(plan.run) + "_") is None
    return ahead(read, shards, READ_AHEAD) if remote else map(read, shards)


def _of_shard(stage: Stage, round_: Round, shard: Shard, commit: Commit) -> Iterator[Seen]:
    run, number = round_.plan.run, round_.number
    selected = round_.table.selected
    if verdict := commit.verdict:
        for client in stage.clients(run, shard.source, shard.clients):
            for table in selected:
                yield Seen(
                    table, client, number, verdict.outcome,
                    reason=verdict.reason, message=verdict.message,
                )  # fmt: skip
        return
    for c in narrowed(commit):
        yield Seen(
            c.table, c.client, number, c.outcome, c.rows, c.reason, c.message, c.cursor,
            deletes=c.deletes,
        )  # fmt: skip
    if len(commit.cells) == shard.cells * len(selected):
        return
    # A cell that was planned but that the commit does not mention did not end ok.
    mentioned = {(c.table, c.client) for c in commit.cells}
    for client in stage.clients(run, shard.source, shard.clients):
        for table in selected:
            if (table, client) not in mentioned:
                yield Seen(
                    table, client, number, "failed",
                    reason="failed", message="the commit does not say how this cell ended",
                )  # fmt: skip


def narrowed(commit: Commit) -> Sequence[Cell]:
    """Its cells, whose tombstones take along only children that are loaded: where they could not be read again,
    the old ones stay.
    """
    if not any(c.deletes for c in commit.cells):
        return commit.cells
    given = {(c.table, c.client) for c in commit.cells if c.gives}

    def kept(cell: Cell) -> Cell:
        found = []
        for t in cell.deletes if cell.gives else ():
            relations = tuple(r for r in t.relations if (r[0], cell.client) in given)
            found.append(t.model_copy(update={"relations": relations}))
        return cell.model_copy(update={"deletes": tuple(found)})

    return [kept(c) for c in commit.cells]


def _join(left: Seen | None, right: Seen) -> Seen:
    if left is None:
        return right
    worst = max(left, right, key=lambda s: _SEVERITY[s.outcome])
    cursor = dict(left.cursor)
    agree(cursor, right)
    deletes = (*left.deletes, *right.deletes)
    return replace(worst, rows=left.rows + right.rows, cursor=cursor, deletes=deletes)


def agree(cursors: dict[str, str], seen: Seen) -> None:
    """Add the cursors of a cell. Raises Permanent for two values of one key: each would pass other rows."""
    for key, value in seen.cursor.items():
        if cursors.setdefault(key, value) != value:
            raise Permanent(
                f"table '{seen.table}': client '{seen.client}' sets the cursor {key!r} to {value!r:.60}, "
                f"another cell to {cursors[key]!r:.60}; nothing was loaded, because either could pass rows "
                "that were not read",
                "this is a bug of the source: cells that end apart need cursors of their own",
            )
