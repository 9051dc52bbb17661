"""Reading an object by ranges: its last bytes come with the first request, the rest when asked for.

A Parquet reader starts at the end of the file, so opening a part costs one request, and a small
part not one more.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO

TAIL = 64 << 10  # pyarrow's first read of a Parquet file takes so much from its end
READ_AHEAD = 1 << 20  # lines and small values are read in requests of this size

ReadRange = Callable[[int, int], memoryview]  # (start, end) → exactly those bytes


class RangeReader(io.RawIOBase):
    """A seekable file over `read_range`; `tail` holds the last bytes of the object's `size`."""

    def __init__(self, size: int, tail: memoryview, read_range: ReadRange) -> None:
        super().__init__()
        self._size = size
        self._tail = tail
        self._tail_at = size - len(tail)
        self._read_range = read_range
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"negative position: {start + offset}")
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # bytearray has no typing
        want = memoryview(buffer).cast("B")
        end = min(self._at + len(want), self._size)
        count = end - self._at
        if count <= 0:
            return 0
        if self._at >= self._tail_at:
            start = self._at - self._tail_at
            want[:count] = self._tail[start : start + count]
        else:
            want[:count] = self._read_range(self._at, end)
        self._at = end
        return count


def buffered(size: int, tail: memoryview, read_range: ReadRange) -> BinaryIO:
    return io.BufferedReader(RangeReader(size, tail, read_range), READ_AHEAD)
