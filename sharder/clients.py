"""The client lists of a source, concatenated into the one file that shards name by ranges.

Lists are written once however many tables share them, and may be lazy: nothing here holds their ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from contracts.errors import Permanent
from contracts.plan import Range
from contracts.selection import matcher
from sharder.pack import common, joined
from worker.sources.base import Clients


@dataclass(frozen=True)
class _List:
    ids: Sequence[str]
    offset: int
    chosen: tuple[Range, ...] | None  # lines that --client leaves; None: all


@dataclass
class ClientFile:
    """Lines of clients/<source>.jsonl, in the order in which tables first named their lists."""

    source: str
    patterns: Sequence[str] = ()
    matched: set[str] = field(default_factory=set)  # patterns that named some client
    _lists: dict[str, _List] = field(default_factory=dict)
    _lines: int = 0

    def __len__(self) -> int:
        return self._lines

    def __iter__(self) -> Iterator[str]:
        for known in self._lists.values():
            yield from known.ids

    def add(self, clients: Clients) -> tuple[Range, ...]:
        """The lines of a table's clients. Raises Permanent if one list name means two lists."""
        known = self._lists.get(clients.list)
        if known is None:
            known = _List(clients.ids, self._lines, self._chosen(clients.ids, self._lines))
            self._lists[clients.list] = known
            self._lines += len(clients.ids)
        elif len(known.ids) != len(clients.ids):
            raise Permanent(
                f"source '{self.source}' gives two client lists of the name '{clients.list}'",
                "this is an error of the source: please report it",
            )
        whole = clients.ranges is None
        ranges = [(0, len(known.ids))] if clients.ranges is None else clients.ranges
        lines = joined((a + known.offset, b + known.offset) for a, b in ranges)
        if not whole and lines and lines[-1][1] > known.offset + len(known.ids):
            raise Permanent(
                f"source '{self.source}' names clients beyond its list '{clients.list}'"
            )
        return lines if known.chosen is None else common(lines, known.chosen)

    def client(self, line: int) -> str:
        """The id on a line. Raises IndexError if there is no such line."""
        for known in self._lists.values():
            if 0 <= line - known.offset < len(known.ids):
                return known.ids[line - known.offset]
        raise IndexError(line)

    def lines_of(self, wanted: Callable[[str], bool]) -> dict[str, list[int]]:
        """Id → its lines (one per list), for the ids that are wanted."""
        found: dict[str, list[int]] = {}
        for line, client in enumerate(self):
            if wanted(client):
                found.setdefault(client, []).append(line)
        return found

    def _chosen(self, ids: Sequence[str], offset: int) -> tuple[Range, ...] | None:
        if not self.patterns:
            return None
        # An account's id also names its regions: `123456789012` for `123456789012:eu-west-1`.
        matches = [(p, matcher(p), matcher(f"{p}:*")) for p in self.patterns]
        lines: list[Range] = []
        for line, client in enumerate(ids, start=offset):
            hits = [p for p, whole, prefix in matches if whole(client) or prefix(client)]
            if hits:
                self.matched.update(hits)
                lines.append((line, line + 1))
        return joined(lines)
