"""`_cq_id`: random, or the name-based uuid that CloudQuery derives from a row's key."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from contracts import types
from contracts.stagefile.text import to_text

NULL = "(null)"

# The bits of version and variant, set for a whole column at once by translating its bytes.
_VARIANT = bytes(b & 0x3F | 0x80 for b in range(256))
_VERSION_4 = bytes(b & 0x0F | 0x40 for b in range(256))
_VERSION_5 = bytes(b & 0x0F | 0x50 for b in range(256))
_NAMESPACE = bytes(16)


def random_ids(n: int) -> pa.Array:
    """As many uuids of version 4."""
    return _uuids(bytearray(os.urandom(16 * n)), _VERSION_4)


def deterministic_ids(batch: pa.RecordBatch, key: Sequence[str]) -> pa.Array:
    """A uuid of version 5 per row, from the names and values of the key columns.

    SHA-256 over each name (sorted) followed by its value as text; sixteen zero bytes and that digest
    go into the SHA-1 construction of name-based uuids. The same key gives the same id everywhere.
    """
    pieces: list[pa.Array | pa.Scalar] = []
    for name in sorted(key):
        pieces += [pa.scalar(name), key_text(batch.column(name))]
    names = pc.binary_join_element_wise(*pieces, "") if pieces else pa.nulls(batch.num_rows)
    sha256, start = hashlib.sha256, hashlib.sha1(_NAMESPACE, usedforsecurity=False)
    digests = bytearray()
    for row in names.cast(pa.binary()).to_pylist():
        # A copy that has the namespace in it costs a third of a new object.
        sha1 = start.copy()
        sha1.update(sha256(row).digest())
        digests += sha1.digest()
    # A digest has twenty bytes, a uuid the first sixteen of them.
    raw = bytearray(16 * batch.num_rows)
    for i in range(16):
        raw[i::16] = digests[i::20]
    return _uuids(raw, _VERSION_5)


def key_text(column: pa.Array) -> pa.Array:
    """Values as CloudQuery prints them: null as `(null)`, times to the second, floats without exponent."""
    type_ = column.type
    if pa.types.is_timestamp(type_):
        seconds = pc.floor_temporal(column.view(pa.timestamp(type_.unit)), unit="second")
        text = pc.strftime(seconds.cast(pa.timestamp("s")), format="%Y-%m-%dT%H:%M:%SZ")
    elif pa.types.is_floating(type_):
        text = pa.array([_plain(v) for v in column.cast(pa.string()).to_pylist()], pa.string())
    elif pa.types.is_binary(type_) or pa.types.is_large_binary(type_):
        text = pa.array([v if v is None else v.hex() for v in column.to_pylist()], pa.string())
    else:
        text = to_text(column)
    return text.cast(pa.string()).fill_null(NULL)


def _plain(number: str | None) -> str | None:
    """Arrow's shortest digits of a float, without exponent, as Go's `FormatFloat(v, 'f', -1)` has them."""
    special = {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}
    if number is None or number in special:
        return special.get(number or "")
    digits = format(Decimal(number), "f")
    return digits.removesuffix(".0")


def _uuids(raw: bytearray, version: bytes) -> pa.Array:
    raw[6::16] = raw[6::16].translate(version)
    raw[8::16] = raw[8::16].translate(_VARIANT)
    storage = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(16), len(raw) // 16, [None, pa.py_buffer(bytes(raw))]
    )
    return pa.ExtensionArray.from_storage(types.UUID, storage)
