"""Text files as blocks of whole lines: bounded memory, and byte ranges in which no line is lost or doubled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from contracts.errors import Permanent
from worker.sources.file.options import compression_of

_LONGEST = 256 << 20  # a line longer than this is taken for a file without line breaks


class _Lent:
    """A file that Arrow may read but not close: its streams close what they read when they end."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def close(self) -> None:
        """Whoever opened the file closes it."""


def decompressed(path: str, file: BinaryIO) -> Any:
    """The file, or what is in it if its suffix says that it is compressed."""
    import pyarrow as pa

    compression = compression_of(path)
    if not compression:
        return file
    return pa.CompressedInputStream(pa.PythonFile(_Lent(file), "r"), compression)


def beginning(path: str, file: BinaryIO, size: int) -> bytes:
    """The first `size` bytes of the text, fewer only if there are no more."""
    stream = decompressed(path, file)
    data = b""
    while len(data) < size and (more := stream.read(size - len(data))):
        data += more
    return data


def sample(path: str, file: BinaryIO, size: int) -> tuple[bytes, bool]:
    """(the first bytes, whole lines only, whether they are the whole file)."""
    data = beginning(path, file, size + 1)
    if len(data) <= size:
        return data, True
    cut = data.rfind(b"\n", 0, size)
    if cut < 0:
        raise Permanent(f"{path}: the first line is longer than {size} bytes", "raise sample_bytes")
    return data[: cut + 1], False


def blocks(
    path: str, stream: Any, target_bytes: int, start: int = 0, stop: int | None = None
) -> Iterator[bytes]:
    """Whole lines that begin in [start, stop), in blocks of about `target_bytes`.

    A range that does not begin at 0 skips to the line after its first byte's predecessor, and the
    last line is read to its end: neighbouring ranges share nothing and leave nothing out.
    """
    at = start
    rest = b""
    if start:
        stream.seek(start - 1)
        at = start - 1
        while True:  # the line that covers the byte before `start` belongs to the range before
            data = stream.read(1 << 16)
            if not data:
                return
            if (end := data.find(b"\n")) >= 0:
                at += end + 1
                rest = data[end + 1 :]
                break
            at += len(data)
    while stop is None or at < stop:
        # `at` is where the first line of `rest` begins.
        data = stream.read(target_bytes)
        held = rest + data
        if not data:
            if held:
                yield held if stop is None else _until(held, stop - at)
            return
        if stop is not None and at + len(held) >= stop and (whole := _closed(held, stop - at)):
            yield whole
            return
        cut = held.rfind(b"\n") + 1
        if not cut and len(held) > _LONGEST:
            raise Permanent(f"{path}: a line is longer than {_LONGEST >> 20} MiB")
        if cut:
            yield held[:cut]
        at += cut
        rest = held[cut:]


def _closed(held: bytes, stop: int) -> bytes:
    """The lines that begin before `stop`, if the last of them ends within `held`; else nothing."""
    end = held.find(b"\n", max(stop - 1, 0))
    return held[: end + 1] if end >= 0 else b""


def _until(held: bytes, stop: int) -> bytes:
    """At the end of the file: the lines that begin before `stop`; the last may have no line break."""
    return _closed(held, stop) or held


def ranges(size: int, n: int) -> list[dict[str, Any]]:
    """N byte ranges of a file; the last is open."""
    edges = [size * i // n for i in range(n)]
    return [
        {"by": "bytes", "from": a, "to": b, "size": size}
        for a, b in zip(edges, [*edges[1:], None], strict=True)
    ]
