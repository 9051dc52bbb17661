"""What distinguishes one SQL engine from another, as data and pure functions; no engine is imported."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from contracts.errors import InputError
from loader.shape import PhysicalTable


@dataclass(frozen=True)
class Mapped:
    """An Arrow type in an engine: its SQL name, and the Arrow type in which batches are handed over.

    `loader.convert` turns the first into the second, so that an engine never meets a type that it lacks.
    """

    sql: str
    arrow: pa.DataType


@dataclass(frozen=True)
class Dialect:
    """One engine's SQL. Placeholders are `$1`, `$2`, … everywhere (DuckDB and PostgreSQL speak them).

    `holds(wide, narrow)`: every value of the type `narrow` has exactly one place in the type `wide`.
    `merge`: the form of an upsert that was measured to be fastest.
    `copies`: whether a bulk copy inside a transaction writes an Arrow type straight into a column of the
    given type; an append whose columns all travel so needs no landing table.
    `in_place`: how a Parquet column of a type is read where it lies, an expression over `{}`; None: it is not.
    `enforces_keys`: a key is a constraint of the engine; otherwise it is only recorded with the table.
    """

    name: str
    map_type: Callable[[pa.DataType], Mapped]
    holds: Callable[[str, str], bool]
    merge: Literal["merge", "delete-insert", "on-conflict"]
    text: str
    identifier_bytes: int = 0  # 0: no limit
    case_sensitive: bool = True
    enforces_keys: bool = True
    binary_order: str = ""  # appended to a text that is sorted, so that no locale decides
    in_place: Callable[[pa.DataType], str | None] = lambda _: None
    copies: Callable[[pa.DataType, str], bool] = lambda _arrow, _column: False

    def quote(self, name: str) -> str:
        """An identifier. Raises InputError for names that no engine can hold."""
        if not name or "\0" in name:
            raise InputError(
                f"{name!r} cannot be the name of a table or column",
                "names must not be empty and must not contain the NUL character",
            )
        return '"' + name.replace('"', '""') + '"'

    def ref(self, table: PhysicalTable) -> str:
        return self.ref_name(table.name, table.schema)

    def ref_name(self, name: str, schema: str = "") -> str:
        return f"{self.quote(schema)}.{self.quote(name)}" if schema else self.quote(name)

    def literal(self, text: str) -> str:
        """A text constant, where statements take no parameters (comments, file names)."""
        if "\0" in text:
            raise InputError("a text with a NUL character cannot be written into a statement")
        return "'" + text.replace("'", "''") + "'"

    def name_of(self, name: str) -> str:
        """The name as the engine can hold it: longer ones are cut and end in a hash of the whole."""
        raw = name.encode("utf-8", "surrogatepass")
        if not self.identifier_bytes or len(raw) <= self.identifier_bytes:
            return name
        return _cut(raw, self.identifier_bytes - 9) + "_" + _digest(name)

    def names_of(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Names of the columns of one table, kept apart where the engine would take two for one."""
        taken: set[str] = set()
        result = []
        for name in names:
            physical = self.name_of(name)
            if self.folded(physical) in taken:
                limit = self.identifier_bytes or len(physical.encode()) + 9
                physical = _cut(physical.encode(), limit - 9) + "_" + _digest(name)
            taken.add(self.folded(physical))
            result.append(physical)
        return tuple(result)

    def folded(self, name: str) -> str:
        """The form in which the engine compares names."""
        return name if self.case_sensitive else name.casefold()


def _cut(raw: bytes, size: int) -> str:
    return raw[: max(size, 1)].decode("utf-8", "ignore")


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
