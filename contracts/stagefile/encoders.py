"""Encoders: Arrow batches → bytes of one Parquet, CSV or JSON object, written while they are made.

One write path for the parts of the stage and for the files of a destination: what differs between
them is a dialect, which is data. Batches come in the types that the dialect's owner chose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from contracts.stagefile.sink import Sink

if TYPE_CHECKING:
    import pyarrow.parquet as pq

# Of these first rows at most one in eight may be distinct: only then a dictionary saves time and bytes
# (zstd 1 without dictionaries: as fast as snappy with them, 45 % fewer bytes on mostly unique text).
_SAMPLE_ROWS = 4096
_DISTINCT = 8
_MANY_CHUNKS = 64  # beyond it one copy is cheaper than the writer's step from chunk to chunk


class Encoder(Protocol):
    """Writes one object. Batches have the table's schema; nothing appears at the end before `close`."""

    def write(self, batches: Sequence[pa.RecordBatch]) -> None: ...
    def close(self) -> None: ...


MakeEncoder = Callable[[Sink, pa.Schema], Encoder]


@dataclass(frozen=True)
class ParquetDialect:
    """`group_rows`: the most rows of one row group; 0: one row group per write."""

    codec: str = "zstd"
    level: int | None = 1
    version: Literal["1.0", "2.4", "2.6"] = "2.6"
    checksums: bool = True
    group_rows: int = 0


@dataclass(frozen=True)
class CsvDialect:
    """`exact`: the stage's, where every non-null value is quoted and has the exact text of its type."""

    header: bool = True
    delimiter: str = ","
    exact: bool = True


class ParquetEncoder:
    """One row group per write, unless the dialect wants smaller ones."""

    def __init__(
        self, sink: Sink, schema: pa.Schema, dialect: ParquetDialect = ParquetDialect()
    ) -> None:
        from contracts.stagefile import parquet

        self._sink = sink
        self._frozen = schema
        self._dialect = dialect
        self._schema = parquet.physical(schema)
        self._writer: pq.ParquetWriter | None = None

    def write(self, batches: Sequence[pa.RecordBatch]) -> None:
        from contracts.stagefile import parquet

        table = pa.Table.from_batches(batches, self._frozen)
        if len(batches) > _MANY_CHUNKS:
            table = table.combine_chunks()
        table = parquet.encode(table, self._schema)
        writer = self._writer = self._writer or self._open(table)
        rows = max(1, table.num_rows)
        writer.write_table(table, row_group_size=min(rows, self._dialect.group_rows or rows))

    def _open(self, first: pa.Table) -> pq.ParquetWriter:
        import pyarrow.parquet as pq

        return pq.ParquetWriter(
            pa.PythonFile(self._sink, mode="w"),
            self._schema,
            version=self._dialect.version,
            compression=self._dialect.codec,
            compression_level=self._dialect.level,
            use_dictionary=repetitive(first),
            write_page_checksum=self._dialect.checksums,
        )

    def close(self) -> None:
        if self._writer:
            self._writer.close()


class CsvEncoder:
    """Lines, the names first where the dialect has them."""

    def __init__(self, sink: Sink, schema: pa.Schema, dialect: CsvDialect = CsvDialect()) -> None:
        from contracts.stagefile import quoted

        self._sink = sink
        self._schema = schema
        self._header = dialect.header
        self._encode = quoted.encode if dialect.exact else partial(
            quoted.encode_plain, delimiter=dialect.delimiter
        )  # fmt: skip

    def write(self, batches: Sequence[pa.RecordBatch]) -> None:
        if len(batches) > _MANY_CHUNKS:
            batches = pa.Table.from_batches(batches, self._schema).combine_chunks().to_batches()
        for batch in batches:
            header = self._header and self._sink.size == 0
            self._sink.write(memoryview(self._encode(batch, header=header)))

    def close(self) -> None:
        """Nothing follows the last line."""


class JsonEncoder:
    """One object per line."""

    def __init__(self, sink: Sink, schema: pa.Schema) -> None:
        del schema  # every batch has its own names
        self._sink = sink

    def write(self, batches: Sequence[pa.RecordBatch]) -> None:
        from contracts.stagefile import lines

        for batch in batches:
            self._sink.write(lines.encode(batch))

    def close(self) -> None:
        """Nothing follows the last line."""


# The two formats of the stage: zstd level 1, a checksum on each page; every value quoted.
STAGE: Mapping[str, MakeEncoder] = {"parquet": ParquetEncoder, "csv": CsvEncoder}


def repetitive(table: pa.Table) -> list[str]:
    """Columns for which a dictionary pays, judged by the first rows."""
    head = table.slice(0, _SAMPLE_ROWS)
    return [
        name
        for name, column in zip(head.column_names, head.columns, strict=True)
        if _is_flat(column.type) and _distinct(column) * _DISTINCT <= max(_DISTINCT, head.num_rows)
    ]


def _is_flat(type_: pa.DataType) -> bool:
    test = pa.types
    return bool(
        test.is_string(type_)
        or test.is_large_string(type_)
        or test.is_binary(type_)
        or test.is_integer(type_)
        or test.is_timestamp(type_)
        or test.is_floating(type_)
    )


def _distinct(column: pa.ChunkedArray) -> int:
    return int(pc.count_distinct(column, mode="all").as_py())
