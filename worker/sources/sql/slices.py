"""How a huge cell is cut: half-open ranges of blocks or of a key, JSON for the plan, SQL for the worker.

The first and the last range are open, so that no row falls outside whatever the estimates were; the
first one takes nulls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pyarrow as pa

from contracts import types
from contracts.errors import Permanent
from worker.sources.sql.engine import own
from worker.sources.sql.literals import literal

Bounds = Mapping[str, Any]


def can_cut(type_: pa.DataType) -> bool:
    """Only integers, dates and uuids: their order is the same everywhere."""
    return bool(pa.types.is_integer(type_) or pa.types.is_date(type_) or type_ == types.UUID)


def position(text: str, type_: pa.DataType) -> int:
    """A key's place on a number line."""
    if type_ == types.UUID:
        return UUID(text).int
    return date.fromisoformat(text).toordinal() if pa.types.is_date(type_) else int(text)


def at(place: int, type_: pa.DataType) -> str:
    """The key at a place on the number line; inverse of `position`."""
    if type_ == types.UUID:
        return str(UUID(int=place))
    if pa.types.is_date(type_):
        return (date.min + timedelta(days=place - 1)).isoformat()
    return str(place)


def even_cuts(low: str, high: str, n: int, type_: pa.DataType) -> list[str]:
    """At most n - 1 keys between low and high, evenly spaced: (1, 9, 4) → 3, 5, 7."""
    first, last = position(low, type_), position(high, type_)
    return [at(first + (last - first) * i // n, type_) for i in range(1, n)]


def by_key(column: str, cuts: Sequence[str], type_: pa.DataType) -> list[dict[str, Any]]:
    """Ranges between sorted, distinct cuts; empty if there is nothing to cut."""
    places = sorted({position(c, type_) for c in cuts})
    edges = [None, *(at(p, type_) for p in places), None]
    if not places:
        return []
    return [{"by": "key", "column": column, "from": a, "to": b} for a, b in pairwise(edges)]


def by_block(pages: int, n: int) -> list[dict[str, Any]]:
    """Ranges of a table's blocks (8 KiB): needs no key, and no skew of keys matters."""
    places = sorted({pages * i // n for i in range(1, n)} - {0})
    edges = [None, *places, None]
    return [{"by": "block", "from": a, "to": b} for a, b in pairwise(edges)] if places else []


def conditions(bounds: Bounds, types_: Mapping[str, pa.DataType]) -> list[str]:
    """The WHERE of one slice. Raises Permanent if the bounds are not ours."""
    try:
        start, stop = bounds["from"], bounds["to"]
        if bounds["by"] == "block":
            low, high = (None if b is None else f"'({int(b)},0)'::tid" for b in (start, stop))
            column, nulls = "t.ctid", ""
        else:
            column, type_ = own(bounds["column"]), types_[bounds["column"]]
            low, high = (None if b is None else literal(b, type_) for b in (start, stop))
            nulls = "" if start is not None else f" OR {column} IS NULL"
    except (KeyError, ValueError, TypeError) as error:
        raise Permanent(f"not a slice of this source: {dict(bounds)}") from error
    found = [] if low is None else [f"{column} >= {low}"]
    return found if high is None else [*found, f"{column} < {high}{nulls}"]
