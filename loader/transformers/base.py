"""What a transformer is: a table in, the table as it is shown out, and the same done to its batches.

Both sides are decided together, once per table and load, by pure functions: the batch side cannot
disagree with the schema side, since it was made from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Protocol, runtime_checkable

import pyarrow as pa
import pyarrow.compute as pc

from contracts.errors import Permanent
from contracts.table import Table

OnBatch = Callable[[pa.RecordBatch], pa.RecordBatch]


@dataclass(frozen=True)
class Shown:
    """A table as a destination gets it.

    `batch` turns a batch of the table's schema as it was into one of the schema as it is; None: rows stay
    as they are. `filters`: it may leave rows out. `altered` names columns (as they are called now) whose
    values were changed; `blurred` those of them in which different values may have become equal.
    `renames`: column as it was called → as it is called now. `opaque`: nobody can say which values were changed.
    """

    table: Table
    batch: OnBatch | None = None
    filters: bool = False
    altered: frozenset[str] = frozenset()
    blurred: frozenset[str] = frozenset()
    renames: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    opaque: bool = False


class Transformer(Protocol):
    """One `kind: transformer` document with its options read."""

    def show(self, table: Table, at: datetime) -> Shown:
        """`at` is the beginning of the load, with zone. Raises InputError for a table that the options
        do not fit.
        """

    def name(self, table: str) -> str:
        """The name under which a table of this name is shown; cheap."""

    def unmet(self, tables: Sequence[Table], at: datetime) -> Iterator[str]:
        """A phrase for each name of the options that none of the tables has: where something was to be
        hidden, a misspelt one shows it. Raises as `show` does.
        """


@runtime_checkable
class Started(Protocol):
    """What a transformer that is a program can do, too."""

    def start(self) -> None: ...

    def close(self) -> None: ...


def keeping(on_batch: OnBatch, columns: Sequence[str], table: str) -> OnBatch:
    """The same, where values of the columns were left as they are. Raises Permanent for a value that is new."""

    def checked(batch: pa.RecordBatch) -> pa.RecordBatch:
        result = on_batch(batch)
        for name in set(columns) & {*batch.schema.names} & {*result.schema.names}:
            before, after = (b.column(name).unique() for b in (batch, result))
            if not pc.all(pc.is_in(after, value_set=before)).as_py() and len(after):
                raise Permanent(
                    f"a transformer changed values in column '{name}' of table '{table}', which "
                    "`write_mode: overwrite-delete-stale` needs to tell stale rows from others; nothing was loaded",
                    "have it leave the column as it is, or set `write_mode: append`",
                )
        return result

    return checked


def then(shown: Shown, step: Callable[[Table], Shown]) -> Shown:
    """One more step on what is shown already."""
    added = step(shown.table)
    left = {c.name for c in added.table.columns}
    altered, blurred = (
        {added.renames.get(name, name) for name in names} & left
        for names in (shown.altered, shown.blurred)
    )
    return Shown(
        added.table,
        _after(shown.batch, added.batch),
        filters=shown.filters or added.filters,
        altered=added.altered | altered,
        blurred=added.blurred | blurred,
        renames=_composed(shown.renames, added.renames),
        warnings=(*shown.warnings, *added.warnings),
        opaque=shown.opaque or added.opaque,
    )


def _composed(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, str]:
    found = {old: second.get(new, new) for old, new in first.items()}
    between = set(first.values())
    return found | {old: new for old, new in second.items() if old not in between}


def _after(one: OnBatch | None, other: OnBatch | None) -> OnBatch | None:
    if one is None or other is None:
        return one or other
    first, second = one, other
    return lambda batch: second(first(batch))


def matches(patterns: Sequence[str], name: str) -> bool:
    """Whether one of the patterns is the name; `*` stands for any run of characters, case matters."""
    return any(_pattern(p).fullmatch(name) for p in patterns)


def patterns_unmet(what: str, patterns: Sequence[str], tables: Sequence[Table]) -> Iterator[str]:
    """A phrase for each pattern that matches no table."""
    for pattern in patterns:
        if not any(matches((pattern,), table.name) for table in tables):
            yield f"{what}: `tables` has '{pattern}', which is no table of this run"


@lru_cache(maxsize=1024)
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(piece) for piece in pattern.split("*")), re.DOTALL)
