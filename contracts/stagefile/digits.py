"""Bytes of fixed width as hexadecimal text and back, a column at a time: uuid and mac.

One `bytes.hex` for the whole column and one strided slice per digit: no Python step per row.
"""

from __future__ import annotations

from array import array as c_array

import pyarrow as pa
import pyarrow.compute as pc

# Where a text has its punctuation; the other places are digits.
_FORMS = {"uuid": "00000000-0000-0000-0000-000000000000", "mac": "00:00:00:00:00:00"}


def hex_text(storage: pa.Array, name: str) -> pa.Array:
    """Values of `fixed_size_binary` → text in the form of `name`."""
    form, rows = _FORMS[name], len(storage)
    digits = fixed_bytes(storage).hex().encode()
    text = bytearray(form.encode() * rows)
    width = 2 * storage.type.byte_width
    places = [i for i, c in enumerate(form) if c == "0"]
    for digit, place in enumerate(places):
        text[place :: len(form)] = digits[digit::width]
    offsets = c_array("i", range(0, len(form) * rows + 1, len(form)))
    texts = pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(bytes(text)))
    return texts if not storage.null_count else pc.if_else(storage.is_valid(), texts, None)


def hex_value(text: pa.Array, name: str) -> pa.Array:
    """Inverse of `hex_text`. Raises ValueError for a text of another form."""
    form, rows = _FORMS[name], len(text)
    filled = text.fill_null(form) if text.null_count else text
    wrong = pc.not_equal(pc.binary_length(filled), len(form))
    if rows and pc.any(wrong).as_py():
        raise ValueError(f"not a {name}: {pc.filter(filled, wrong)[0].as_py()!r}")
    joined = b"".join(filled.cast(pa.binary()).to_pylist())
    places = [i for i, c in enumerate(form) if c == "0"]
    digits = bytearray(len(places) * rows)
    for digit, place in enumerate(places):
        digits[digit :: len(places)] = joined[place :: len(form)]
    type_ = pa.binary(len(places) // 2)
    data = pa.py_buffer(bytes.fromhex(digits.decode()))
    values = pa.FixedSizeBinaryArray.from_buffers(type_, rows, [None, data])
    return values if not text.null_count else pc.if_else(text.is_valid(), values, None)


def fixed_bytes(storage: pa.Array) -> bytes:
    """The bytes of a `fixed_size_binary` column, row after row; null rows hold anything."""
    width, data = storage.type.byte_width, storage.buffers()[1]
    start = storage.offset * width
    return (
        bytes(len(storage) * width)
        if data is None
        else bytes(memoryview(data)[start : start + len(storage) * width])
    )
