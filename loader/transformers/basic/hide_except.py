"""Everything hidden except of a list: for rows of which only what was approved may leave."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pyarrow as pa

from contracts.errors import InputError
from contracts.table import Column, Table
from loader.transformers import paths, values
from loader.transformers.base import Shown
from loader.transformers.basic.hide import marked, whole
from loader.transformers.basic.options import Transformation
from loader.transformers.basic.targets import on_columns, position, targets, with_columns
from loader.transformers.values import OnArray

_INTERNAL = "_cq_"


def show(t: Transformation, table: Table, at: datetime) -> Shown:
    """Raises InputError for a name on the list that the table does not have: it would hide what was
    meant to be kept.
    """
    del at
    found = targets(t, table)
    if found.missing:
        raise InputError(
            f"{t.kind}: table '{table.name}' has no column '{found.missing[0]}'",
            f"its columns are {', '.join(c.name for c in table.columns)}; or narrow `tables`",
        )
    changes: dict[str, OnArray] = {}
    gone: set[str] = set()
    for column in table.columns:
        name = column.name
        if name.startswith(_INTERNAL) or name in found.whole:
            continue
        if name in found.within:
            changes[name] = _json(t, paths.tree(found.within[name]))
        elif t.unmatched == "drop" or not values.family(column.type):
            gone.add(name)
        else:
            changes[name] = _unlisted(t, column)
    kept = [i for i, c in enumerate(table.columns) if c.name not in gone]
    if not kept:
        raise InputError(f"{t.kind} would leave table '{table.name}' without a column")
    inner = on_columns({position(table, name): f for name, f in changes.items()})

    def batch(b: pa.RecordBatch) -> pa.RecordBatch:
        return (inner(b) if inner else b).select(kept)

    blurs = not t.include_sha or t.unmatched == "drop"
    return Shown(
        with_columns(table, (table.columns[i] for i in kept)),
        batch if gone or changes else None,
        altered=frozenset(changes),
        blurred=frozenset(changes) if blurs else frozenset(),
    )


def _unlisted(t: Transformation, column: Column) -> OnArray:
    if t.unmatched == "redact" and values.family(column.type) == "json":
        return _json(t, {})
    return whole(t.include_sha)


def _json(t: Transformation, kept: paths.Kept) -> OnArray:
    other: Callable[[paths.Json], paths.Json]
    match t.unmatched:
        case "drop":
            other = _gone
        case "collapse":
            other = lambda v: marked(v, hashed=t.include_sha)  # noqa: E731  # one of three
        case "redact":
            other = lambda v: _leaves(v, hashed=t.include_sha)  # noqa: E731

    def change(value: paths.Json) -> paths.Json:
        left = paths.only(value, kept, other)
        return None if left is paths.GONE else left

    return lambda array: values.on_json(
        array, change, lambda raw: values.json_marker(raw, hashed=t.include_sha)
    )


def _gone(value: paths.Json) -> paths.Json:
    del value
    return paths.GONE


def _leaves(value: paths.Json, *, hashed: bool) -> paths.Json:
    """Every value inside replaced by a marker of its own; keys and shape stay."""
    if isinstance(value, dict):
        return {k: _leaves(v, hashed=hashed) for k, v in value.items()}
    if isinstance(value, list):
        return [_leaves(v, hashed=hashed) for v in value]
    return marked(value, hashed=hashed)
