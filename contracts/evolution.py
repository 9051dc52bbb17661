"""How the schema of a table may grow during a run: types that widen, columns that are added, nulls that appear.

Workers grow the tables of their attempts, the loader unites what they grew; both ask `joined`. Types form
a lattice: of two types at most one is the narrowest that holds every value of both, so that the union of many
schemas does not depend on their order (docs/design/evolution.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pyarrow as pa

from contracts.errors import SchemaChanged
from contracts.table import Column, Table

MOST_COLUMNS = 1600  # of a table that grows: as many as PostgreSQL has

_SIGNED = (pa.int8(), pa.int16(), pa.int32(), pa.int64())
_UNSIGNED = (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())
# Types of which each holds every value of those before it.
_CHAINS: tuple[tuple[pa.DataType, ...], ...] = (
    _SIGNED,
    _UNSIGNED,
    (pa.float16(), pa.float32(), pa.float64()),
    (pa.string(), pa.string_view(), pa.large_string()),
    (pa.binary(), pa.binary_view(), pa.large_binary()),
    (pa.date32(), pa.date64()),
    (pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")),
    # Nanoseconds hold three centuries only: not every value of a coarser unit.
    (pa.duration("s"), pa.duration("ms"), pa.duration("us")),
)
_RANKS = {type_: (chain, rank) for chain in _CHAINS for rank, type_ in enumerate(chain)}
_UNITS = ("s", "ms", "us")  # of timestamps; for nanoseconds the same holds
_INTEGER_DIGITS = 20  # of the longest integer, 2^64 - 1
_DECIMALS = (
    (9, pa.decimal32, pa.types.is_decimal32),
    (18, pa.decimal64, pa.types.is_decimal64),
    (38, pa.decimal128, pa.types.is_decimal128),
    (76, pa.decimal256, pa.types.is_decimal256),
)
# Integers of which every value is a float64; uint32 is not among them, since its union with int32 is not.
_FLOATABLE = frozenset({*_SIGNED[:3], *_UNSIGNED[:2]})


def joined(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The narrowest type that holds every value of both, exactly; None if there is none.

    The order of the two does not matter, nor that of three or more, and a type joined with itself is itself.
    """
    test = pa.types
    if one == other or test.is_null(other):
        return one
    if test.is_null(one):
        return other
    if test.is_dictionary(one) or test.is_dictionary(other):
        return joined(_plain(one), _plain(other))
    if test.is_decimal(one) or test.is_decimal(other):
        return _decimal(one, other)
    if test.is_timestamp(one) and test.is_timestamp(other):
        return _timestamp(one, other)
    one, other = _any_length(one, other), _any_length(other, one)
    (chain, rank), (other_chain, other_rank) = (_RANKS.get(t, ((), 0)) for t in (one, other))
    if chain and chain is other_chain:
        return chain[max(rank, other_rank)]
    if {*chain, *other_chain} == {*_SIGNED, *_UNSIGNED}:
        signed, unsigned = (rank, other_rank) if chain is _SIGNED else (other_rank, rank)
        wide = max(signed, unsigned + 1)
        return _SIGNED[wide] if wide < len(_SIGNED) else pa.decimal128(_INTEGER_DIGITS, 0)
    if test.is_floating(one) or test.is_floating(other):
        integer = other if test.is_floating(one) else one
        return pa.float64() if integer in _FLOATABLE else None
    return None


def _plain(type_: pa.DataType) -> pa.DataType:
    return type_.value_type if pa.types.is_dictionary(type_) else type_


def _any_length(type_: pa.DataType, beside: pa.DataType) -> pa.DataType:
    """Bytes of one length beside other bytes are bytes of any length."""
    bytes_ = _CHAINS[4]
    test = pa.types.is_fixed_size_binary
    return pa.binary() if test(type_) and (test(beside) or beside in bytes_) else type_


def _timestamp(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """With a zone they are instants, without one readings of a clock. Which zone shows an instant is no value."""
    if bool(one.tz) != bool(other.tz):
        return None
    zone = one.tz if one.tz == other.tz else "UTC"
    if one.unit == other.unit:
        return pa.timestamp(one.unit, zone)
    if "ns" in (one.unit, other.unit):
        return None
    return pa.timestamp(max(one.unit, other.unit, key=_UNITS.index), zone)


def _decimal(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """As many digits before and behind the point as either has; an integer counts as the longest integer."""
    shapes = []
    for type_ in (one, other):
        if pa.types.is_integer(type_):
            shapes.append((_INTEGER_DIGITS, 0, 0))
        elif pa.types.is_decimal(type_):
            width = next(n for n, (_, _, is_it) in enumerate(_DECIMALS) if is_it(type_))
            shapes.append((type_.precision - type_.scale, type_.scale, width))
        else:
            return None
    whole, scale, width = (max(pair) for pair in zip(*shapes, strict=True))
    for digits, make, _ in _DECIMALS[width:]:
        if whole + scale <= digits:
            return make(whole + scale, scale)
    return None


def widened(values: pa.Array, wide: pa.DataType) -> pa.Array:
    """The values as a type that `joined` gave. Raises pa.ArrowInvalid for a time beyond the finer unit's range."""
    if values.type == wide:
        return values
    if pa.types.is_null(values.type):
        return pa.nulls(len(values), wide)
    if pa.types.is_dictionary(values.type):
        return widened(values.dictionary_decode(), wide)
    return values.cast(wide)


def is_fixed(table: Table, column: str) -> bool:
    """Whether a column must stay as planned: ids are made of keys, and older rows are found by `_cq_*`."""
    return column.startswith("_cq_") or column in table.primary_key


def united(planned: Table, forms: Iterable[Table]) -> Table:
    """The planned table, grown to hold the rows of all these forms of it; their order does not matter.

    Columns that the plan does not have come last, by name. Raises SchemaChanged if two forms disagree.
    """
    columns = {c.name: c for c in planned.columns}
    for form in forms:
        for column in form.columns:
            known = columns.get(column.name)
            columns[column.name] = _both(planned.name, known, column) if known else column
    if len(columns) > max(MOST_COLUMNS, len(planned.columns)):
        raise SchemaChanged(
            f"table '{planned.name}' grew to {len(columns)} columns; {MOST_COLUMNS} are the most"
        )
    added = sorted(columns.keys() - {c.name for c in planned.columns})
    names = [*(c.name for c in planned.columns), *added]
    return replace(planned, columns=tuple(columns[name] for name in names))


def _both(table: str, known: Column, column: Column) -> Column:
    type_ = joined(known.type, column.type)
    if type_ is None:
        raise SchemaChanged(
            f"table '{table}': the column '{column.name}' is {known.type} in one place and {column.type} in "
            "another, and no type holds the values of both"
        )
    return replace(known, type=type_, nullable=known.nullable or column.nullable)
