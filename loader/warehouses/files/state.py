"""CloudQuery's state table as a file: the cursors of incremental tables, one row per key.

Several loads end at once, in several processes, and a store has no transactions. So each load writes its
cursors into an object of its own, and the table's file is made from them: a file written by whoever came
last may lack a cursor for a moment, but reading takes both, and no cursor goes back.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from contracts.errors import NotFound, Permanent
from contracts.store import Store
from loader.warehouses.files.encodings import Encoding
from loader.warehouses.files.options import FilesOptions
from loader.warehouses.files.paths import OWN, segment
from loader.warehouses.files.roll import Limits, Roll

_SCHEMA = pa.schema([
    pa.field("key", pa.string()), pa.field("value", pa.string()), pa.field("version", pa.uint64()),
])  # fmt: skip


class Entry(NamedTuple):
    """`version` comes first: of two entries of a key the greater one is in force."""

    version: int
    value: str


Entries = dict[str, Entry]


@dataclass(frozen=True)
class State:
    """One state table. `key` is its file; `place` the directory of what Sharder itself keeps."""

    store: Store
    options: FilesOptions
    encoding: Encoding
    name: str
    key: str
    place: str

    def read(self) -> Entries:
        """Every cursor; empty if there is none."""
        found = self._file()
        for entry in self.store.list(self._own_prefix):
            _add(found, _own_entries(self.store.get(entry.key)))
        return found

    def write(self, source: str, top: str, cursors: Mapping[str, str]) -> None:
        """Set the cursors of one load. The version grows when a value changes; repeating changes nothing."""
        found = self.read()
        mine: Entries = {}
        for key, value in sorted(cursors.items()):
            version, current = found.get(key, (0, None))
            mine[key] = Entry(version if current == value else version + 1, value)
        own = f"{self._own_prefix}{segment(source)}/{segment(top)}.json"
        try:
            kept = dict(_own_entries(self.store.get(own)))
        except NotFound:
            kept = {}
        self.store.put(own, orjson.dumps({k: [*entry] for k, entry in (kept | mine).items()}))
        _add(found, mine.items())
        roll = Roll(self.store, self.encoding, _SCHEMA, lambda _: self.key)
        try:
            roll.write([_batch(found)], Limits())
            roll.close(empty=True)
        except BaseException:
            roll.abort()
            raise

    @property
    def _own_prefix(self) -> str:
        return f"{self.place}{OWN}/state/{segment(self.name)}/"

    def _file(self) -> Entries:
        try:
            data = self.store.get(self.key)
        except NotFound:
            return {}
        found: Entries = {}
        try:
            _add(found, ((str(k), Entry(int(n), str(v))) for k, v, n in self._rows(data)))
        except (ValueError, KeyError, TypeError, OSError, EOFError, pa.ArrowException) as error:
            raise Permanent(
                f"{self.store.url}/{self.key} is not the state table '{self.name}': {error}",
                "give the state another `table_name`, or move the file away to read everything again",
            ) from error
        return found

    def _rows(self, data: bytes) -> Iterator[tuple[Any, Any, Any]]:
        """(key, value, version) of the file's rows."""
        if self.options.compression:
            data = gzip.decompress(data)
        match self.options.format:
            case "parquet":
                import pyarrow.parquet as pq

                rows = pq.read_table(pa.BufferReader(data)).to_pylist()
                yield from ((r["key"], r["value"], r["version"]) for r in rows)
            case "json":
                for line in data.splitlines():
                    row = orjson.loads(line)
                    yield row["key"], row["value"], row["version"]
            case "csv":
                spec = self.options.dialect
                text = io.StringIO(data.decode(), newline="")
                names = _SCHEMA.names if spec.skip_header else None
                for row in csv.DictReader(text, names, delimiter=spec.delimiter):
                    yield row["key"], row["value"], row["version"]


def _batch(found: Entries) -> pa.RecordBatch:
    keys = sorted(found)
    columns = [keys, [found[k].value for k in keys], [found[k].version for k in keys]]
    arrays = [pa.array(c, f.type) for c, f in zip(columns, _SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA)


def _own_entries(data: bytes) -> Iterator[tuple[str, Entry]]:
    return ((key, Entry(*entry)) for key, entry in orjson.loads(data).items())


def _add(found: Entries, entries: Iterable[tuple[str, Entry]]) -> None:
    for key, entry in entries:
        found[key] = max(found.get(key, entry), entry)
