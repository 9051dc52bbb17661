"""Which tables patterns select, as CloudQuery has it.

Only `*` is special and stands for any run of characters. A selected child brings its ancestors; a
skipped table takes its whole subtree with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence

from contracts.table import Table


def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a whole name matches; case counts."""
    compiled = re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)
    return lambda name: compiled.fullmatch(name) is not None


def kept(
    tree: Sequence[Table], chosen: Collection[str], skipped: Collection[str], *, children_too: bool
) -> tuple[Table, ...]:
    """The tables of a tree (parents first) that are read, where names are chosen and skipped.

    children_too: all that is below a chosen table comes with it.
    """
    parents = {t.name: t.parent for t in tree}
    gone: set[str] = set()
    wanted: set[str] = set()
    for table in tree:
        if table.name in skipped or table.parent in gone:
            gone.add(table.name)
        elif table.name in chosen or (children_too and table.parent in wanted):
            wanted.add(table.name)
    return tuple(t for t in tree if t.name in wanted | _ancestors(wanted, parents))


def _ancestors(names: Iterable[str], parents: dict[str, str | None]) -> set[str]:
    found: set[str] = set()
    for name in names:
        above = parents.get(name)
        while above in parents and above not in found:
            found.add(str(above))
            above = parents[str(above)]
    return found
