"""Values replaced by a marker, in columns that are named, or that the source calls sensitive."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa

from contracts.errors import InputError
from contracts.specfile import nearest
from contracts.table import Table
from loader.transformers import paths, values
from loader.transformers.base import Shown
from loader.transformers.basic.options import Transformation
from loader.transformers.basic.targets import Targets, on_columns, position, targets
from loader.transformers.values import OnArray


def named(t: Transformation, table: Table, at: datetime) -> Shown:
    del at
    found = targets(t, table)
    if found.missing and table.name in t.tables:
        # Anything less would publish what was to be hidden.
        near = nearest(found.missing[0], [c.name for c in table.columns])
        raise InputError(
            f"{t.kind}: table '{table.name}' has no column '{found.missing[0]}'; nothing was loaded",
            f"did you mean '{near}'?" if near else "",
        )
    for name in found.whole:
        _refuse_unfit(t, table, name)
    return _hidden(t, table, found, ())


def sensitive(t: Transformation, table: Table, at: datetime) -> Shown:
    del at
    marked = [c for c in table.columns if c.sensitive]
    for column in marked:
        _refuse_unfit(t, table, column.name)
    found = Targets(tuple(c.name for c in marked), {}, ())
    # One sentence for all tables: a summary tells it once.
    note = f"{t.kind}: tables of which the source marks no column as sensitive stay as they are"
    return _hidden(t, table, found, () if marked else (note,))


def _hidden(t: Transformation, table: Table, found: Targets, notes: tuple[str, ...]) -> Shown:
    changes = {position(table, name): whole(t.include_sha) for name in found.whole}
    changes |= {
        position(table, name): _within(within, t.include_sha)
        for name, within in found.within.items()
    }
    return Shown(
        table, on_columns(changes), altered=found.names,
        blurred=frozenset() if t.include_sha else found.names, warnings=notes,
    )  # fmt: skip


def whole(hashed: bool) -> OnArray:  # the option itself
    return lambda array: values.redacted(array, hashed=hashed)


def marked(value: paths.Json, *, hashed: bool) -> paths.Json:
    """The marker of a value inside of JSON, made from its JSON text; null says nothing and stays."""
    if value is None or isinstance(value, paths.Gone):
        return value
    return values.marker(paths.dumps(value).encode(), hashed=hashed)


def _within(within: tuple[paths.Path, ...], hashed: bool) -> OnArray:
    def change(value: paths.Json) -> paths.Json:
        for path in within:
            value = paths.edit(value, path, lambda v: marked(v, hashed=hashed))
        return value

    def every(array: pa.Array) -> pa.Array:
        # Nobody can look for a path in a text that is no JSON: what might be in it is hidden with it.
        return values.on_json(array, change, lambda raw: values.json_marker(raw, hashed=hashed))

    return every


def _refuse_unfit(t: Transformation, table: Table, name: str) -> None:
    """Raises InputError: a column that was to be hidden must not be shown as it is."""
    type_ = table.column(name).type
    if not values.family(type_):
        raise InputError(
            f"{t.kind}: column '{name}' of table '{table.name}' is {type_}, which cannot hold a marker; "
            "only text, JSON and binary can",
            f"remove it instead: {{kind: remove_columns, tables: [{table.name}], columns: [{name}]}}",
        )
