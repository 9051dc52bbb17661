"""The Store protocol. Keys are relative, `/`-separated, made by `contracts.layout` only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from contracts.errors import Permanent


@dataclass(frozen=True)
class Entry:
    """One stored object; `modified_s` is seconds since the epoch by the store's clock."""

    key: str
    size: int
    modified_s: float


def check_key(key: str) -> str:
    """The key; Permanent if a segment of it is empty, `.` or `..`, which stores take for something else."""
    if any(segment in {"", ".", ".."} for segment in key.split("/")):
        raise Permanent(f"not a key: {key!r}")
    return key


class Upload(Protocol):
    """A streamed write. The object appears whole on `close`, and never after `abort`.

    Nothing is kept in memory beyond one upload buffer; an object smaller than it costs one request.
    """

    def write(self, data: bytes | memoryview) -> int: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


class Store(Protocol):
    """Objects by key. Errors: NotFound, Denied, Unreachable (transient); `url` names it in messages."""

    url: str

    def get(self, key: str) -> bytes:
        """The whole object. Raises NotFound."""

    def put(self, key: str, data: bytes) -> None:
        """Write or overwrite, atomically."""

    def create(self, key: str, data: bytes) -> bool:
        """Write unless the key exists; False if it does. Of racing creators exactly one gets True.

        A lost reply may turn our own success into False: who must know reads the object.
        """

    def open_write(self, key: str) -> Upload: ...

    def open_read(self, key: str) -> BinaryIO:
        """A seekable reader of ranges, for Parquet footers and row groups. Raises NotFound."""

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """Entries below a prefix, sorted by key, only keys greater than `after`; pages are streamed.

        The prefix is empty or ends with '/'.
        """

    def folders(self, prefix: str) -> Sequence[str]:
        """The first segments of the keys below a prefix that have more than one, sorted: `runs/` → run ids.

        A page of a thousand objects or folders costs one request, whatever lies in the folders.
        """

    def delete(self, keys: Iterable[str]) -> None:
        """Remove; keys that do not exist are no error."""

    def local_path(self, key: str) -> Path | None:
        """Where engines can read the object in place; None if it is not on this machine."""

    def close(self) -> None: ...
