"""What a plugin asks to delete, in the form of the Source protocol: alternatives of columns and their values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import pyarrow as pa

from contracts.errors import Permanent
from contracts.plugin.messages import Deleted as Asked
from contracts.plugin.messages import Group
from worker.sources.base import Deleted

MOST = 10_000  # alternatives of one message

Alternative = Mapping[str, pa.Array]


def gone(asked: Asked, client: str) -> Deleted:
    """Every group of the message must hold; within one, all or any of its predicates.

    Raises Permanent for a message that names no row, which would empty the table, or too many ways to be one.
    """
    groups = [tuple(_alternatives(group)) for group in asked.where if group.predicates]
    if not groups:
        raise Permanent(
            f"the plugin asks to delete from the table '{asked.table}' without saying which rows"
        )
    count = 1
    for group in groups:
        count *= len(group)
    if count > MOST:
        raise Permanent(
            f"the plugin asks to delete rows of the table '{asked.table}' in {count:,} ways at once"
        )
    where = tuple(found for choice in product(*groups) if (found := _all(choice)) is not None)
    relations = tuple((r.table, r.parent) for r in asked.relations)
    return Deleted(asked.table, client, where, relations)


def _alternatives(group: Group) -> Iterator[Alternative]:
    """An `and` is one; an `or` has one for each of its predicates."""
    each = [{p.column: p.value} for p in group.predicates]
    if group.grouping == "or":
        yield from each
    elif (both := _all(each)) is not None:
        yield both


def _all(conditions: Sequence[Alternative]) -> dict[str, pa.Array] | None:
    """All at once; None if a column would need two values."""
    found: dict[str, pa.Array] = {}
    for condition in conditions:
        for column, value in condition.items():
            if not found.setdefault(column, value).equals(value):
                return None
    return found
