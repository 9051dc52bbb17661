"""The CSV dialect of the stage: a header, every non-null value quoted, an unquoted empty field is null.

So an empty string and a null differ, and a comma, quote or line break inside a value needs no
second kind of escape. Lines end in LF; quotes are doubled; text is UTF-8 (`stagefile.text`).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import pyarrow as pa

from contracts.errors import Permanent
from contracts.stagefile.text import from_text, has_calendar_text, is_ticking, to_text

BLOCK_BYTES = 1 << 20


def encode(batch: pa.RecordBatch, *, header: bool) -> pa.Buffer:
    """A batch as lines, the names before them if `header`."""
    import pyarrow.csv

    texts = pa.RecordBatch.from_arrays(
        [to_text(column) for column in batch.columns], names=batch.schema.names
    )
    sink = pa.BufferOutputStream()
    options = pyarrow.csv.WriteOptions(include_header=header, quoting_style="all_valid")
    pyarrow.csv.write_csv(texts, sink, options)
    return sink.getvalue()


def encode_plain(batch: pa.RecordBatch, *, header: bool, delimiter: str = ",") -> pa.Buffer:
    """The lines of a destination: texts in quotes, numbers and times without, a null is an empty field."""
    import pyarrow.csv

    texts = pa.RecordBatch.from_arrays(
        [c if _prints(c) else to_text(c) for c in batch.columns], names=batch.schema.names
    )
    sink = pa.BufferOutputStream()
    options = pyarrow.csv.WriteOptions(
        include_header=header, quoting_style="needed", delimiter=delimiter
    )
    pyarrow.csv.write_csv(texts, sink, options)
    return sink.getvalue()


def _prints(column: pa.Array) -> bool:
    """Whether Arrow prints every value of the column as `to_text` does."""
    test, type_ = pa.types, column.type
    return bool(
        test.is_integer(type_)
        or test.is_boolean(type_)
        or test.is_float32(type_)
        or test.is_float64(type_)
        or test.is_decimal(type_)
        or test.is_string(type_)
        or (is_ticking(type_) and has_calendar_text(column))
    )


def decode(
    file: BinaryIO, schema: pa.Schema, *, where: str, checksum: str = ""
) -> Iterator[pa.RecordBatch]:
    """Batches of about a megabyte of text, whatever the length of one line.

    Raises Permanent if the header is not the schema's, a text is not of its type, or the bytes are not those
    of `checksum` (`crc32:` and eight digits, known only at the end).
    """
    first = True
    crc = 0
    for block in _whole_rows(file):
        crc = zlib.crc32(block, crc)
        try:
            yield from _parse(block, schema, header=first)
        except (ValueError, pa.ArrowException) as error:
            raise Permanent(f"{where} is not a CSV part of this table: {error}") from error
        first = False
    if checksum and f"crc32:{crc:08x}" != checksum:
        raise Permanent(f"{where} is damaged: its checksum is crc32:{crc:08x}, not {checksum}")


def _parse(block: bytes, schema: pa.Schema, *, header: bool) -> Iterable[pa.RecordBatch]:
    import pyarrow.csv

    names = schema.names
    table = pyarrow.csv.read_csv(
        pa.BufferReader(block),
        # One block: the rows were counted out already, and a second cut could fall into a value.
        pyarrow.csv.ReadOptions(
            use_threads=False,
            block_size=len(block) + 1,
            column_names=None if header else names,
        ),
        pyarrow.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    if table.column_names != names:
        raise ValueError(f"its columns are {table.column_names}, not {names}")
    for texts in table.to_batches():
        columns = [from_text(c, f.type) for c, f in zip(texts.columns, schema, strict=True)]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _whole_rows(file: BinaryIO) -> Iterator[bytes]:
    """The file in pieces that end at the end of a row: after a line break outside of quotes."""
    kept, wanted = b"", BLOCK_BYTES
    while data := file.read(wanted):
        kept += data
        end = _last_row_end(kept)
        if not end:
            wanted = len(kept)  # one long value: look again when there is twice as much
            continue
        yield kept[:end]
        kept, wanted = kept[end:], BLOCK_BYTES
    if kept:
        yield kept


def _last_row_end(data: bytes) -> int:
    """Index after the last line break with an even number of quotes before it; 0 if there is none."""
    quotes = data.count(b'"')
    end = len(data)
    while (at := data.rfind(b"\n", 0, end)) >= 0:
        quotes -= data.count(b'"', at, end)
        if quotes % 2 == 0:
            return at + 1
        end = at
    return 0
