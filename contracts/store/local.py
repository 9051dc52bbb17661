"""A directory as a store. A create is a temporary file, synced, then linked: `os.link` has one winner."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from contracts.errors import Denied, InputError, NotFound, Permanent, SharderError, StoreUnfit
from contracts.store.base import Entry, check_key

_TEMPORARY = ".tmp"  # hidden; `layout.escape` never makes a hidden segment, so no key ends up here
_ABANDONED_S = 24 * 3600.0  # a temporary file of this age belongs to a process that was killed

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS})
# A key below an object, or the name of a directory: no such object either way.
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR})


@contextmanager
def _asking(verb: str, place: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise translate(error, verb, place) from error


def translate(error: OSError, verb: str, place: str) -> SharderError:
    """Our error for one of the operating system's."""
    if error.errno in _FULL:
        return Permanent(
            f"cannot {verb} {place}: {(error.strerror or 'the disk is full').lower()}",
            "make room on this disk or raise the quota, or move the stage; then try again",
        )
    if error.errno in _REFUSED:
        return Denied(
            f"may not {verb} {place}: {(error.strerror or 'permission denied').lower()}",
            "give this user access to the directory, or move the stage",
        )
    if verb == "read" and error.errno in _ABSENT:
        return NotFound(f"{place} does not exist")
    if error.errno in {errno.ENOTDIR, errno.EEXIST}:
        return Permanent(f"cannot {verb} {place}: a file is where a directory must be")
    return Permanent(f"cannot {verb} {place}: {error.strerror or error}")


class LocalStore:
    """Keys are paths below `root`; half-written files live in a hidden directory beside them."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.url = str(root)
        self._swept = False

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    def get(self, key: str) -> bytes:
        with _asking("read", f"{self.url}/{key}"):
            return self._path(key).read_bytes()

    def put(self, key: str, data: bytes) -> None:
        self._upload(key, data).close()

    def create(self, key: str, data: bytes) -> bool:
        # Only saves the write; the link below decides.
        return not self._path(key).exists() and self._upload(key, data).publish(replace=False)

    def _upload(self, key: str, data: bytes) -> LocalUpload:
        upload = self.open_write(key)
        upload.write(data)
        return upload

    def open_write(self, key: str) -> LocalUpload:
        final = self._path(key)
        if not self._swept:
            self._sweep()
            self._swept = True
        return LocalUpload(self.root / _TEMPORARY / uuid4().hex, final, f"{self.url}/{key}")

    def _sweep(self) -> None:
        """Remove what killed processes left half-written."""
        with suppress(PermissionError):
            for path, status in self.temporary():
                if status.st_mtime < time.time() - _ABANDONED_S:
                    path.unlink(missing_ok=True)

    def temporary(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Files that are being written, or that killed processes left half-written."""
        with (
            suppress(FileNotFoundError, NotADirectoryError),
            os.scandir(self.root / _TEMPORARY) as found,
        ):
            for entry in found:
                with suppress(FileNotFoundError):
                    yield Path(entry), entry.stat()

    def remove_temporary(self, name: str) -> None:
        """One of them; a file that is gone by now is no error."""
        with _asking("delete", f"{self.url}/{_TEMPORARY}/{name}"):
            (self.root / _TEMPORARY / name).unlink(missing_ok=True)

    def open_read(self, key: str) -> BinaryIO:
        with _asking("read", f"{self.url}/{key}"):
            return self._path(key).open("rb")

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        if prefix and not prefix.endswith("/"):
            raise InputError(f"a prefix is empty or ends with '/': {prefix!r}")
        if prefix:
            self._path(prefix.removesuffix("/"))
        with _asking("list", f"{self.url}/{prefix}"):
            yield from self._walk(prefix, after)

    def _walk(self, below: str, after: str) -> Iterator[Entry]:
        try:
            with os.scandir(self.root / below) as entries:
                # A directory sorts as its keys do: with the slash.
                # Names only: a directory of a hundred thousand commits is in memory at once here.
                found = sorted(
                    f"{e.name}/" if e.is_dir() else e.name for e in entries if e.name != _TEMPORARY
                )
        except (FileNotFoundError, NotADirectoryError):
            return
        for name in found:
            key = below + name
            if key.endswith("/"):
                if key > after or after.startswith(key):
                    yield from self._walk(key, after)
            elif key > after:
                with suppress(FileNotFoundError):  # removed in between
                    status = os.stat(self.root / key)  # noqa: PTH116  # a third of the time of Path's
                    yield Entry(key, status.st_size, status.st_mtime)

    def folders(self, prefix: str) -> Sequence[str]:
        with _asking("list", f"{self.url}/{prefix}"):
            try:
                with os.scandir(self.root / prefix) as entries:
                    found = [e.name for e in entries if e.is_dir() and e.name != _TEMPORARY]
            except (FileNotFoundError, NotADirectoryError):
                return []
        # What a killed process left of a directory holds no object, and other stores have no such folders.
        return sorted(name for name in found if next(self._walk(f"{prefix}{name}/", ""), None))

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            path = self._path(key)
            with _asking("delete", f"{self.url}/{key}"), suppress(NotADirectoryError):
                path.unlink(missing_ok=True)
                self._prune(path.parent)

    def _prune(self, directory: Path) -> None:
        """Remove directories that became empty: other stores have none either."""
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
    """A temporary file that becomes the object on `close`; any failure leaves nothing behind."""

    def __init__(self, temporary: Path, final: Path, place: str) -> None:
        self._temporary = temporary
        self._final = final
        self._place = place
        with _asking("write", place):
            temporary.parent.mkdir(parents=True, exist_ok=True)
            self._file = temporary.open("xb")

    def write(self, data: bytes | memoryview) -> int:
        with self._undone_on_failure():
            return self._file.write(data)

    def close(self) -> None:
        self.publish(replace=True)

    def abort(self) -> None:
        # Closing flushes; a full disk must not keep the file from being removed.
        with suppress(OSError):
            self._file.close()
        self._temporary.unlink(missing_ok=True)

    def publish(self, *, replace: bool) -> bool:
        """Sync and give the file its name; False if it must not replace and the name is taken."""
        with self._undone_on_failure():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            won = self._name(replace=replace)
            if won:
                _sync_directory(self._final.parent)
        if not replace:
            self._temporary.unlink()
        return won

    def _name(self, *, replace: bool) -> bool:
        while True:
            with suppress(FileNotFoundError):  # the directory was pruned in between: once more
                self._final.parent.mkdir(parents=True, exist_ok=True)
                if replace:
                    self._temporary.replace(self._final)
                    return True
                try:
                    os.link(self._temporary, self._final)
                except FileExistsError:
                    return False
                except OSError as error:
                    if error.errno in _NO_LINKS:
                        raise _no_links(self._place) from error
                    raise
                return True
            if not self._temporary.exists():
                raise Permanent(f"the temporary file of {self._place} was removed by someone")

    @contextmanager
    def _undone_on_failure(self) -> Iterator[None]:
        try:
            with _asking("write", self._place):
                yield
        except BaseException:
            self.abort()
            raise


def _sync_directory(directory: Path) -> None:
    """A synced file whose name is not on the disk is lost with the power."""
    with suppress(FileNotFoundError):  # already deleted by another process
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _no_links(place: str) -> StoreUnfit:
    return StoreUnfit(
        f"cannot write {place}: the file system has no hard links, on which commits rest",
        "move the stage to a local disk or to an object store",
    )
