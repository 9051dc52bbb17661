"""Everything that a source yields for some work, sorted by kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from worker.sources.base import CellDone, Checkpoint, Rows, Source, Work


@dataclass
class Drained:
    rows: list[Rows] = field(default_factory=list)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    done: list[CellDone] = field(default_factory=list)

    def table(self, name: str) -> pa.Table:
        return pa.concat_tables(
            [pa.Table.from_batches([r.batch]) for r in self.rows if r.table == name],
            promote_options="default",
        )


def drain(source: Source, work: Work, cursors: Mapping[str, str] | None = None) -> Drained:
    found = Drained()
    for event in source.read(work, cursors or {}):
        match event:
            case Rows():
                found.rows.append(event)
            case Checkpoint():
                found.checkpoints.append(event)
            case CellDone():
                found.done.append(event)
    return found
