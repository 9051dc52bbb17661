"""Rows that are left out because of what is in their columns."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import reduce

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from contracts import types
from contracts.errors import InputError
from contracts.stagefile.read import filtered
from contracts.stagefile.text import from_text, is_json, to_text
from contracts.table import Column, Table
from loader.transformers import paths, values
from loader.transformers.base import Shown
from loader.transformers.basic.options import Transformation

_Test = Callable[[pa.Array], pa.Array]  # column → booleans without nulls


def drop(t: Transformation, table: Table, at: datetime) -> Shown:
    """A row goes if any of the columns is null (no `value`) or is `value`, read as the column's type."""
    del at
    tests: dict[int, _Test] = {}
    notes: list[str] = []
    for name in dict.fromkeys(t.columns):
        if name not in table:
            notes.append(f"drop_rows: table '{table.name}' has no column '{name}'")
            continue
        i = next(i for i, c in enumerate(table.columns) if c.name == name)
        test = _test(table, table.column(name), t.value)
        if test is None:
            notes.append(
                f"drop_rows: no {table.column(name).type} is '{t.value}': column '{name}' of table "
                f"'{table.name}' drops nothing"
            )
        else:
            tests[i] = test

    def batch(b: pa.RecordBatch) -> pa.RecordBatch:
        hits = reduce(pc.or_, (test(b.column(i)) for i, test in tests.items()))
        return filtered(b, pc.invert(hits)) if pc.any(hits).as_py() else b

    return Shown(
        table, batch if tests else None, filters=bool(tests),
        warnings=tuple(notes) if table.name in t.tables else (),
    )  # fmt: skip


def _test(table: Table, column: Column, value: str | None) -> _Test | None:
    """None: no value of the column's type has this text."""
    type_ = column.type
    if value is None:
        return lambda array: array.is_null()
    if types.extension_of(type_) == "json":
        return _json(value)
    if is_json(type_):
        raise InputError(
            f"drop_rows: column '{column.name}' of table '{table.name}' is {type_}; rows can be dropped "
            "by a single value or by null only",
            "leave `value` out to drop rows in which it is null, or narrow `tables`",
        )
    if pa.types.is_null(type_):
        return None
    plain = type_.value_type if pa.types.is_dictionary(type_) else types.storage_of(type_)
    plain = {"text": pa.string(), "binary": pa.binary()}.get(values.family(plain), plain)
    try:
        wanted = from_text(pa.array([value], pa.string()), _decoded(type_))
    except ValueError:
        return None
    scalar = _storage(wanted).cast(plain)[0]
    try:
        pc.equal(pa.array([], plain), scalar)
    except pa.ArrowNotImplementedError:  # half floats, decimals of a negative scale
        text = to_text(wanted)[0]
        return lambda array: pc.fill_null(pc.equal(to_text(array), text), False)
    return lambda array: pc.fill_null(pc.equal(_storage(array).cast(plain), scalar), False)


def _decoded(type_: pa.DataType) -> pa.DataType:
    return type_.value_type if pa.types.is_dictionary(type_) else type_


def _storage(array: pa.Array) -> pa.Array:
    """The values themselves, without extension and dictionary."""
    if isinstance(array.type, pa.BaseExtensionType):
        return array.storage
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _json(text: str) -> _Test:
    """Compared as values: blanks and the order of keys say nothing."""
    wanted = _canonical(text.encode())

    def same(raw: list[bytes]) -> pa.Array:
        return pa.array([_canonical(one) == wanted for one in raw], pa.bool_())

    return lambda array: pc.fill_null(values.on_distinct(array.storage, same), False)


def _canonical(raw: bytes) -> tuple[bool, str]:
    """A text that is no JSON is only like itself."""
    try:
        return True, paths.dumps(paths.loads(raw), ordered=True)
    except orjson.JSONDecodeError:
        return False, raw.decode()
