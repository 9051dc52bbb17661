"""The clients of a round that fared worst, in bounded memory: a round may have 100,000 denied ones."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from contracts.commit import Outcome
from contracts.summary import ClientSummary

COUNTED = 10_000  # clients whose cells are counted one by one, some 2 MB
SHOWN = 100


@dataclass
class _Client:
    reason: str
    failed: int = 0
    skipped: int = 0


class Worst:
    """Counts of the cells that did not end ok, per client.

    Clients beyond the first `COUNTED` are not counted at all: then all counted ones are bad enough to be
    shown, and the whole list is in the warehouse (`sharder_cells`).
    """

    def __init__(self, counted: int = COUNTED) -> None:
        self._counted = counted
        self._clients: dict[tuple[str, str], _Client] = {}

    def add(self, source: str, client: str, outcome: Outcome, reason: str) -> None:
        """One cell. A source without clients has nobody to name."""
        if not client or outcome == "ok":
            return
        key = (source, client)
        if key not in self._clients and len(self._clients) >= self._counted:
            return
        found = self._clients.setdefault(key, _Client(reason))
        if outcome == "failed":
            found.reason = reason if not found.failed else found.reason
            found.failed += 1
        else:
            found.skipped += 1

    def __len__(self) -> int:
        return len(self._clients)

    def shown(self) -> tuple[ClientSummary, ...]:
        """Most failed cells first, then most skipped ones; names decide between equals."""
        worst = heapq.nsmallest(
            SHOWN, self._clients.items(), key=lambda c: (-c[1].failed, -c[1].skipped, c[0])
        )
        return tuple(
            ClientSummary(
                source=source, client=client, failed=c.failed, skipped=c.skipped, reason=c.reason
            )
            for (source, client), c in worst
        )
