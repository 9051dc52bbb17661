"""A source whose clients misbehave, each in the way of its name: what a library of somebody else may do.

`fine` does not. `blocks` waits and looks at nothing; `grows` takes memory without an end; `killed` is ended by
the system; `threads` leaves one running. Each table has one client, and so a shard of its own.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from contracts.table import Table
    from worker.sources.base import Clients, Context, Event, Work

STEP_BYTES = 32 << 20


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    ways: tuple[str, ...] = ("fine",)


def open(spec: Mapping[str, Any], context: Context) -> HogSource:  # noqa: A001 the registry's name
    del context
    return HogSource(Options.model_validate(dict(spec)))


class HogSource:
    def __init__(self, options: Options) -> None:
        self._options = options
        self._held: list[bytearray] = []

    def tables(self) -> Sequence[Table]:
        import pyarrow as pa

        from contracts.table import Column, Table

        columns = (Column("k", pa.int64(), nullable=False, primary_key=True),)
        return [Table(way, columns) for way in self._options.ways]

    def clients(self, table: Table) -> Clients:
        from worker.sources.base import Clients

        return Clients(table.name, (f"{table.name} client",))

    def read(self, work: Work, cursors: Mapping[str, str]) -> Iterator[Event]:
        import pyarrow as pa

        from worker.sources.base import CellDone, Rows

        del cursors
        way, (client,) = work.top.name, work.clients
        yield Rows(way, client, pa.record_batch({"k": pa.array([1, 2], pa.int64())}))
        self._do(way)
        yield CellDone(way, client)

    def _do(self, way: str) -> None:
        match way:
            case "blocks":
                threading.Event().wait()
            case "grows":
                pause = threading.Event()
                while True:
                    self._held.append(bytearray(b"x" * STEP_BYTES))
                    pause.wait(0.01)
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "threads":
                threading.Thread(target=threading.Event().wait, name="left", daemon=True).start()
                raise RuntimeError("a source that was left in the middle is closed")

    def close(self) -> None:
        """Forgets its threads."""
