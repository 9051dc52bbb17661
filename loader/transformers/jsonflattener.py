"""`cloudquery/jsonflattener`: one level of JSON columns as columns of their own, called `<column>__<key>`.

Only columns whose source declares what is in them (`Column.type_schema`) are expanded; the JSON column
stays. New columns come last, ordered by column and key, as in CloudQuery. A value that is not of the
declared type is null in its new column: the JSON beside it still has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from contracts import types
from contracts.spec import Model
from contracts.table import Column, Table
from loader.transformers import paths
from loader.transformers.base import Shown, matches, patterns_unmet
from loader.transformers.values import family

_TYPES: Mapping[str, pa.DataType] = {
    "utf8": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "timestamp[us, tz=UTC]": types.TIMESTAMP,
    "uuid": types.UUID,
}
_FRACTION = r"(\.\d{6})\d+"
_ZONE = r"(Z|z|[+-]\d{2}(:?\d{2})?)$"


class Options(Model):
    """The nested `spec` of `cloudquery/jsonflattener`."""

    tables: tuple[str, ...] = Field(("*",), description="Names of tables; `*` is any characters")


@dataclass(frozen=True)
class _New:
    """One new column: `key` of the JSON column at `position`."""

    position: int
    key: str
    column: Column


@dataclass(frozen=True)
class Flattener:
    options: Options

    def show(self, table: Table, at: datetime) -> Shown:
        del at
        if not matches(self.options.tables or ("*",), table.name):
            return Shown(table)
        added = _new_columns(table)
        json_columns = [c.name for c in table.columns if family(c.type) == "json"]
        if not added:
            # One sentence for all tables: a summary tells it once.
            note = (
                "jsonflattener: tables whose source does not declare what is in their JSON columns "
                "stay as they are"
            )
            return Shown(table, warnings=(note,) if json_columns else ())
        result = replace(table, columns=(*table.columns, *(n.column for n in added)))
        schema = result.schema

        def batch(b: pa.RecordBatch) -> pa.RecordBatch:
            return pa.RecordBatch.from_arrays([*b.columns, *_values(b, added)], schema=schema)

        return Shown(result, batch, altered=frozenset(n.column.name for n in added))

    def name(self, table: str) -> str:
        return table

    def unmet(self, tables: Sequence[Table], at: datetime) -> Iterator[str]:
        del at
        return patterns_unmet("jsonflattener", self.options.tables, tables)


def open(options: Options) -> Flattener:  # noqa: A001  # the verb of every registry
    return Flattener(options)


def _new_columns(table: Table) -> list[_New]:
    taken = {c.name.casefold() for c in table.columns}
    found = []
    for position, column in sorted(enumerate(table.columns), key=lambda c: c[1].name):
        for key, type_ in sorted(_declared(column).items()):
            name = f"{column.name}__{key}"
            while name.casefold() in taken:  # keys may differ in case alone
                name += "_"
            taken.add(name.casefold())
            about = f"`{key}` of `{column.name}`"
            new = Column(name, type_, description=about, sensitive=column.sensitive)
            found.append(_New(position, key, new))
    return found


def _declared(column: Column) -> dict[str, pa.DataType]:
    """Key → type; what is nested, binary or unknown is JSON. Empty if the column holds no object."""
    if family(column.type) != "json" or not column.type_schema:
        return {}
    try:
        declared = orjson.loads(column.type_schema)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(declared, dict):
        return {}
    return {
        key: _TYPES.get(type_, types.JSON) if isinstance(type_, str) else types.JSON
        for key, type_ in declared.items()
    }


def _values(batch: pa.RecordBatch, added: Iterable[_New]) -> list[pa.Array]:
    """The new columns; each distinct JSON value of a batch is parsed once."""
    parsed: dict[int, tuple[list[dict[str, Any]], pa.Array]] = {}
    result = []
    for new in added:
        if new.position not in parsed:
            encoded = batch.column(new.position).storage.dictionary_encode()
            texts = encoded.dictionary.cast(pa.binary()).to_pylist()
            parsed[new.position] = [_object(text) for text in texts], encoded.indices
        objects, indices = parsed[new.position]
        column = typed([o.get(new.key) for o in objects], new.column.type)
        result.append(_taken(column, indices))
    return result


def _taken(array: pa.Array, indices: pa.Array) -> pa.Array:
    if isinstance(array.type, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(array.type, array.storage.take(indices))
    return array.take(indices)


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = paths.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def typed(found: list[Any], type_: pa.DataType) -> pa.Array:
    """JSON values as a column; what does not fit is null."""
    if type_ == types.JSON:
        texts = [None if v is None else paths.dumps(v) for v in found]
        return pa.ExtensionArray.from_storage(type_, pa.array(texts, pa.string()))
    if type_ == types.TIMESTAMP:
        return _times([v if isinstance(v, str) else None for v in found])
    if type_ == types.UUID:
        raw = pa.array([_uuid(v) for v in found], pa.binary(16))
        return pa.ExtensionArray.from_storage(type_, raw)
    fits = _FITS[str(type_)]
    return pa.array([v if fits(v) else None for v in found], type_)


_FITS: Mapping[str, Callable[[Any], bool]] = {
    "string": lambda v: isinstance(v, str),
    "bool": lambda v: isinstance(v, bool),
    "int64": lambda v: type(v) is int and -(2**63) <= v < 2**63,
    # Arrow takes an integer as a float only if it has one that is equal.
    "double": lambda v: type(v) is float or (type(v) is int and abs(v) <= 2**53),
}


def _uuid(value: Any) -> bytes | None:
    try:
        return UUID(value).bytes if isinstance(value, str) else None
    except ValueError:
        return None


def _times(texts: list[str | None]) -> pa.Array:
    """RFC 3339, with a blank for the T too; without a zone it is UTC; digits beyond µs are cut."""
    array = pc.utf8_trim_whitespace(pa.array(texts, pa.string()))
    array = pc.replace_substring_regex(array, _FRACTION, r"\1")
    zoned = pc.match_substring_regex(array, _ZONE)
    array = pc.if_else(zoned, array, pc.binary_join_element_wise(array, pa.scalar("Z"), ""))
    try:
        return array.cast(types.TIMESTAMP)
    except pa.ArrowInvalid:  # one of them is no time: find out which
        return pa.concat_arrays([_time(array[i : i + 1]) for i in range(len(array))])


def _time(one: pa.Array) -> pa.Array:
    try:
        return one.cast(types.TIMESTAMP)
    except pa.ArrowInvalid:
        return pa.nulls(1, types.TIMESTAMP)
