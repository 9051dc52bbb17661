"""CSV through Arrow's streaming reader; text becomes values of the planned types, or the cell fails.

An unquoted null text is null, a quoted one is itself: `,"",` is the empty string.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import pyarrow as pa

from contracts.errors import Permanent, SchemaChanged
from worker.sources.file import lines
from worker.sources.file.base import Batches, Request
from worker.sources.file.options import Csv, compression_of

# Arrow's reader holds up to 32 blocks ahead of its consumer, so a block is a part of a batch's bytes
# (measured: blocks of 16 MiB put a file of 108 MB into memory whole).
_BLOCKS_PER_BATCH = 16
_HEAD = 1 << 20
_COLUMN = re.compile(r"In CSV column #(\d+): (.*)", re.DOTALL)


def infer(path: str, file: BinaryIO, sample_bytes: int, csv: Csv) -> pa.Schema:
    """Types of the first block. A number that text would not come back from (007, 20 digits) is text."""
    # From memory: Arrow's reader would go on reading the file behind our back.
    data = lines.beginning(path, file, 2 * sample_bytes)
    try:
        reader = _reader(pa.BufferReader(data), path, csv, sample_bytes, None, None)
        first = reader.read_next_batch()
    except StopIteration:
        return pa.schema([pa.field(n, pa.null()) for n in reader.schema.names])
    except pa.ArrowInvalid as error:
        if "Empty CSV file" in str(error):
            return pa.schema([])
        raise
    text = dict.fromkeys(first.schema.names, pa.string())
    texts = _reader(pa.BufferReader(data), path, csv, sample_bytes, None, text).read_next_batch()
    columns = zip(first.schema, first.columns, texts.columns, strict=True)
    return pa.schema([pa.field(f.name, _settled(f.type, a, t)) for f, a, t in columns])


def _settled(type_: pa.DataType, values: pa.Array, texts: pa.Array) -> pa.DataType:
    if pa.types.is_integer(type_):
        return type_ if values.cast(pa.string()).equals(texts) else pa.string()
    if pa.types.is_floating(type_):
        digits = (re.sub(r"[eE].*|\D", "", t).lstrip("0") for t in texts.to_pylist() if t)
        return type_ if all(len(d) <= 15 for d in digits) else pa.string()
    if pa.types.is_timestamp(type_):
        return pa.timestamp("us", tz="UTC" if type_.tz else None)
    return pa.time64("us") if pa.types.is_time(type_) else type_


def read(request: Request) -> Batches:
    csv, bounds = request.csv, request.bounds
    try:
        names = _header(request) if csv.header else request.schema.names
    except pa.ArrowInvalid as error:
        if "Empty CSV file" in str(error):
            return
        raise SchemaChanged(str(error)) from error
    request.file.seek(0)
    if bounds is None:
        stream = lines.decompressed(request.path, request.file)
        yield from _parsed(stream, request, names, headed=csv.header)
        return
    parts = lines.blocks(
        request.path, request.file, request.batch_bytes, bounds["from"], bounds["to"]
    )
    for n, part in enumerate(parts):
        headed = csv.header and n == 0 and bounds["from"] == 0
        yield from _parsed(pa.BufferReader(part), request, names, headed=headed)


def _header(request: Request) -> list[str]:
    """The column names in the first line."""
    data = lines.beginning(request.path, request.file, _HEAD)
    types = {f.name: pa.string() for f in request.schema}
    reader = _reader(pa.BufferReader(data), request.path, request.csv, _HEAD, None, types)
    return list(reader.schema.names)


def _parsed(stream: Any, request: Request, names: list[str], *, headed: bool) -> Batches:
    """Batches; what Arrow says about column #3 is said about the column's name."""
    types = {f.name: _wire(f.type) for f in request.schema}
    block = max(request.batch_bytes // _BLOCKS_PER_BATCH, 1 << 16)
    try:
        yield from _reader(
            stream, request.path, request.csv, block, None if headed else names, types
        )
    except pa.ArrowInvalid as error:
        if "straddling" in str(error):
            raise Permanent(
                f"a row of {request.path} is longer than a sixteenth of batch_bytes",
                "raise batch_bytes",
            ) from error
        found = _COLUMN.search(str(error))
        where = f"column {names[int(found[1])]}: {found[2]}" if found else str(error)
        raise SchemaChanged(where) from error


def _wire(type_: pa.DataType) -> pa.DataType:
    """The type that Arrow's parser can produce; what it cannot is read as text and cast afterwards."""
    if isinstance(type_, pa.BaseExtensionType) or pa.types.is_decimal256(type_):
        return pa.string()
    return type_


def _reader(
    stream: Any,
    path: str,
    csv: Csv,
    block: int,
    names: list[str] | None,
    types: dict[str, pa.DataType] | None,
) -> Any:
    from pyarrow import csv as arrow

    tab = PurePosixPath(path.lower().removesuffix(".gz")).suffix == ".tsv"
    return arrow.open_csv(
        stream,
        read_options=arrow.ReadOptions(
            use_threads=False,
            block_size=block,
            skip_rows=csv.skip_rows if names is None or not csv.header else 0,
            column_names=names,
            encoding=csv.encoding,
        ),
        parse_options=arrow.ParseOptions(
            delimiter=csv.delimiter or ("\t" if tab else ","),
            quote_char=csv.quote or False,
            double_quote=not csv.escape,
            escape_char=csv.escape or False,
            newlines_in_values=csv.newlines_in_values,
        ),
        convert_options=arrow.ConvertOptions(
            column_types=types,
            null_values=list(csv.null_values),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def cuts(path: str, file: BinaryIO, size: int, n: int, csv: Csv) -> list[dict[str, Any]]:
    """Byte ranges, but only if a line break always ends a row."""
    del file
    plain = csv.encoding.lower().replace("-", "") in ("utf8", "ascii", "latin1", "iso88591")
    if csv.newlines_in_values or compression_of(path) or csv.skip_rows or not plain:
        return []
    return lines.ranges(size, n)
