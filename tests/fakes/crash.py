"""A store that kills its process at the n-th write, before or after the write has happened."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Literal

from contracts.store import Entry, Store, Upload

Moment = Literal["before", "after"]


def kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class CrashingStore:
    """Any store, with `die` called at the n-th change (0: never): put, create, and each step of an upload."""

    def __init__(
        self,
        store: Store,
        nth: int,
        moment: Moment = "before",
        die: Callable[[], None] = kill_this_process,
    ) -> None:
        self.store = store
        self.url = store.url
        self.writes = 0
        self._nth = nth
        self._moment = moment
        self._die = die

    def _writing(self, moment: Moment) -> None:
        self.writes += moment == "before"
        if self.writes == self._nth and moment == self._moment:
            self._die()

    def put(self, key: str, data: bytes) -> None:
        self._writing("before")
        self.store.put(key, data)
        self._writing("after")

    def create(self, key: str, data: bytes) -> bool:
        self._writing("before")
        created = self.store.create(key, data)
        self._writing("after")
        return created

    def open_write(self, key: str) -> Upload:
        self._writing("before")
        upload = self.store.open_write(key)
        self._writing("after")
        return _CrashingUpload(upload, self._writing)

    def delete(self, keys: Iterable[str]) -> None:
        self._writing("before")
        self.store.delete(keys)
        self._writing("after")

    def get(self, key: str) -> bytes:
        return self.store.get(key)

    def open_read(self, key: str) -> BinaryIO:
        return self.store.open_read(key)

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        return self.store.list(prefix, after)

    def folders(self, prefix: str) -> Sequence[str]:
        return self.store.folders(prefix)

    def local_path(self, key: str) -> Path | None:
        return self.store.local_path(key)

    def close(self) -> None:
        self.store.close()


class _CrashingUpload:
    def __init__(self, upload: Upload, writing: Callable[[Moment], None]) -> None:
        self._upload = upload
        self._writing = writing

    def write(self, data: bytes | memoryview) -> int:
        self._writing("before")
        count = self._upload.write(data)
        self._writing("after")
        return count

    def close(self) -> None:
        self._writing("before")
        self._upload.close()
        self._writing("after")

    def abort(self) -> None:
        self._writing("before")
        self._upload.abort()
        self._writing("after")
