"""What passes between us and a plugin, as values: the messages of a sync and of a write.

Batches carry the types of `contracts.types`; bytes, protobuf and Arrow's metadata stay behind `client`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import pyarrow as pa

from contracts.errors import Permanent
from contracts.table import Table


@dataclass(frozen=True)
class Backend:
    """Where a source finds its state: a gRPC address and the name of the table there."""

    table_name: str
    connection: str


@dataclass(frozen=True)
class SyncRequest:
    """What a source is asked for. `tables` are names or patterns; none of them means nothing, `*` all.

    shard: number (from 1) and total. Only Go plugins with SDK 4.63 or newer heed it; the others send
    everything for every shard.
    checkpoints: state may come as messages, each after the rows that it covers.
    """

    tables: tuple[str, ...]
    skip_tables: tuple[str, ...] = ()
    skip_dependent_tables: bool = False
    deterministic_cq_id: bool = False
    backend: Backend | None = None
    shard: tuple[int, int] | None = None
    checkpoints: bool = True


@dataclass(frozen=True)
class Predicate:
    """`column` = the one value of `value` (an array of length 1); the protocol knows no other operator."""

    column: str
    value: pa.Array


@dataclass(frozen=True)
class Group:
    """Predicates of which all (`and`) or any (`or`) must hold."""

    grouping: Literal["and", "or"]
    predicates: tuple[Predicate, ...]


@dataclass(frozen=True)
class Relation:
    """A table whose rows go with the deleted rows of its parent."""

    table: str
    parent: str


@dataclass(frozen=True)
class Migrate:
    """A selected table, as the source declares it; comes before its rows, also where it has none."""

    table: Table


@dataclass(frozen=True)
class Inserted:
    """Rows of one table: several messages of the plugin, put together."""

    table: str
    batch: pa.RecordBatch


@dataclass(frozen=True)
class Deleted:
    """Rows that the source knows to be gone: those for which every group of `where` holds."""

    table: str
    where: tuple[Group, ...] = ()
    relations: tuple[Relation, ...] = ()

    def alternatives(self, most: int = 10_000) -> list[dict[str, pa.Array]]:
        """`where` as alternatives: column → value; a row goes if it has all values of one of them.

        A condition that no row can meet gives none. Raises Permanent for more than `most`.
        """
        found: list[dict[str, pa.Array]] = [{}]
        for group in self.where:
            pairs = [{p.column: p.value} for p in group.predicates]
            choices = pairs if group.grouping == "or" else [_all_of(pairs)]
            found = [b for a in found for c in choices if (b := _all_of([a, c])) is not None]
            if len(found) > most:
                raise Permanent(f"{self.table}: the plugin deletes rows in more than {most:,} ways")
        return found


def _all_of(pairs: Sequence[dict[str, pa.Array] | None]) -> dict[str, pa.Array] | None:
    """All of these together; None if a column would have two values."""
    found: dict[str, pa.Array] = {}
    for pair in pairs:
        if pair is None or any(not found.get(c, v).equals(v) for c, v in pair.items()):
            return None
        found |= pair
    return found


@dataclass(frozen=True)
class TableFailed:
    """The plugin could not read a table (or we not its rows); the other tables go on."""

    table: str
    error: str


@dataclass(frozen=True)
class Saved:
    """A checkpoint: state, key → value, that holds once every message before it is safe."""

    cursor: Mapping[str, str]


Message = Migrate | Inserted | Deleted | TableFailed | Saved


@dataclass(frozen=True)
class MigrateTable:
    """The table as it shall be at the destination. `force`: it may be dropped for that."""

    table: Table
    force: bool = False


@dataclass(frozen=True)
class Insert:
    """Rows for a table; the batch has its columns, in its order."""

    table: Table
    batch: pa.RecordBatch


@dataclass(frozen=True)
class DeleteStale:
    """Rows of a source older than a run are to go."""

    table: str
    source: str
    sync_time: datetime


@dataclass(frozen=True)
class DeleteRecord:
    """Rows for which every group of `where` holds are to go, and their children."""

    table: str
    where: tuple[Group, ...] = ()
    relations: tuple[Relation, ...] = ()


@dataclass(frozen=True)
class Flush:
    """Everything before this is to be safe; the answer repeats the id (from 1)."""

    id: int


WriteMessage = MigrateTable | Insert | DeleteStale | DeleteRecord | Flush


@dataclass(frozen=True)
class WriteAnswer:
    """What a destination says at the end of a write. `flush_id` 0: it reported no flush."""

    flush_id: int = 0
    flush_error: str = ""
    failed_tables: tuple[str, ...] = ()
