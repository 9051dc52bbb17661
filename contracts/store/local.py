"""A directory as a store. A create is a temporary file, synced, then linked: `os.link` has one winner."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from contracts.errors import Denied, NotFound, Permanent
from contracts.store.base import Entry

_TEMPORARY = ".tmp"  # hidden; `layout.escape` never makes a hidden segment, so no key ends up here


class LocalStore:
    """Keys are paths below `root`; half-written files live in a hidden directory beside them."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.url = str(root)

    def _path(self, key: str) -> Path:
        if any(part in {"", ".", ".."} for part in key.split("/")):
            raise Permanent(f"not a key: {key!r}")
        return self.root / key

    def get(self, key: str) -> bytes:
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError as error:
            raise NotFound(f"{self.url}/{key} does not exist") from error
        except PermissionError as error:
            raise Denied(f"{self.url}/{key} may not be read: {error.strerror}") from error

    def put(self, key: str, data: bytes) -> None:
        upload = self.open_write(key)
        upload.write(data)
        upload.close()

    def create(self, key: str, data: bytes) -> bool:
        upload = self.open_write(key)
        upload.write(data)
        return upload.publish(replace=False)

    def open_write(self, key: str) -> LocalUpload:
        return LocalUpload(self.root / _TEMPORARY / uuid4().hex, self._path(key), self.url)

    def open_read(self, key: str) -> BinaryIO:
        try:
            return self._path(key).open("rb")
        except FileNotFoundError as error:
            raise NotFound(f"{self.url}/{key} does not exist") from error

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        top, _, _ = prefix.rpartition("/")
        yield from self._walk(f"{top}/" if top else "", prefix, after)

    def _walk(self, below: str, prefix: str, after: str) -> Iterator[Entry]:
        try:
            found = list(os.scandir(self.root / below))
        except (FileNotFoundError, NotADirectoryError):
            return
        # A directory sorts as its keys do: with the slash.
        names = [(f"{below}{e.name}/" if e.is_dir() else f"{below}{e.name}", e) for e in found]
        for key, entry in sorted(names, key=lambda n: n[0]):
            if entry.name == _TEMPORARY or not key.startswith(prefix[: len(key)]):
                continue
            if entry.is_dir():
                if key > after or after.startswith(key):
                    yield from self._walk(key, prefix, after)
            elif key.startswith(prefix) and key > after:
                try:
                    status = entry.stat()
                except FileNotFoundError:
                    continue
                yield Entry(key, status.st_size, status.st_mtime)

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            path = self._path(key)
            path.unlink(missing_ok=True)
            self._prune(path.parent)

    def _prune(self, directory: Path) -> None:
        while directory != self.root:
            try:
                directory.rmdir()
            except OSError:
                return
            directory = directory.parent

    def local_path(self, key: str) -> Path | None:
        return self._path(key)

    def close(self) -> None:
        """Nothing is held open."""


class LocalUpload:
    """A temporary file that becomes the object on `close`."""

    def __init__(self, temporary: Path, final: Path, url: str) -> None:
        self._temporary = temporary
        self._final = final
        self._url = url
        try:
            temporary.parent.mkdir(parents=True, exist_ok=True)
            self._file = temporary.open("xb")
        except PermissionError as error:
            raise Denied(f"{url} may not be written: {error.strerror}") from error

    def write(self, data: bytes | memoryview) -> int:
        return self._file.write(data)

    def publish(self, *, replace: bool) -> bool:
        """Sync and give the file its name; False if it must not replace and the name is taken."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        while True:
            self._final.parent.mkdir(parents=True, exist_ok=True)
            try:
                if replace:
                    self._temporary.replace(self._final)
                    return True
                os.link(self._temporary, self._final)
            except FileExistsError:
                self._temporary.unlink()
                return False
            except FileNotFoundError:
                continue  # the directory was pruned in between
            self._temporary.unlink()
            return True

    def close(self) -> None:
        self.publish(replace=True)

    def abort(self) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)
