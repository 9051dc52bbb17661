"""Many cells at once, as one stream of events with flat memory.

Each client is read by a thread of its own, which mostly waits; every request runs in one pool of
calls. The first thread reads with the shard's own place in flight, the others with one more each. Batches pass through a bounded queue: when nobody takes them, reading stops.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from queue import Empty, Full, Queue

from worker.sources.aws.calls import Caller, Place
from worker.sources.aws.cell import Reader, tree
from worker.sources.aws.locked import tables
from worker.sources.base import Cancelled, CellDone, Event, Flight, Work

_QUEUED = 8  # batches of about a page each that wait for the writer
_CLIENTS = 16  # cells read at once; the pool of calls is the real limit
_LOOK_S = 0.2  # how often a thread that waits for the queue looks whether it should stop

Resolve = Callable[[str], Place]


class _Stream:
    """The threads of one `read`, and the queue between them and the writer."""

    def __init__(self, cancelled: Callable[[], bool]) -> None:
        self._queue: Queue[Event | BaseException | None] = Queue(_QUEUED)
        self._stop = threading.Event()
        self._cancelled = cancelled

    def stopped(self) -> bool:
        return self._stop.is_set() or self._cancelled()

    def put(self, event: Event | BaseException | None) -> None:
        """Blocks while the queue is full. Raises Cancelled once nobody will take it any more."""
        while not self.stopped():
            try:
                self._queue.put(event, timeout=_LOOK_S)
                return
            except Full:
                continue
        raise Cancelled

    def events(self, threads: Sequence[threading.Thread]) -> Iterator[Event]:
        """What the threads put, until each has ended. A bug in one of them is raised here."""
        running = len(threads)
        while running:
            try:
                event = self._queue.get(timeout=_LOOK_S)
            except Empty:
                if self.stopped():
                    return
                continue
            if event is None:
                running -= 1
            elif isinstance(event, BaseException):
                raise event
            else:
                yield event

    def stop(self) -> None:
        self._stop.set()


def events(
    work: Work,
    resolve: Resolve,
    caller: Caller,
    *,
    threads: int,
    clients_in_flight: int,
    flight: Flight,
    cancelled: Callable[[], bool],
) -> Iterator[Event]:
    """Read all cells of a shard. Closing the iterator ends its threads."""
    stream = _Stream(cancelled)
    clients = deque(work.clients)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="aws-call")
    reader = Reader(tree(work, tables(), caller, pool), caller, pool, stream.stopped)

    def place(thread: int) -> AbstractContextManager[bool]:
        return (
            flight.another(lambda: not clients or stream.stopped()) if thread else nullcontext(True)
        )

    def run(thread: int) -> None:
        try:
            while clients:
                with place(thread) as given:
                    if given and (client := _first(clients)) is not None:
                        _read(reader, client, resolve, caller, work, stream)
            stream.put(None)
        except Cancelled:
            return
        except Exception as error:  # noqa: BLE001 a thread's top: the reader of the stream raises it
            stream.put(error)

    count = min(clients_in_flight or _CLIENTS, len(work.clients))
    cells = [
        threading.Thread(target=run, args=(n,), name=f"aws-cell-{n}", daemon=True)
        for n in range(count)
    ]
    try:
        for thread in cells:
            thread.start()
        yield from stream.events(cells)
    finally:
        stream.stop()
        pool.shutdown(wait=False, cancel_futures=True)
        for thread in cells:
            thread.join()
        pool.shutdown(wait=True)


def _first(clients: deque[str]) -> str | None:
    """The next client; None if another thread took the last one meanwhile."""
    try:
        return clients.popleft()
    except IndexError:
        return None


def _read(
    reader: Reader, client: str, resolve: Resolve, caller: Caller, work: Work, stream: _Stream
) -> None:
    """One client. One that cannot even be asked fails all its cells."""
    from worker.sources.aws.outcomes import CallErrors

    try:
        place = resolve(client)
    except CallErrors as error:
        ending = caller.failure(error, client)
        for table in sorted(work.selected):
            stream.put(CellDone(table, client, ending.outcome, ending.reason, ending.message))
        return
    reader.read(client, place, stream.put)
