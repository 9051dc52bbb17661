"""A source and a store of somebody else, checked against our protocols by `make types`; nothing runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from pydantic import BaseModel

from contracts.errors import NotFound
from contracts.store import Entry, Store, Upload
from contracts.table import Column, Table
from worker.sources.base import (
    CellDone,
    Checkpoint,
    Clients,
    Context,
    Event,
    Grouper,
    Rows,
    Source,
    Splitter,
    Work,
)
from worker.sources.python.author import Chunk, Cursor, SimpleSource, table

ANSWERS = Table("answers", (Column("id", pa.int64(), nullable=False, primary_key=True),))


class Answers:
    """One table, one client, one row; it can be cut in two."""

    def tables(self) -> Sequence[Table]:
        return [ANSWERS]

    def clients(self, table: Table) -> Clients:
        return Clients(list="all", ids=("only",))

    def read(self, work: Work, cursors: Mapping[str, str]) -> Iterator[Event]:
        batch = pa.RecordBatch.from_pydict({"id": [42]}, schema=ANSWERS.schema)
        for client in work.clients:
            yield Rows("answers", client, batch)
            yield Checkpoint("answers", client, {"answers": "42"})
            yield CellDone("answers", client)

    def split(self, table: Table, client: str, n: int) -> Sequence[Mapping[str, Any]]:
        return [{"odd": True}, {"odd": False}]

    def groups(self, trees: Sequence[tuple[Table, ...]]) -> Sequence[Sequence[str]]:
        return [[tree[0].name for tree in trees]]

    def close(self) -> None: ...


def open(spec: Mapping[str, Any], context: Context) -> Source:  # noqa: A001  # the name of every factory
    return Answers()


splitter: Splitter = Answers()


class Questions(BaseModel):
    questions: list[str]


class Simple(SimpleSource[Questions]):
    """The same with the base class for authors."""

    Options = Questions
    declares = (table("answers", {"id": "int64"}, key="id"),)

    def client_ids(self, table: str) -> Sequence[str]:
        return self.options.questions

    def rows(self, table: str, client: str, cursor: str) -> Iterator[Chunk]:
        yield [{"id": 42}]
        yield Cursor("42")


def simple(spec: Mapping[str, Any], context: Context) -> Source:
    return Simple(spec, context)


grouper: Grouper = Answers()


class Kept:
    """A store in memory."""

    url = "kept:"

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}

    def get(self, key: str) -> bytes:
        if key not in self._objects:
            raise NotFound(f"no {key}")
        return self._objects[key]

    def put(self, key: str, data: bytes) -> None:
        self._objects[key] = data

    def create(self, key: str, data: bytes) -> bool:
        return self._objects.setdefault(key, data) is data

    def open_write(self, key: str) -> Upload:
        return Kept._Upload(self, key)

    def open_read(self, key: str) -> BinaryIO:
        return BytesIO(self.get(key))

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        for key in sorted(self._objects):
            if key.startswith(prefix) and key > after:
                yield Entry(key, len(self._objects[key]), 0.0)

    def folders(self, prefix: str) -> Sequence[str]:
        del prefix
        return []

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._objects.pop(key, None)

    def local_path(self, key: str) -> Path | None:
        return None

    def close(self) -> None: ...

    class _Upload:
        def __init__(self, store: Kept, key: str) -> None:
            self._store, self._key, self._data = store, key, b""

        def write(self, data: bytes | memoryview) -> int:
            self._data += bytes(data)
            return len(data)

        def close(self) -> None:
            self._store.put(self._key, self._data)

        def abort(self) -> None: ...


store: Store = Kept()
