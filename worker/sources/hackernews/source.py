"""One incremental table: items by id, from where the last run ended or from `start_time` on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from contracts.errors import NotFound, Permanent, SharderError
from contracts.specfile import times
from contracts.table import Column, Table
from contracts.types import TIMESTAMP
from worker.sources.base import Cancelled, CellDone, Checkpoint, Clients, Context, Event, Rows, Work
from worker.sources.hackernews.api import CLIENT, Api
from worker.sources.hackernews.options import Options

STATE_KEY = "hackernews_items"  # as CloudQuery's plugin names it; the value is the last id read
CHUNK = 1000  # ids per batch and checkpoint

ITEMS = Table(
    name="hackernews_items",
    columns=(
        Column("id", pa.int64(), nullable=False, primary_key=True, incremental_key=True),
        Column("deleted", pa.bool_()),
        Column("type", pa.string()),
        Column("by", pa.string()),
        Column("time", TIMESTAMP),
        Column("text", pa.string()),
        Column("dead", pa.bool_()),
        Column("parent", pa.int64()),
        Column("kids", pa.list_(pa.int64())),
        Column("url", pa.string()),
        Column("score", pa.int64()),
        Column("title", pa.string()),
        Column("parts", pa.list_(pa.int64())),
        Column("descendants", pa.int64()),
    ),
    incremental=True,
    title="Hacker News items",
    description="Stories, comments, jobs, polls and poll options",
)
# Items as the API has them: seconds since the epoch. Keys that are not here are left out.
_RAW = pa.struct(
    [
        pa.field(c.name, pa.timestamp("s", "UTC") if c.name == "time" else c.type)
        for c in ITEMS.columns
    ]
)


class HackerNews:
    """A Source. Items are fetched by `item_concurrency` threads, in order of id."""

    def __init__(self, options: Options, context: Context) -> None:
        self._options = options
        self._context = context
        self._api = Api(options.base_url, context)
        self._threads = ThreadPoolExecutor(
            options.item_concurrency, thread_name_prefix=f"{context.name} items"
        )

    def tables(self) -> Sequence[Table]:
        return (ITEMS,)

    def clients(self, table: Table) -> Clients:
        del table
        return Clients(list=CLIENT, ids=(CLIENT,))

    def read(self, work: Work, cursors: Mapping[str, str]) -> Iterator[Event]:
        for client in work.clients:
            if client != CLIENT:
                yield failed(client, NotFound(f"hackernews has no client '{client}'"))
                continue
            try:
                yield from self._items(cursors.get(STATE_KEY, ""))
            except Cancelled:
                return
            except SharderError as error:
                yield failed(client, error)

    def test(self) -> str:
        return f"newest item {self._api.max_item():,}"

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._api.close()

    def _items(self, state: str) -> Iterator[Event]:
        last = self._api.max_item()
        first = self.first_since_start(last_read(state) + 1, last)
        for ids, items in self._fetched(range(first, last + 1)):
            if found := [item for item in items if item is not None]:
                yield Rows(ITEMS.name, CLIENT, to_batch(found))
            yield Checkpoint(ITEMS.name, CLIENT, {STATE_KEY: str(ids[-1])})
        yield CellDone(ITEMS.name, CLIENT)

    def _fetched(self, ids: range) -> Iterator[tuple[range, list[dict[str, Any] | None]]]:
        """Items by chunks of ids; the next chunk is on its way while one is worked on."""
        ahead: list[tuple[range, list[Future[dict[str, Any] | None]]]] = []
        try:
            for start in range(0, len(ids), CHUNK):
                chunk = ids[start : start + CHUNK]
                ahead.append((chunk, [self._threads.submit(self._api.item, n) for n in chunk]))
                if len(ahead) > 1:
                    done, futures = ahead.pop(0)
                    yield done, [f.result() for f in futures]
            for done, futures in ahead:
                yield done, [f.result() for f in futures]
        finally:
            for _, futures in ahead:
                for future in futures:
                    future.cancel()

    def first_since_start(self, first: int, last: int) -> int:
        """The first id from `first` on that is not older than `start_time`; `last` + 1 if there is none.

        By bisection, since ids grow with time; what an earlier run has read is not asked again.
        """
        start = times.parse(self._options.start_time, self._context.now()).timestamp()
        low, high = first, last + 1
        while low < high:
            middle = (low + high) // 2
            known, when = self._next_known(middle, high)
            if when is None or when >= start:
                high = middle
            else:
                low = known + 1
        return low

    def _next_known(self, number: int, end: int) -> tuple[int, float | None]:
        """The first item at or behind `number` that has a time; (end, None) if there is none."""
        for n in range(number, end):
            item = self._api.item(n)
            if item and item.get("time") is not None:
                return n, float(item["time"])
        return end, None


def last_read(state: str) -> int:
    """Raises Permanent for a state that is not an id."""
    if not state:
        return 0
    if not state.isdecimal():
        raise Permanent(
            f"the state '{STATE_KEY}' is not an item's id: {state!r:.40}",
            "correct or remove its row in the state table, or run with --full-refresh",
        )
    return int(state)


def to_batch(items: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
    """One struct array for a whole page: the fastest way from dicts to Arrow. Raises Permanent."""
    try:
        raw = pa.RecordBatch.from_struct_array(pa.array(items, _RAW))
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        first, last = items[0].get("id"), items[-1].get("id")
        raise Permanent(f"an item between {first} and {last} has another form: {error}") from error
    return raw.cast(ITEMS.schema)


def failed(client: str, error: SharderError) -> CellDone:
    return CellDone(ITEMS.name, client, "failed", error.reason, str(error))
