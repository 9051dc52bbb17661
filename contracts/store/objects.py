"""A bucket as a store, on obstore: S3, GCS and Azure Blob alike. Their openers say what differs.

obstore is the cheapest client by far (docs/design/store.md) and runs outside the interpreter's lock.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from contracts.errors import NotFound, SharderError, StoreUnfit, Transient
from contracts.store.base import Entry, check_key
from contracts.store.client import Bucket
from contracts.store.failures import Failure, RequestFailed, translate
from contracts.store.ranges import TAIL, buffered

_PAGE = 1000  # the most that one S3 list or delete request takes
_TRIES = 5  # of a create: lost replies, and S3's 409 for creates of one key at the same moment
_PAUSE_S = 0.2

log = logging.getLogger(__name__)


class Sender(Protocol):
    """How bytes get into a bucket. `open` returns a writer with `write`, `close` and `abort`."""

    def put(self, key: str, data: bytes, *, create: bool) -> None: ...
    def open(self, key: str) -> Any: ...


class ObstoreSender:
    """Through obstore itself."""

    def __init__(self, bucket: Bucket) -> None:
        self._client = bucket.client
        self._piece = bucket.piece
        self._attributes = dict(bucket.attributes) or None

    def put(self, key: str, data: bytes, *, create: bool) -> None:
        mode = "create" if create else "overwrite"
        self._client.put(key, data, mode=mode, attributes=self._attributes, use_multipart=False)

    def open(self, key: str) -> Any:
        import obstore

        # One piece in flight: memory stays at two buffers, whatever the size of the object.
        writer = obstore.open_writer(
            self._client,
            key,
            attributes=self._attributes,
            buffer_size=self._piece,
            max_concurrency=1,
        )
        return _Writer(writer)


class _Writer:
    def __init__(self, writer: Any) -> None:
        self.write = writer.write
        self.close = writer.close
        self._leave = writer.__exit__

    def abort(self) -> None:
        self._leave(InterruptedError, InterruptedError(), None)


class ObjectStore:
    """One opened bucket. Transient answers are retried for as long as its opener was told."""

    def __init__(
        self,
        bucket: Bucket,
        *,
        sender: Sender | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = bucket.url
        self.bucket = bucket.name
        self._bucket = bucket
        self._store = bucket.client
        self._sender = sender or ObstoreSender(bucket)
        self._sleep = sleep

    @contextmanager
    def _asking(self, verb: str, key: str) -> Iterator[None]:
        from obstore.exceptions import BaseError

        started = time.monotonic()
        try:
            yield
        except (BaseError, OSError, RequestFailed) as error:  # a missing object: FileNotFoundError
            raise self._said(error, verb, key) from error
        finally:
            if self._bucket.debug:
                seconds = time.monotonic() - started
                log.info("store_request verb=%s key=%s seconds=%.3f", verb, key, seconds)

    def _said(self, error: Exception, verb: str, key: str) -> SharderError:
        return translate(error, self._bucket.terms, self.bucket, self.url, key, verb)

    def get(self, key: str) -> bytes:
        with self._asking("read", check_key(key)):
            data: bytes = self._store.get(key).bytes().to_bytes()
        return data

    def put(self, key: str, data: bytes) -> None:
        with self._asking("write", check_key(key)):
            self._sender.put(key, data, create=False)

    def create(self, key: str, data: bytes) -> bool:
        """A conditional PUT whose reply was lost is not repeated by obstore; it is here.

        So False may mean that an earlier try of this very call has won.
        """
        from obstore.exceptions import BaseError

        check_key(key)
        for tries_left in reversed(range(_TRIES)):
            try:
                self._sender.put(key, data, create=True)
                return True
            except (BaseError, OSError, RequestFailed) as error:
                if Failure.of(error).exists(self._bucket.terms):
                    return False
                trouble = self._said(error, "write", key)
                if not isinstance(trouble, Transient) or not tries_left:
                    raise trouble from error
            self._sleep(_PAUSE_S)
        raise AssertionError("the last try returns or raises")

    def open_write(self, key: str) -> ObjectUpload:
        with self._asking("write", check_key(key)):
            writer = self._sender.open(key)
        return ObjectUpload(writer, lambda: self._asking("write", key))

    def open_read(self, key: str) -> BinaryIO:
        def read_range(start: int, end: int) -> memoryview:
            with self._asking("read", key):
                return memoryview(self._store.get_range(key, start=start, end=end))

        with self._asking("read", check_key(key)):
            size, tail = self._last_bytes(key)
        return buffered(size, tail, read_range)

    def _last_bytes(self, key: str) -> tuple[int, memoryview]:
        """The object's size and at most TAIL bytes of its end."""
        from obstore.exceptions import BaseError

        from_end = self._bucket.terms.tails
        try:
            asked = {"suffix": TAIL} if from_end else (0, TAIL)
            answer = self._store.get(key, options={"range": asked})
            size, data = answer.meta["size"], memoryview(answer.bytes())
        except BaseError as error:
            # An empty object has no such bytes: 416 from S3 and Azure, 200 from some others.
            if Failure.of(error).status != 416 and "non-partial" not in str(error):
                raise
            size, data = self._store.head(key)["size"], memoryview(b"")
        if len(data) < min(size, TAIL) or (size > TAIL and not from_end):
            data = memoryview(self._store.get_range(key, start=max(0, size - TAIL), end=size))
        return size, data

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        pages = self._store.list(prefix or None, offset=after or None, chunk_size=_PAGE)
        last = after
        while True:
            with self._asking("list", prefix):
                page = next(pages, None)
            if page is None:
                return
            for meta in page:
                entry = Entry(meta["path"], meta["size"], meta["last_modified"].timestamp())
                if entry.key <= last:
                    raise _unsorted(self.url, last, entry.key)
                last = entry.key
                yield entry

    def folders(self, prefix: str) -> Sequence[str]:
        with self._asking("list", prefix):
            found = self._store.list_with_delimiter(prefix or None)["common_prefixes"]
        return sorted(str(path).rstrip("/").rsplit("/", 1)[-1] for path in found)

    def delete(self, keys: Iterable[str]) -> None:
        remaining = iter(keys)
        while page := list(islice(map(check_key, remaining), _PAGE)):
            try:
                self._delete(page)
            except NotFound:  # GCS and Azure stop at a key that is gone already, and S3 does not
                for key in page:
                    with suppress(NotFound):
                        self._delete([key])

    def _delete(self, page: Sequence[str]) -> None:
        with self._asking("delete", page[0]):
            self._store.delete(page)

    def local_path(self, key: str) -> Path | None:
        """None: objects are not files."""
        del key
        return None

    def close(self) -> None:
        """Connections are closed with the last reference."""


class ObjectUpload:
    """One request on `close` while the object is smaller than a buffer, pieces of that size beyond."""

    def __init__(self, writer: Any, asking: Callable[[], AbstractContextManager[None]]) -> None:
        self._writer = writer
        self._asking = asking

    def write(self, data: bytes | memoryview) -> int:
        with self._asking():
            return int(self._writer.write(data))

    def close(self) -> None:
        with self._asking():
            self._writer.close()

    def abort(self) -> None:
        """Sent pieces are removed; those of a killed process wait for the bucket's lifecycle rule."""
        with self._asking():
            self._writer.abort()


def _unsorted(url: str, before: str, after: str) -> StoreUnfit:
    return StoreUnfit(
        f"{url} lists its keys out of order ('{after}' after '{before}'), and a run reads them in order",
        "use a bucket of the general kind (no S3 directory bucket, no hierarchical namespace)",
    )
