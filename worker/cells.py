"""How the cells of one shard end: what the source said, and what follows from it for other cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from contracts.commit import Cell, Outcome, Tombstone
from contracts.errors import Permanent, Reason
from contracts.table import ID, Table
from worker.sources.base import CellDone, Checkpoint

MESSAGE_CHARS = 500  # of a cell's message in the manifest; a shard may have thousands of cells


@dataclass
class _State:
    outcome: Outcome | None = None
    reason: Reason | None = None
    message: str = ""
    cursor: dict[str, str] = field(default_factory=dict)
    checkpointed: bool = False
    deletes: list[Tombstone] = field(default_factory=list)
    sure_deletes: int = 0  # of them, before the last checkpoint


class Cells:
    """Every selected table × every client of the shard. Each tree of a group ends by itself."""

    def __init__(
        self, tree: Sequence[Table], selected: frozenset[str], clients: Sequence[str]
    ) -> None:
        tables = [t for t in tree if t.name in selected]
        self._parents = {t.name: _parent(t, tree, selected) for t in tables}
        self._clients = clients
        self._states = {(t.name, c): _State() for t in tables for c in clients}
        tops = _tops(tree)
        self._trees = [
            [t for t in tables if tops[t.name] == top] for top in dict.fromkeys(tops.values())
        ]
        self._random = [self._has_random_parents(tree) for tree in self._trees]

    def is_open(self, table: str, client: str) -> bool:
        """Raises Permanent for a cell that is not of this shard."""
        return self._state(table, client).outcome is None

    def checkpoint(self, event: Checkpoint) -> None:
        """The rows of an open cell so far are good."""
        state = self._state(event.table, event.client)
        state.checkpointed = True
        state.cursor = dict(event.cursor)
        state.sure_deletes = len(state.deletes)

    def deleted(self, table: str, client: str, tombstones: Sequence[Tombstone]) -> None:
        """Rows of an open cell are gone."""
        self._state(table, client).deletes += tombstones

    def done(self, event: CellDone, message: str) -> None:
        """The end of an open cell; the source's own words are masked in `message`."""
        state = self._state(event.table, event.client)
        self._end(state, event.outcome, event.reason, message)
        if event.outcome == "ok":
            state.cursor |= event.cursor
            state.sure_deletes = len(state.deletes)

    def fail(self, table: str, client: str, reason: Reason, message: str) -> None:
        """A cell whose rows could not be taken; what the source still says about it is ignored."""
        self._end(self._state(table, client), "failed", reason, message)

    def fail_open(self, reason: Reason, message: str) -> None:
        """No more will come: every cell that has not ended has failed."""
        for state in self._states.values():
            if state.outcome is None:
                self._end(state, "failed", reason, message)

    def settle(self) -> Iterator[tuple[str, str]]:
        """Apply what the end of one cell means for others; yields cells whose rows may not be kept.

        A child has no parent rows to belong to where its parent did not end ok. And where ids are
        random, the children that are kept from an earlier run would point to ids that are gone.
        """
        for client in self._clients:
            for tree, random in zip(self._trees, self._random, strict=True):
                for table in tree:
                    if parent := self._parents[table.name]:
                        yield from self._follow(table.name, parent, client)
                if random and (failed := self._first_failed(tree, client)):
                    yield from self._fail_tree(tree, client, failed)

    def _follow(self, table: str, parent: str, client: str) -> Iterator[tuple[str, str]]:
        above, below = self._state(parent, client), self._state(table, client)
        if above.outcome == "ok" or below.outcome != "ok":
            return
        below.outcome = above.outcome
        below.reason = "parent" if above.outcome == "failed" else above.reason
        below.message = f"{parent} did not end ok: {above.message}"[:MESSAGE_CHARS]
        if not above.checkpointed:
            # A cursor without its rows would pass them for ever.
            below.checkpointed, below.cursor, below.sure_deletes = False, {}, 0
            yield table, client

    def _fail_tree(
        self, tree: Sequence[Table], client: str, failed: str
    ) -> Iterator[tuple[str, str]]:
        for table in tree:
            state = self._state(table.name, client)
            if state.outcome == "ok":
                state.outcome, state.reason = "failed", "parent"
                state.message = f"{failed} failed, and the ids of this tree are random"
            if state.outcome == "failed":
                state.checkpointed, state.cursor, state.sure_deletes = False, {}, 0
                yield table.name, client

    def _has_random_parents(self, tree: Sequence[Table]) -> bool:
        parents = set(self._parents.values())
        return any(t.name in parents and t.primary_key == (ID,) for t in tree)

    def _first_failed(self, tree: Sequence[Table], client: str) -> str:
        names = (t.name for t in tree)
        return next((n for n in names if self._state(n, client).outcome == "failed"), "")

    def manifest(self, rows: Callable[[str, str], int]) -> tuple[Cell, ...]:
        """The cells as the commit lists them, table by table."""
        return tuple(
            Cell(
                table=table,
                client=client,
                outcome=state.outcome or "failed",
                rows=rows(table, client),
                reason=state.reason,
                message=state.message,
                cursor=state.cursor,
                deletes=tuple(state.deletes[: state.sure_deletes]),
            )
            for (table, client), state in self._states.items()
        )

    def _state(self, table: str, client: str) -> _State:
        try:
            return self._states[table, client]
        except KeyError:
            raise Permanent(
                f"the source sent something of table '{table}' and client '{client}', "
                "which this shard does not have"
            ) from None

    def _end(self, state: _State, outcome: Outcome, reason: Reason | None, message: str) -> None:
        state.outcome = outcome
        state.reason = reason or ("failed" if outcome == "failed" else None)
        state.message = message[:MESSAGE_CHARS]


def _tops(tree: Sequence[Table]) -> dict[str, str]:
    """Table → the top-level table that it descends from; parents stand before their children."""
    found: dict[str, str] = {}
    for table in tree:
        found[table.name] = found.get(table.parent or "", table.name)
    return found


def _parent(table: Table, tree: Sequence[Table], selected: frozenset[str]) -> str:
    """The nearest selected ancestor; empty if there is none."""
    by_name: Mapping[str, Table] = {t.name: t for t in tree}
    above = by_name.get(table.parent or "")
    while above and above.name not in selected:
        above = by_name.get(above.parent or "")
    return above.name if above else ""
