"""Parts as a warehouse takes them: batches in its types, or the files themselves where it can read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import pyarrow as pa

from contracts.errors import Permanent
from contracts.stagefile import read_part
from contracts.store import Store
from contracts.table import SYNC_GROUP_ID, Table
from loader.convert import convert
from loader.dialect import Dialect
from loader.outcomes import Loadable
from loader.target import Target
from loader.transformers.base import Shown
from loader.unite import alike, fitted
from loader.warehouses.base import File, Rows


def rows(
    store: Store,
    d: Dialect,
    goal: Target,
    planned: Table,
    table: Table,
    shown: Shown,
    parts: Sequence[Loadable],
    format_: str,
) -> Rows:
    """The rows of one table, streamed part by part, as the destination's transformers show them.

    `table` is the planned one, grown over all parts. Files in place are offered only if each of them has its
    columns, and neither a transformer nor a tombstone touches the rows.
    """
    _refuse_mixed(planned, parts)
    types = [d.map_type(c.type).arrow for c in goal.table.columns]
    schema = pa.schema([pa.field(n, t) for n, t in zip(goal.shape.names, types, strict=True)])

    left_out = 0  # of the latest reading

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal left_out
        left_out = 0
        for loadable in parts:
            form, place = loadable.form or planned, loadable.place
            seen = Counter(place.before) if place else Counter()
            for part in read_part(store, loadable.part, form, format_):
                batch = fitted(part, table)
                left = place.sifted(table, seen, batch) if place else batch
                kept = shown.batch(left) if shown.batch else left
                left_out += batch.num_rows - kept.num_rows
                if kept.num_rows:
                    yield _converted(kept, goal, schema, loadable.part.key)

    expressions = () if shown.batch else _expressions(d, goal)
    plain = alike(parts, planned, table) and not any(p.place for p in parts)
    in_place = format_ == "parquet" and expressions and plain
    files = _files(store, parts) if in_place else None
    return Rows(schema, batches, files, expressions, lambda: left_out)


def _refuse_mixed(planned: Table, parts: Sequence[Loadable]) -> None:
    """Rows are left out by their `_cq_client_id`, which must be ours for that. Raises Permanent."""
    for loadable in parts if planned.own_client_ids else ():
        if loadable.part.dropped:
            raise Permanent(
                f"{loadable.part.key} holds rows of several cells of table '{planned.name}', not all of which may "
                "be loaded, and the source's own `_cq_client_id` does not tell them apart; nothing was loaded",
                "this is a bug of the worker, which writes a part per client of such a table; please report it",
            )


def _converted(batch: pa.RecordBatch, goal: Target, schema: pa.Schema, key: str) -> pa.RecordBatch:
    columns = []
    for column, field in zip(goal.table.columns, schema, strict=True):
        if goal.group and column.name == SYNC_GROUP_ID:
            columns.append(pa.repeat(goal.group, batch.num_rows))
            continue
        try:
            columns.append(convert(batch.column(column.name), field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise Permanent(
                f"{key}: column '{column.name}' has a value that {field.type} cannot hold: {error}"
            ) from error
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _expressions(d: Dialect, goal: Target) -> tuple[str, ...]:
    """The landing table's columns in terms of the files'; empty if one of them needs Arrow."""
    found = []
    for column, name in zip(goal.table.columns, goal.shape.names, strict=True):
        if goal.group and column.name == SYNC_GROUP_ID:
            found.append(d.literal(goal.group))
            continue
        expression = d.in_place(column.type)
        if expression is None or name != column.name:
            return ()
        found.append(expression.replace("{}", d.quote(column.name)))
    return tuple(found)


def _files(store: Store, parts: Sequence[Loadable]) -> list[File] | None:
    """The files of the parts, if they lie on this machine. Raises Permanent for one of another size."""
    files = []
    for loadable in parts:
        part = loadable.part
        path = store.local_path(part.key)
        if path is None:
            return None
        size = path.stat().st_size if path.exists() else -1
        if size != part.bytes:
            found = "is missing" if size < 0 else f"has {size} bytes, not {part.bytes}"
            raise Permanent(f"{store.url}/{part.key} {found}: it is not what the manifest says")
        files.append(File(path, loadable.rows, frozenset(part.dropped)))
    return files
