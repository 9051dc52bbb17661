"""What a round did, added up from its commits and receipts, each taken in once and then forgotten.

Memory is that of the tables and of the kinds of problem, never of the cells: of a group of cells that
did not end ok only the number, one message and ten clients are kept, of clients the worst.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from contracts.apart import apart
from contracts.commit import Cell, Commit, Outcome
from contracts.errors import Exit
from contracts.plan import Plan, Shard
from contracts.receipt import Receipt
from contracts.summary import (
    CellCounts,
    DestinationSummary,
    LoadedSummary,
    MemberSummary,
    Problem,
    Summary,
    TableSummary,
)
from sharder.worst import Worst

EXAMPLES = 10  # clients named per group of cells that did not end ok
FORGOTTEN = "the commit does not say how this cell ended"
_WORST: Mapping[Outcome, int] = {"ok": 0, "skipped": 1, "failed": 2}


@dataclass
class _Group:
    cells: int = 0
    clients: list[str] = field(default_factory=list)
    message: str = ""


@dataclass
class Totals:
    """Of one source or one table. `expected_s` and `done_s` are the plan's costs, for the time left."""

    cells: int = 0
    ok: int = 0
    failed: int = 0
    skipped: int = 0
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0
    expected_s: float = 0.0
    done_s: float = 0.0

    @property
    def ended(self) -> int:
        return self.ok + self.failed + self.skipped

    @property
    def counts(self) -> CellCounts:
        return CellCounts(ok=self.ok, failed=self.failed, skipped=self.skipped)

    def count(self, outcome: Outcome, cells: int) -> None:
        setattr(self, outcome, getattr(self, outcome) + cells)


@dataclass
class Member:
    """Of one table of a tree."""

    ok: int = 0
    failed: int = 0
    skipped: int = 0
    lost: int = 0
    rows: int = 0

    @property
    def counts(self) -> CellCounts:
        return CellCounts(ok=self.ok, failed=self.failed, skipped=self.skipped)

    def count(self, cell: Cell, cells: int) -> None:
        setattr(self, cell.outcome, getattr(self, cell.outcome) + cells)
        self.lost += cells if cell.reason == "lost" else 0


class Tally:
    """The sums of one round."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.tables = {
            (t.source, t.name): Totals(cells=t.cells, expected_s=t.cost_s) for t in plan.tables
        }
        self.members = {
            (t.source, t.name): {name: Member() for name in t.selected} for t in plan.tables
        }
        self._worst = Worst()
        self._groups: dict[tuple[str, str, str, str], _Group] = {}
        self._slices: dict[tuple[str, str, str], tuple[int, Cell]] = {}
        self._receipts: dict[tuple[str, str, str], Receipt] = {}

    def add(self, shard: Shard, commit: Commit, clients: Sequence[str] = ()) -> None:
        """Take in the commit of a shard; `clients`: some of the shard's, if the commit names none."""
        for own, part in apart(shard, commit, self._plan):
            self._add(own, part, clients)

    def _add(self, shard: Shard, commit: Commit, clients: Sequence[str]) -> None:
        totals = self.tables[shard.source, shard.table]
        totals.rows += commit.rows
        totals.bytes += commit.bytes
        totals.seconds += (commit.ended - commit.started).total_seconds()
        totals.done_s += shard.cost_s
        selected = self._plan.table(shard.source, shard.table).selected
        members, ok = self.members[shard.source, shard.table], 0
        for cell in commit.cells:
            member = members.get(cell.table) or self._member(shard, cell)
            member.rows += cell.rows
            # Of millions of cells nearly all end here.
            if cell.outcome == "ok" and not shard.slice:
                member.ok += 1
                ok += 1
            else:
                self._cell(shard, cell)
        totals.ok += ok
        if commit.verdict:
            self._verdict(shard, commit.verdict, selected, clients)
        elif forgotten := shard.cells * len(selected) - len(commit.cells):
            # The loader counts them in the same way: no word is not a good word.
            cell = Cell(table=shard.table, client="", outcome="failed", message=FORGOTTEN)
            self._end(shard, cell, forgotten, ())

    def _verdict(
        self, shard: Shard, verdict: Cell, selected: Sequence[str], clients: Sequence[str]
    ) -> None:
        for table in selected:
            cell = verdict.model_copy(update={"table": table})
            if shard.slice:  # of a single client
                self._cell(shard, cell.model_copy(update={"client": "".join(clients)}))
            else:
                self._end(shard, cell, shard.cells, clients)

    def _cell(self, shard: Shard, cell: Cell) -> None:
        """A sliced cell ends with its last slice, and no better than its worst."""
        if shard.slice:
            key = (shard.source, cell.table, cell.client)
            count, worst = self._slices.pop(key, (0, cell))
            cell = max(worst, cell, key=lambda c: _WORST[c.outcome])
            if count + 1 < shard.slice.of:
                self._slices[key] = (count + 1, cell)
                return
        self._end(shard, cell, 1, [cell.client])

    def _end(self, shard: Shard, cell: Cell, cells: int, clients: Sequence[str]) -> None:
        self.tables[shard.source, shard.table].count(cell.outcome, cells)
        self._member(shard, cell).count(cell, cells)
        for client in clients:
            self._worst.add(shard.source, client, cell.outcome, cell.reason or "failed")
        if cell.outcome == "ok":
            return
        key = (shard.source, cell.table, cell.outcome, cell.reason or "failed")
        group = self._groups.setdefault(key, _Group(message=cell.message))
        group.cells += cells
        group.clients += clients[: EXAMPLES - len(group.clients)]

    def _member(self, shard: Shard, cell: Cell) -> Member:
        return self.members[shard.source, shard.table].setdefault(cell.table, Member())

    def load(self, receipt: Receipt) -> None:
        self._receipts[receipt.destination, receipt.source, receipt.table] = receipt

    def sources(self) -> dict[str, Totals]:
        """Totals per source, in the order of the plan."""
        found = {s.name: Totals() for s in self._plan.sources}
        for (source, _), t in self.tables.items():
            total = found[source]
            for name in vars(total):
                setattr(total, name, getattr(total, name) + getattr(t, name))
        return found

    @property
    def loads(self) -> int:
        """Receipts taken in."""
        return len(self._receipts)

    def _of_this_round(self, receipt: Receipt) -> Receipt:
        """A load counts the cells of all rounds; one of this round alone brought what ended ok in it."""
        if receipt.rounds != (self._plan.round,):
            return receipt
        ok = self.tables[receipt.source, receipt.table].ok
        return receipt.model_copy(update={"cells_ok": ok})

    def summary(
        self,
        *,
        ended: datetime,
        lost: int,
        cancelled: str,
        warnings: tuple[str, ...] = (),
        release: str = "",
    ) -> Summary:
        receipts = self._receipts.values()
        cells = Totals()
        for totals in self.tables.values():
            for outcome in _WORST:
                cells.count(outcome, getattr(totals, outcome))
        per_destination: dict[str, int] = {}
        for r in receipts:
            per_destination[r.destination] = per_destination.get(r.destination, 0) + r.published
        noted = (*warnings, *(f"{r.destination}: {w}" for r in receipts for w in r.warnings))
        return Summary(
            run=self._plan.run,
            round=self._plan.round,
            sync_time=self._plan.sync_time,
            started=self._plan.created,
            ended=ended,
            exit_code=exit_code(cells.counts, [self._of_this_round(r) for r in receipts]),
            cells=cells.counts,
            tables=tuple(
                TableSummary(
                    source=source, table=table, cells=t.counts, rows=t.rows, bytes=t.bytes,
                    seconds=round(t.seconds, 3), members=_members(self.members[source, table]),
                )
                for (source, table), t in self.tables.items()
            ),
            destinations=tuple(_destination(r) for r in receipts),
            problems=tuple(
                Problem(
                    source=source, table=table, outcome=outcome, reason=reason, cells=g.cells,
                    clients=tuple(g.clients), message=g.message,
                )
                for (source, table, outcome, reason), g in sorted(self._groups.items())
            ),
            rows=sum(t.rows for t in self.tables.values()),
            bytes=sum(t.bytes for t in self.tables.values()),
            attempts_lost=lost,
            warnings=tuple(dict.fromkeys(noted)),
            cancelled=cancelled,
            rows_per_destination=per_destination,
            release=release,
            clients=self._worst.shown(),
            clients_not_ok=len(self._worst),
        )  # fmt: skip


def _members(found: Mapping[str, Member]) -> tuple[MemberSummary, ...]:
    return tuple(
        MemberSummary(table=name, cells=m.counts, rows=m.rows, lost=m.lost)
        for name, m in found.items()
    )


def _destination(receipt: Receipt) -> DestinationSummary:
    return DestinationSummary(
        destination=receipt.destination,
        source=receipt.source,
        table=receipt.table,
        published=receipt.published,
        stale=sum(t.stale for t in receipt.tables),
        guarantee=receipt.guarantee,
        error=receipt.error or ("failed" if receipt.outcome == "failed" else ""),
        seconds=round((receipt.ended - receipt.started).total_seconds(), 3),
        duplicates=sum(t.duplicates for t in receipt.tables),
        cells=CellCounts(
            ok=receipt.cells_ok, failed=receipt.cells_failed, skipped=receipt.cells_skipped
        ),
        warnings=len(receipt.warnings),
        members=tuple(
            LoadedSummary(
                table=t.table, published=t.published, duplicates=t.duplicates, stale=t.stale
            )
            for t in receipt.tables
        ),
    )


def release() -> str:
    """The version of this program."""
    from importlib.metadata import version

    return version("sharder")


def exit_code(cells: CellCounts, receipts: Sequence[Receipt]) -> Exit:
    """0: every cell ok or skipped, and every load done. 3: something failed, something was loaded.
    4: something failed, and no load brought a cell that ended ok, or a row, into any destination.
    """
    done = [r for r in receipts if r.outcome == "ok"]
    if not cells.failed and len(done) == len(receipts):
        return Exit.OK
    return Exit.PARTIAL if any(r.cells_ok or r.published for r in done) else Exit.OUTSIDE
