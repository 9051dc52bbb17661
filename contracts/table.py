"""A table: its columns (an Arrow schema), its keys, its parent; and the `_cq_*` columns of every table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any

import pyarrow as pa
from pydantic import PlainSerializer, PlainValidator

from contracts import types

SYNC_TIME = "_cq_sync_time"
SOURCE_NAME = "_cq_source_name"
SYNC_GROUP_ID = "_cq_sync_group_id"
ID = "_cq_id"
PARENT_ID = "_cq_parent_id"
CLIENT_ID = "_cq_client_id"


@dataclass(frozen=True)
class Column:
    """One column. `incremental_key` is CloudQuery's mark for the cursor column of a table.

    `type_schema` says what a JSON column holds: CloudQuery's JSON text, key → type, empty if unknown.
    `sensitive`: values may be secrets (for `obfuscate_sensitive_columns`).
    """

    name: str
    type: pa.DataType
    nullable: bool = True
    primary_key: bool = False
    incremental_key: bool = False
    unique: bool = False
    description: str = ""
    type_schema: str = ""
    sensitive: bool = False

    @property
    def field(self) -> pa.Field:
        return pa.field(self.name, self.type, self.nullable)


@dataclass(frozen=True)
class Table:
    """A table as its source declares it. `incremental` tables are never deleted from as stale.

    `own_client_ids`: `_cq_client_id` is a column of the source's own, whose values are kept; they need not be
    our clients, so that rows are never told apart by them.
    `evolves`: batches may bring more columns and wider types than are declared here (`contracts.evolution`).
    """

    name: str
    columns: tuple[Column, ...]
    parent: str | None = None
    incremental: bool = False
    description: str = ""
    title: str = ""
    own_client_ids: bool = False
    evolves: bool = False
    _by_name: dict[str, Column] = field(init=False, repr=False, compare=False, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {c.name: c for c in self.columns})

    def __contains__(self, column: str) -> bool:
        return column in self._by_name

    def column(self, name: str) -> Column:
        """Raises KeyError if there is no such column."""
        return self._by_name[name]

    @property
    def primary_key(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns if c.primary_key)

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([c.field for c in self.columns])


def with_cq_columns(table: Table) -> Table:
    """The table as it is written to parts: `_cq_*` columns first, in CloudQuery's order.

    A column that the source supplies itself keeps the source's definition and place.
    `_cq_id` becomes the primary key of a table that declares none.
    """
    keyless = not table.primary_key
    own = (
        Column(SYNC_TIME, types.TIMESTAMP, description="Start of the run, the same on every row"),
        Column(SOURCE_NAME, pa.string(), description="Name of the source in the spec"),
        Column(ID, types.UUID, nullable=False, unique=True, primary_key=keyless, description="Id of the row"),
        Column(PARENT_ID, types.UUID, description="_cq_id of the parent row"),
        Column(CLIENT_ID, pa.string(), description="The client whose row this is"),
    )  # fmt: skip
    return replace(table, columns=(*(c for c in own if c.name not in table), *table.columns))


def trees(tables: Sequence[Table]) -> dict[str, tuple[Table, ...]]:
    """Top-level table name → itself and its descendants, parents before children, order kept."""
    by_parent: dict[str | None, list[Table]] = {}
    names = {t.name for t in tables}
    for t in tables:
        by_parent.setdefault(t.parent if t.parent in names else None, []).append(t)

    def walk(table: Table) -> list[Table]:
        return [table, *(d for child in by_parent.get(table.name, []) for d in walk(child))]

    return {top.name: tuple(walk(top)) for top in by_parent.get(None, [])}


def to_json(table: Table) -> dict[str, Any]:
    """The table as documents hold it; flags that are false and texts that are empty are left out."""
    columns = []
    for c in table.columns:
        flags = (
            "primary_key", "incremental_key", "unique", "description", "type_schema", "sensitive",
        )  # fmt: skip
        column = {"name": c.name, "type": types.encode(c.type)}
        column |= {} if c.nullable else {"nullable": False}
        column |= {f: getattr(c, f) for f in flags if getattr(c, f)}
        columns.append(column)
    facts = ("parent", "incremental", "title", "description", "own_client_ids", "evolves")
    return (
        {"name": table.name}
        | {f: v for f in facts if (v := getattr(table, f))}
        | {"columns": columns}
    )


def from_json(document: Any) -> Table:
    """Inverse of `to_json`. Raises ValueError if the document is not a table."""
    if isinstance(document, Table):
        return document
    try:
        columns = [Column(**{**c, "type": types.decode(c["type"])}) for c in document["columns"]]
        facts = {k: v for k, v in document.items() if k != "columns"}
        table = Table(columns=tuple(columns), **facts)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"not a table: {error}") from error
    _check_facts(table)
    for column in columns:
        _check_facts(column)
    return table


def _check_facts(what: Table | Column) -> None:
    """Raises ValueError for a value of the wrong type, which would only fail where it is used."""
    for one in fields(what):
        value = getattr(what, one.name)
        wanted = _FACTS.get(one.type)
        if wanted and not isinstance(value, wanted):
            kind = type(what).__name__.lower()
            raise ValueError(f"not a table: '{one.name}' of a {kind} is {value!r}"[:200])


# Annotation, as `dataclasses.fields` has it → what a value must be.
_FACTS: dict[Any, Any] = {"str": str, "bool": bool, "str | None": str | None}


TableDocument = Annotated[Table, PlainValidator(from_json), PlainSerializer(to_json)]
