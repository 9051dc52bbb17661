"""JSON lines: flat columns by Arrow's parser, nested or mixed ones as JSON text, number for number.

A string stays a string: JSON has no dates, so only `columns` makes one of it.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO, Self

import orjson
import pyarrow as pa

from contracts import types
from contracts.errors import SchemaChanged
from worker.sources.file import lines
from worker.sources.file.base import Batches, Request
from worker.sources.file.options import Csv, compression_of

# orjson turns integers above 64 bits and digits above 17 into the nearest float.
_MANY_DIGITS = re.compile(rb"\d[\d.]{15}")
# Parsed documents take about twenty times their text, so blocks are smaller than batches may be.
_MAX_BLOCK = 2 << 20
_INT64 = range(-(1 << 63), 1 << 63)


def infer(path: str, file: BinaryIO, sample_bytes: int, csv: Csv) -> pa.Schema:
    del csv
    data, _ = lines.sample(path, file, sample_bytes)
    kinds: dict[str, set[str]] = {}
    for document in _documents(path, data):
        for name, value in document.items():
            kinds.setdefault(name, set()).add(_kind(value))
    return pa.schema([pa.field(n, _type(k - {"null"})) for n, k in kinds.items()])


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "bool"
        case int():
            return "int" if value in _INT64 else "big"
        case float():
            return "float"
        case str():
            return "str"
        case _:
            return "nested"


def _type(kinds: set[str]) -> pa.DataType:
    """The narrowest type that holds all values seen; JSON for what is nested, mixed or too long."""
    if not kinds:
        return pa.null()
    if len(kinds) == 1:
        (kind,) = kinds
        known = {"bool": pa.bool_(), "int": pa.int64(), "float": pa.float64(), "str": pa.string()}
        return known.get(kind, types.JSON)
    return pa.float64() if kinds == {"int", "float"} else types.JSON


def read(request: Request) -> Batches:
    bounds = request.bounds or {"from": 0, "to": None}
    stream = lines.decompressed(request.path, request.file)
    flat = pa.schema([f for f in request.schema if f.type != types.JSON])
    for block in lines.blocks(
        request.path, stream, min(request.batch_bytes, _MAX_BLOCK), bounds["from"], bounds["to"]
    ):
        if block.strip():
            yield _batch(block, flat, request)


def _batch(block: bytes, flat: pa.Schema, request: Request) -> pa.RecordBatch:
    """One block of lines. Raises SchemaChanged for a field that was not planned and a value that does not fit."""
    known = set(request.schema.names)
    nested = [n for n in request.schema.names if n not in flat.names]
    found: dict[str, pa.Array] = {}
    if nested or not request.ignore_extra:
        documents = list(_documents(request.path, block))
        if not request.ignore_extra:
            _no_more_than(known, documents)
        for name in nested:
            texts = [_text(d.get(name)) for d in documents]
            found[name] = pa.array(texts, pa.string())
    if len(flat):
        table = _parse(block, pa.schema([pa.field(f.name, _wire(f.type)) for f in flat]))
        found |= {n: table.column(n).combine_chunks() for n in flat.names}
    return pa.RecordBatch.from_pydict({n: found[n] for n in request.schema.names})


def _parse(block: bytes, schema: pa.Schema) -> pa.Table:
    from pyarrow import json as arrow

    try:
        return arrow.read_json(
            io.BytesIO(block),
            read_options=arrow.ReadOptions(use_threads=False, block_size=len(block) + 1),
            parse_options=arrow.ParseOptions(
                explicit_schema=schema, unexpected_field_behavior="ignore"
            ),
        )
    except pa.ArrowInvalid as error:
        name = _culprit(block, schema, arrow, str(error))
        raise SchemaChanged(f"column {name}: {error}" if name else str(error)) from error


def _culprit(block: bytes, schema: pa.Schema, arrow: Any, message: str) -> str:
    """The column that an error is about: the message names some, else each is tried alone."""
    if named := re.search(r"Column\(/([^/)]+)", message):
        return named[1]
    for field in schema:
        alone = arrow.ParseOptions(
            explicit_schema=pa.schema([field]), unexpected_field_behavior="ignore"
        )
        options = arrow.ReadOptions(use_threads=False, block_size=len(block) + 1)
        try:
            arrow.read_json(io.BytesIO(block), read_options=options, parse_options=alone)
        except pa.ArrowInvalid:
            return str(field.name)
    return ""


def _wire(type_: pa.DataType) -> pa.DataType:
    """The type that Arrow's parser can produce; others are read as text and cast afterwards."""
    if (
        isinstance(type_, pa.BaseExtensionType)
        or pa.types.is_date(type_)
        or pa.types.is_time(type_)
    ):
        return pa.string()
    return pa.string() if pa.types.is_timestamp(type_) and type_.tz else type_


def _documents(path: str, block: bytes) -> Iterable[Mapping[str, Any]]:
    loads: Callable[[bytes], Any] = _exact if _MANY_DIGITS.search(block) else orjson.loads
    for line in block.split(b"\n"):
        if not line or line.isspace():
            continue
        try:
            document = loads(line)
        except ValueError as error:
            raise SchemaChanged(f"a line that is not JSON: {error}: {_shown(line)}") from error
        if not isinstance(document, dict):
            raise SchemaChanged(f"{path}: a line that is not a JSON object: {_shown(line)}")
        yield document


def _shown(line: bytes) -> str:
    return line[:60].decode("utf-8", "replace") + ("…" if len(line) > 60 else "")


def _exact(line: bytes) -> Any:
    """Numbers keep their digits: as integers of any length, and as the text of a fraction."""
    return json.loads(line, parse_float=_Digits, parse_constant=_refuse)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


class _Digits(float):
    """A float that remembers how it was written."""

    text: str

    def __new__(cls, text: str) -> Self:
        number = super().__new__(cls, text)
        number.text = text
        return number


def _text(value: Any) -> str | None:
    """JSON text of a value; null stays null."""
    if value is None:
        return None
    return orjson.dumps(
        _fragments(value), option=orjson.OPT_PASSTHROUGH_SUBCLASS, default=_digits
    ).decode()


def _digits(value: Any) -> Any:
    if isinstance(value, _Digits):
        return orjson.Fragment(value.text)
    raise TypeError(f"not from JSON: {type(value).__name__}")


def _fragments(value: Any) -> Any:
    """Integers above 64 bits as text that orjson copies."""
    match value:
        case dict():
            return {k: _fragments(v) for k, v in value.items()}
        case list():
            return [_fragments(v) for v in value]
        case int() if value not in _INT64:
            return orjson.Fragment(str(value))
        case _:
            return value


def _no_more_than(known: set[str], documents: Iterable[Mapping[str, Any]]) -> None:
    for document in documents:
        if not document.keys() <= known:
            name = min(document.keys() - known)
            raise SchemaChanged(f"the column {name} was not planned")


def cuts(path: str, file: BinaryIO, size: int, n: int, csv: Csv) -> list[dict[str, Any]]:
    """Byte ranges: inside a JSON value a line break is always escaped."""
    del file, csv
    return [] if compression_of(path) else lines.ranges(size, n)
