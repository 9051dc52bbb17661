"""Where files are: listing them, opening them, and never leaving the base directory.

fsspec is the one door. S3 goes through Arrow's own client behind fsspec's wrapper, which needs no
further package; the usual AWS environment holds, AWS_ENDPOINT_URL included.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO, cast

from contracts.errors import Denied, InputError, NotFound, Permanent, SharderError, Unreachable
from worker.sources.file.options import FileTable, Options, format_of

_MAGIC = frozenset("*?[")


@dataclass(frozen=True)
class Place:
    """One URL scheme. Paths of clients are `prefix` plus the path inside the file system."""

    scheme: str
    options: Options

    @cached_property
    def fs(self) -> Any:
        import fsspec

        if self.scheme in ("s3", "s3a"):
            return _s3(self.options)
        try:
            return fsspec.filesystem(self.scheme or "file")
        except (ImportError, ValueError) as error:
            raise InputError(
                f"{self.scheme}:// needs another package: {error}",
                "install what fsspec asks for, or use s3:// or a local path",
            ) from error


def scheme_of(url: str) -> str:
    """`s3://b/k` → s3; empty for a local path."""
    return url.split("://", 1)[0].lower() if "://" in url else ""


class Places:
    """The file systems of one source; opened when first used."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._places: dict[str, Place] = {}

    def _place(self, url: str) -> Place:
        scheme = scheme_of(url)
        return self._places.setdefault(scheme, Place(scheme, self._options))

    def list(self, table: FileTable) -> dict[str, int]:
        """Client id → bytes, sorted. Raises SharderError if a place cannot be listed."""
        found: dict[str, int] = {}
        for pattern in table.patterns:
            url = join(self._options.base, pattern)
            try:
                found |= self._listed(url, table)
            except _ERRORS as error:
                raise failure(error, url) from error
        return dict(sorted(found.items()))

    def _listed(self, url: str, table: FileTable) -> dict[str, int]:
        place = self._place(url)
        path = _inside(url)
        # Left to itself fsspec passes over what it may not list: a denied directory would look empty.
        if _MAGIC & set(path):
            infos: Mapping[str, Mapping[str, Any]] = place.fs.glob(
                path, detail=True, on_error="raise"
            )
        else:
            info = place.fs.info(path)
            infos = {path: info}
            if info["type"] == "directory":
                infos = place.fs.find(path, detail=True, on_error="raise")
                infos = {p: i for p, i in infos.items() if table.format != "auto" or format_of(p)}
        files = {p: i for p, i in infos.items() if i["type"] == "file"}
        return {self._client(url, p): int(i.get("size") or 0) for p, i in files.items()}

    def _client(self, url: str, path: str) -> str:
        """The id of a file: relative to the base if there is one, else written as its pattern was."""
        scheme = scheme_of(url)
        if scheme:
            full = f"{scheme}://{path.lstrip('/')}"
        elif posixpath.isabs(url):
            full = path
        else:
            full = os.path.relpath(path)
        base = self._options.base
        if not base:
            return full
        root = base.rstrip("/") + "/"
        start = root if scheme or posixpath.isabs(base) else os.path.normpath(base) + "/"
        if not full.startswith(start):
            raise Permanent(f"{full} lies outside of the base {base}")
        return full[len(start) :]

    def url(self, client: str) -> str:
        """The place of a client's file. Raises Permanent if it is outside of the base."""
        url = join(self._options.base, client)
        if self._options.base and not scheme_of(url):
            # Links are followed first: a link inside that leads outside is outside.
            root = os.path.realpath(self._options.base)
            if os.path.commonpath([root, os.path.realpath(url)]) != root:
                raise Permanent(f"{client} leads outside of the base {self._options.base}")
        return url

    def open(self, client: str) -> BinaryIO:
        """A seekable reader. Raises SharderError."""
        url = self.url(client)
        try:
            return cast("BinaryIO", self._place(url).fs.open(_inside(url), "rb"))
        except _ERRORS as error:
            raise failure(error, url) from error


def join(base: str, path: str) -> str:
    """Raises InputError if the path would leave the base."""
    if not base:
        return path
    if scheme_of(path) or posixpath.isabs(path) or ".." in path.split("/"):
        raise InputError(
            f"the path {path} does not stay below the base {base}", "write it relative to base"
        )
    return f"{base.rstrip('/')}/{path}"


def _inside(url: str) -> str:
    """What the file system calls the place: http keeps its URL, others lose the scheme."""
    scheme = scheme_of(url)
    if scheme in ("http", "https") or not scheme:
        return url
    rest = url.split("://", 1)[1]
    return rest if scheme in ("s3", "s3a") else f"/{rest.lstrip('/')}"


def _s3(options: Options) -> Any:
    from fsspec.implementations.arrow import ArrowFSWrapper
    from pyarrow.fs import S3FileSystem

    chosen: dict[str, Any] = {"anonymous": options.anonymous}
    if options.region:
        chosen["region"] = options.region
    # Arrow's client reads the rest of the AWS environment itself, but not this variable.
    variables = (os.environ.get(n) for n in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"))
    if endpoint := options.endpoint_url or next(filter(None, variables), ""):
        scheme, _, host = endpoint.rstrip("/").rpartition("://")
        chosen |= {"endpoint_override": host, "scheme": scheme or "https"}
    return ArrowFSWrapper(S3FileSystem(**chosen))


_ERRORS = (OSError,)


def failure(error: Exception, url: str) -> SharderError:
    """An operating system's or object store's error, as ours."""
    text = f"{url}: {error}"
    if isinstance(error, FileNotFoundError):
        return NotFound(f"{url} does not exist")
    if isinstance(error, PermissionError) or "ACCESS_DENIED" in text or "HTTP status 403" in text:
        return Denied(text, "check the credentials and the permissions of the place")
    if isinstance(error, ConnectionError) or "NETWORK_CONNECTION" in text or "curl" in text.lower():
        return Unreachable(text)
    return Permanent(text)
