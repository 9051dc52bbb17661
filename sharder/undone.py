"""What a run left undone, read from its commits and receipts: the work of the next round.

A client of a table is done once every selected table of the tree ended ok or was skipped by a rule, in
any round. Commits are read as a stream; what is kept are the lines of clients, in ranges.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from contracts.apart import apart
from contracts.commit import Commit
from contracts.plan import Plan, PlannedTable, Range, Shard, groups
from contracts.stage import Stage

TableKey = tuple[str, str]  # source, top-level table


def cells(stage: Stage, rounds: Sequence[Plan]) -> Iterator[tuple[TableKey, list[Range]]]:
    """Tables with lines of clients that did not end ok in any round. `rounds`: oldest first."""
    done_later: dict[TableKey, set[int]] = {}
    for plan in rounds[1:]:
        for key, shard, commit in _commits(stage, plan):
            bad = set(_lines(_failed(stage, plan, shard, commit)))
            good = (line for line in _lines(shard.clients) if line not in bad)
            done_later.setdefault(key, set()).update(good)
    for key, shard, commit in _commits(stage, rounds[0]):
        failed = _failed(stage, rounds[0], shard, commit)
        done = done_later.get(key)
        left = failed if not done else _ranges(n for n in _lines(failed) if n not in done)
        if left:
            yield key, left


def loads(stage: Stage, rounds: Sequence[Plan]) -> list[TableKey]:
    """Tables whose newest load into some destination failed."""
    newest: dict[tuple[str, str, str], str] = {}
    for plan in rounds:
        for table in plan.tables:
            for d in plan.loaded_into(table):
                receipt = stage.receipt(plan.run, d, table.source, table.name, plan.round)
                if receipt:
                    newest[table.source, table.name, d] = receipt.outcome
    return list(dict.fromkeys((s, t) for (s, t, _), end in newest.items() if end == "failed"))


def _commits(stage: Stage, plan: Plan) -> Iterator[tuple[TableKey, Shard, Commit]]:
    for tables in groups(plan.tables):
        first = tables[0]
        for shard in stage.shards(plan.run, plan.round, first.first, first.shards):
            for own, commit in apart(shard, stage.commit(plan.run, shard.id), plan):
                yield (own.source, own.table), own, commit


def _failed(stage: Stage, plan: Plan, shard: Shard, commit: Commit) -> list[Range]:
    """Lines of the shard's clients that did not end ok, in ranges."""
    if commit.verdict:
        return list(shard.clients) if commit.verdict.outcome == "failed" else []
    table = plan.table(shard.source, shard.table)
    if _all_said(table, shard, commit) and all(c.outcome != "failed" for c in commit.cells):
        return []
    good: dict[str, int] = {}
    for cell in commit.cells:
        if cell.outcome != "failed":
            good[cell.client] = good.get(cell.client, 0) + 1
    clients = stage.clients(plan.run, shard.source, shard.clients)
    lines = zip(_lines(shard.clients), clients, strict=True)
    return _ranges(n for n, client in lines if good.get(client, 0) < len(table.selected))


def _all_said(table: PlannedTable, shard: Shard, commit: Commit) -> bool:
    return len(commit.cells) == shard.cells * len(table.selected)


def _lines(ranges: Iterable[Range]) -> Iterator[int]:
    for start, stop in ranges:
        yield from range(start, stop)


def _ranges(lines: Iterable[int]) -> list[Range]:
    """Ascending lines as ranges [start, stop)."""
    found: list[Range] = []
    for n in lines:
        if found and found[-1][1] == n:
            found[-1] = (found[-1][0], n + 1)
        else:
            found.append((n, n + 1))
    return found
