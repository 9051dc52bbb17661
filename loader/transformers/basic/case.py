"""Text in capitals or in small letters."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from contracts.errors import InputError
from contracts.table import Table
from loader.transformers import paths, values
from loader.transformers.base import Shown
from loader.transformers.basic.options import Transformation
from loader.transformers.basic.targets import on_columns, position, targets, warnings
from loader.transformers.values import OnArray


def upper(t: Transformation, table: Table, at: datetime) -> Shown:
    del at
    return _show(t, table, pc.utf8_upper, str.upper)


def lower(t: Transformation, table: Table, at: datetime) -> Shown:
    del at
    return _show(t, table, pc.utf8_lower, str.lower)


def _show(t: Transformation, table: Table, plain: OnArray, one: Callable[[str], str]) -> Shown:
    found = targets(t, table)
    changes: dict[int, OnArray] = {}
    for name in found.whole:
        kind = values.family(table.column(name).type)
        if kind not in {"text", "json"}:
            raise InputError(
                f"{t.kind}: column '{name}' of table '{table.name}' is {table.column(name).type}; "
                "only text and JSON have capitals",
                "take the column out of `columns`, or narrow `tables`",
            )
        changes[position(table, name)] = _json(((),), one) if kind == "json" else _text(plain)
    for name, within in found.within.items():
        changes[position(table, name)] = _json(within, one)
    return Shown(
        table, on_columns(changes), altered=found.names, warnings=warnings(t, table, found)
    )


def _text(plain: OnArray) -> OnArray:
    return lambda array: values.on_storage(array, plain)


def _json(within: tuple[paths.Path, ...], one: Callable[[str], str]) -> OnArray:
    def change(value: paths.Json) -> paths.Json:
        for path in within:
            value = paths.edit(value, path, lambda v: paths.texts(v, one))
        return value

    def every(array: pa.Array) -> pa.Array:
        return values.on_json(array, change, lambda raw: raw.decode())

    return every
