"""What the cells of a table are expected to take: measured last time, told by the source, or a prior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from contracts.history import History
from contracts.plan import Range
from sharder.clients import ClientFile
from sharder.pack import Cut
from sharder.select import Tree
from worker.sources.base import Sizer, Source, Splitter

# Without history: one call per table and client, which is what most tables of most clients take.
PRIOR_S = 0.35
_LEAST_S = 0.001


def known_seconds(
    source: Source,
    tree: Tree,
    clients: Sequence[Range],
    file: ClientFile,
    history: History | None,
    lines: Mapping[str, Sequence[int]],
) -> dict[int, float]:
    """Line → seconds: measured where there is a history, else what the source itself expects."""
    found: dict[int, float] = {}
    if hasattr(source, "size"):
        sizer = cast("Sizer", source)
        for start, stop in clients:
            for line in range(start, stop):
                if expected := sizer.size(tree.top, file.client(line)):
                    found[line] = expected
    for client, (seconds, _rows) in (history.heavy if history else {}).items():
        found |= dict.fromkeys(lines.get(client, ()), seconds)
    return found


def mean_seconds(history: History | None, tree: Tree) -> float:
    """Seconds per client that is not slow."""
    if history is None or not history.cells:
        return PRIOR_S * len(tree.tables)
    others = history.cells - len(history.heavy)
    slow = sum(seconds for seconds, _ in history.heavy.values())
    mean = (history.mean_s * history.cells - slow) / others if others > 0 else history.mean_s
    return max(mean, _LEAST_S)


def cutter(source: Source, tree: Tree, file: ClientFile) -> Cut | None:
    """How to cut a huge cell of the table; None if its source cannot."""
    if not hasattr(source, "split"):
        return None
    splitter = cast("Splitter", source)
    return lambda line, n: splitter.split(tree.top, file.client(line), n)
