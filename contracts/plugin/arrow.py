"""CloudQuery's tables in Arrow ↔ ours: metadata keys, and the four extension types.

The plugin protocol says everything about a table in the metadata of an Arrow schema. A column of an
extension type comes as its storage with the type's name in the field's metadata; only in a process
where CloudQuery's SDK is loaded it comes as a type of the SDK. Both are read; written is always the
first, which is the same on the wire.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa

from contracts import types
from contracts.plugin.errors import Malformed
from contracts.plugin.recast import recast
from contracts.table import ID, Column, Table

NAME = b"cq:table_name"
TITLE = b"cq:table_title"
DESCRIPTION = b"cq:table_description"
PARENT = b"cq:table_depends_on"
CONSTRAINT = b"cq:extension:constraint_name"
INCREMENTAL = b"cq:extension:incremental"  # of a table, and of its cursor column
PRIMARY_KEY = b"cq:extension:primary_key"
UNIQUE = b"cq:extension:unique"
TYPE_SCHEMA = b"cq:extension:type_schema"
SENSITIVE = b"cq:table_sensitive_columns"  # a JSON array, or `null`
EXTENSION = b"ARROW:extension:name"
_SERIALIZED = b"ARROW:extension:metadata"
_TRUE = {True: b"true", False: b"false"}

# The plugin's name of a type → ours and its storage on the wire. Arrow's canonical names are read, too.
_OURS: dict[str, pa.DataType] = {
    "uuid": types.UUID,
    "json": types.JSON,
    "inet": types.INET,
    "mac": types.MAC,
    "arrow.uuid": types.UUID,
    "arrow.json": types.JSON,
}
_WIRE: dict[str, pa.DataType] = {
    "uuid": pa.binary(16),
    "json": pa.binary(),
    "inet": pa.binary(),
    "mac": pa.binary(),
}


def table_of(schema: pa.Schema) -> Table:
    """The table that a schema declares. Without a key, `_cq_id` is the key where there is one.

    Raises Malformed for a schema without the name of a table, or with names that are no text.
    """
    try:
        return _table(schema)
    except UnicodeDecodeError as error:
        raise Malformed(f"a schema with names that are no UTF-8: {error}") from error


def _table(schema: pa.Schema) -> Table:
    facts = {k: v.decode(errors="replace") for k, v in (schema.metadata or {}).items()}
    if not facts.get(NAME):
        raise Malformed(
            f"a schema without the name of its table ({NAME.decode()}): {schema.names[:8]}",
            "this is an error of the plugin; report it there",
        )
    sensitive = _names(facts.get(SENSITIVE, ""))
    columns = tuple(_column(field, field.name in sensitive) for field in schema)
    if not any(c.primary_key for c in columns):
        columns = tuple(replace(c, primary_key=c.name == ID) for c in columns)
    return Table(
        name=facts[NAME],
        columns=columns,
        parent=facts.get(PARENT) or None,
        incremental=facts.get(INCREMENTAL) == "true",
        description=facts.get(DESCRIPTION, ""),
        title=facts.get(TITLE, ""),
    )


def schema_of(table: Table) -> pa.Schema:
    """The schema that tells a plugin about a table; the inverse of `table_of`, but for descriptions of columns."""
    facts = {
        NAME: table.name,
        TITLE: table.title,
        DESCRIPTION: table.description,
        CONSTRAINT: f"{table.name}_cqpk",
        INCREMENTAL: _TRUE[table.incremental].decode(),
        SENSITIVE: json.dumps([c.name for c in table.columns if c.sensitive]),
    }
    # Absent for no parent: the Python SDK takes an empty text for a table without a name.
    facts |= {PARENT: table.parent} if table.parent else {}
    return pa.schema([_field(c) for c in table.columns], metadata=facts)


def inward(batch: pa.RecordBatch, table: Table) -> pa.RecordBatch:
    """A batch of a plugin with our types; `table` is `table_of` its schema. Shares memory where it can.

    Raises pa.ArrowInvalid for values that the type does not allow: json that is no UTF-8, a mac of
    another length than six bytes.
    """
    return _cast(batch, table.schema)


def outward(batch: pa.RecordBatch, table: Table) -> pa.RecordBatch:
    """A batch of ours as a plugin reads it: storage, and the metadata of `schema_of`."""
    return _cast(batch, schema_of(table))


def wire_schema(schema: pa.Schema) -> pa.Schema:
    """A schema with our types as a plugin reads it; every other fact in its metadata stays."""
    return pa.schema([_merged(f, wire_field(f)) for f in schema], metadata=schema.metadata)


def our_schema(schema: pa.Schema) -> pa.Schema:
    """A plugin's schema with our types; every other fact in its metadata stays."""
    fields = []
    for field in schema:
        facts = {
            k: v for k, v in (field.metadata or {}).items() if k not in (EXTENSION, _SERIALIZED)
        }
        fields.append(pa.field(field.name, ours(field), field.nullable, metadata=facts or None))
    return pa.schema(fields, metadata=schema.metadata)


def as_schema(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with the types and the metadata of a schema. Raises pa.ArrowInvalid where values do not fit."""
    return _cast(batch, schema)


def ours(field: pa.Field) -> pa.DataType:
    """The type of a plugin's field in our terms, at any depth; an extension that nobody knows is its storage."""
    name = _extension(field)
    if name in _OURS:
        return _OURS[name]
    type_ = types.storage_of(field.type)
    if pa.types.is_struct(type_):
        return pa.struct([_child(type_.field(i)) for i in range(type_.num_fields)])
    if pa.types.is_map(type_):
        return pa.map_(_child(type_.key_field), _child(type_.item_field))
    if pa.types.is_fixed_size_list(type_):
        return pa.list_(_child(type_.value_field), type_.list_size)
    for is_list, make in _LISTS:
        if is_list(type_):
            return make(_child(type_.value_field))
    return type_


_LISTS = (
    (pa.types.is_list, pa.list_),
    (pa.types.is_large_list, pa.large_list),
    (pa.types.is_list_view, pa.list_view),
    (pa.types.is_large_list_view, pa.large_list_view),
)


def _extension(field: pa.Field) -> str:
    if isinstance(field.type, pa.BaseExtensionType):
        return str(field.type.extension_name)
    return bytes((field.metadata or {}).get(EXTENSION, b"")).decode(errors="replace")


def _child(field: pa.Field) -> pa.Field:
    return pa.field(field.name, ours(field), field.nullable)


def _merged(old: pa.Field, new: pa.Field) -> pa.Field:
    return new.with_metadata({**(old.metadata or {}), **(new.metadata or {})} or None)


def _column(field: pa.Field, sensitive: bool) -> Column:
    facts: Mapping[bytes, bytes] = field.metadata or {}
    return Column(
        name=field.name,
        type=ours(field),
        nullable=field.nullable,
        primary_key=facts.get(PRIMARY_KEY) == b"true",
        incremental_key=facts.get(INCREMENTAL) == b"true",
        unique=facts.get(UNIQUE) == b"true",
        type_schema=facts.get(TYPE_SCHEMA, b"").decode(errors="replace"),
        sensitive=sensitive,
    )


def _field(column: Column) -> pa.Field:
    facts = {
        PRIMARY_KEY: _TRUE[column.primary_key],
        UNIQUE: _TRUE[column.unique],
        INCREMENTAL: _TRUE[column.incremental_key],
    }
    facts |= {TYPE_SCHEMA: column.type_schema.encode()} if column.type_schema else {}
    plain = wire_field(column.field)
    return plain.with_metadata({**(plain.metadata or {}), **facts})


def wire_field(field: pa.Field) -> pa.Field:
    """The field as a plugin reads it: extension types as storage plus metadata, at any depth."""
    if name := types.extension_of(field.type):
        # Go compares the second text when it builds the type again.
        mark = {EXTENSION: name.encode(), _SERIALIZED: f"{name}-serialized".encode()}
        return pa.field(field.name, _WIRE[name], field.nullable, metadata=mark)
    type_ = field.type
    if pa.types.is_struct(type_):
        type_ = pa.struct([wire_field(type_.field(i)) for i in range(type_.num_fields)])
    elif pa.types.is_map(type_):
        type_ = pa.map_(wire_field(type_.key_field), wire_field(type_.item_field))
    elif pa.types.is_fixed_size_list(type_):
        type_ = pa.list_(wire_field(type_.value_field), type_.list_size)
    else:
        for is_list, make in _LISTS:
            if is_list(type_):
                type_ = make(wire_field(type_.value_field))
    return pa.field(field.name, type_, field.nullable)


def _cast(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    if batch.num_columns != len(schema):
        raise pa.ArrowInvalid(
            f"{batch.num_columns} columns instead of {len(schema)}: {schema.names}"
        )
    columns = []
    for column, field in zip(batch.columns, schema, strict=True):
        try:
            columns.append(recast(column, field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise pa.ArrowInvalid(f"column '{field.name}': {error}") from error
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _names(text: str) -> frozenset[str]:
    try:
        found = json.loads(text) if text else []
    except ValueError:
        return frozenset()
    return (
        frozenset(n for n in found if isinstance(n, str))
        if isinstance(found, list)
        else frozenset()
    )
