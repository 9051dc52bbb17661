"""Work on the values of one column: text, JSON and binary, whatever layout Arrow has them in.

Python sees each distinct value of a batch once: columns repeat themselves, and a hash or a parsed JSON
value is the dear part.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Literal

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from contracts import types
from loader.transformers import paths
from loader.transformers.paths import Json

Family = Literal["text", "json", "binary", ""]
OnArray = Callable[[pa.Array], pa.Array]

MARKER = "Redacted by CloudQuery"  # what queries written for CloudQuery look for
JSON_KEY = "redacted_by_cloudquery"


def family(type_: pa.DataType) -> Family:
    """What can be hidden or respelt in place; empty for everything else."""
    test = pa.types
    if types.extension_of(type_) == "json":
        return "json"
    if test.is_dictionary(type_):
        return "text" if family(type_.value_type) == "text" else ""
    if test.is_string(type_) or test.is_large_string(type_) or test.is_string_view(type_):
        return "text"
    if test.is_binary(type_) or test.is_large_binary(type_) or test.is_binary_view(type_):
        return "binary"
    return ""


def on_storage(array: pa.Array, f: OnArray) -> pa.Array:
    """Apply `f`, which knows plain strings (or plain binary) only, to a column of any `family`."""
    type_ = array.type
    if isinstance(type_, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(type_, on_storage(array.storage, f))
    if pa.types.is_dictionary(type_):
        values = on_storage(array.dictionary, f)
        return pa.DictionaryArray.from_arrays(array.indices, values, ordered=type_.ordered)
    plain = pa.binary() if family(type_) == "binary" else pa.string()
    return f(array) if type_ == plain else f(array.cast(plain)).cast(type_)


def on_distinct(array: pa.Array, f: Callable[[list[bytes]], pa.Array]) -> pa.Array:
    """`f` turns the distinct values of a string or binary column into as many new ones; null stays null."""
    encoded = array.dictionary_encode()
    found: list[bytes] = encoded.dictionary.cast(pa.binary()).to_pylist()
    return f(found).take(encoded.indices)


def redacted(array: pa.Array, *, hashed: bool) -> pa.Array:
    """Every value replaced by the marker, with the SHA-256 of the value behind it if `hashed`."""
    if family(array.type) == "json":
        return on_storage(array, lambda a: on_distinct(a, lambda v: _json_markers(v, hashed)))
    return on_storage(array, lambda a: _redacted_plain(a, hashed=hashed))


def _redacted_plain(array: pa.Array, *, hashed: bool) -> pa.Array:
    if not hashed:
        mark = pa.scalar(MARKER, pa.string()).cast(array.type)
        return pc.if_else(array.is_valid(), mark, pa.scalar(None, array.type))
    # Unlike JSON, this costs less per value than finding the distinct ones of a column without repeats,
    # but a column with repeats is the rule.
    return on_distinct(
        array, lambda v: pa.array([marker(one, hashed=True) for one in v], array.type)
    )


def marker(value: bytes, *, hashed: bool) -> str:
    return f"{MARKER} | {sha256(value).hexdigest()}" if hashed else MARKER


def json_marker(value: bytes, *, hashed: bool) -> str:
    """What stands in place of a whole JSON value: a JSON value too."""
    text = sha256(value).hexdigest() if hashed else MARKER
    return f'{{"{JSON_KEY}":"{text}"}}'


def _json_markers(values: list[bytes], hashed: bool) -> pa.Array:
    return pa.array([json_marker(v, hashed=hashed) for v in values], pa.string())


def on_json(
    array: pa.Array, change: Callable[[Json], Json], broken: Callable[[bytes], str | None]
) -> pa.Array:
    """Each JSON value parsed and changed; `broken` says what becomes of a text that is no JSON."""

    def one(raw: bytes) -> str | None:
        try:
            value = paths.loads(raw)
        except orjson.JSONDecodeError:
            return broken(raw)
        return paths.dumps(change(value))

    return on_storage(
        array, lambda a: on_distinct(a, lambda v: pa.array([one(raw) for raw in v], pa.string()))
    )
