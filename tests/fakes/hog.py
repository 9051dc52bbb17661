"""A source whose clients misbehave, each in the way of its name: what a library of somebody else may do.

`fine` does not, and none does where they are `calm`. `blocks` waits and looks at nothing; `killed` is ended by the system;
`threads` leaves one running. The others take more memory than there is: `grows` slowly and without an end, `batch` as a
single batch of rows, `thread` in a thread of its own, `native` outside of Python, `held` there too and without
ever letting another thread run meanwhile. Each table has one client, and so a shard of its own.
"""

from __future__ import annotations

import ctypes
import mmap
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
MUCH_BYTES = 640 << 20  # more than any test allows


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    ways: tuple[str, ...] = ("fine",)
    calm: bool = False
    text: str = "new"  # in the first row


def open(spec: Mapping[str, Any], context: Context) -> HogSource:  # noqa: A001 the registry's name
    del context
    return HogSource(Options.model_validate(dict(spec)))


class HogSource:
    def __init__(self, options: Options) -> None:
        self._options = options
        self._held: list[Any] = []

    def tables(self) -> Sequence[Table]:
        import pyarrow as pa

        from contracts.table import Column, Table

        columns = (
            Column("k", pa.int64(), nullable=False, primary_key=True),
            Column("v", pa.binary()),
        )
        return [Table(way, columns) for way in self._options.ways]

    def clients(self, table: Table) -> Clients:
        from worker.sources.base import Clients

        return Clients(table.name, (f"{table.name} client",))

    def read(self, work: Work, cursors: Mapping[str, str]) -> Iterator[Event]:
        from worker.sources.base import CellDone, Rows

        del cursors
        way, (client,) = work.top.name, work.clients
        yield Rows(way, client, _batch([1, 2], [self._options.text.encode(), None]))
        if self._options.calm:
            way = "fine"
        if way == "batch":
            size = 1 << 20
            count = MUCH_BYTES // size
            self._held.append(_batch(list(range(3, 3 + count)), [b"x" * size] * count))
            yield Rows(way, client, self._held[0])
        self._do(way)
        way = work.top.name
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
            case "batch":
                threading.Event().wait()
            case "thread":
                threading.Thread(target=self._do, args=("grows",), daemon=True).start()
                threading.Event().wait()
            case "native":
                import pyarrow as pa

                while True:
                    self._held.append(pa.allocate_buffer(STEP_BYTES))
                    ctypes.memset(self._held[-1].address, 1, STEP_BYTES)
            case "held":
                memory = mmap.mmap(-1, MUCH_BYTES)
                self._held.append(memory)
                place = ctypes.addressof(ctypes.c_char.from_buffer(memory))
                ctypes.PyDLL(None).memset(ctypes.c_void_p(place), 1, ctypes.c_size_t(MUCH_BYTES))
                threading.Event().wait()
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "threads":
                threading.Thread(target=threading.Event().wait, name="left", daemon=True).start()
                raise RuntimeError("a source that was left in the middle is closed")

    def close(self) -> None:
        """Forgets its threads."""


def _batch(keys: list[int], values: list[bytes | None]) -> Any:
    import pyarrow as pa

    return pa.record_batch({"k": pa.array(keys, pa.int64()), "v": pa.array(values, pa.binary())})
