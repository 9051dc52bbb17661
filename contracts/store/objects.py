"""S3 as a store, on obstore. What is S3 here is the class at the end; GCS and Azure would be two more.

obstore is the cheapest client by far (docs/design/store.md) and runs outside the interpreter's lock.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from contracts.errors import Denied, InputError, Transient, missing_extra
from contracts.store.base import Entry
from contracts.store.ranges import TAIL, buffered
from contracts.store.s3_errors import Failure, translate

# One buffer is filled while another is sent. S3 allows 10,000 pieces: an object may have 78 GiB.
UPLOAD_BYTES = 8 << 20
_PAGE = 1000  # the most that one S3 list or delete request takes
_TRIES = 5  # of a create: lost replies, and S3's 409 for creates of one key at the same moment
_PAUSE_S = 0.2
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class ObjectStore:
    """`s3://bucket/prefix`. Transient answers are retried for about `patience_s` seconds.

    Credentials: those of the environment, or else of boto3's session (profiles, SSO, web identity)
    where boto3 is installed, or else of obstore's own chain (container, instance).
    """

    def __init__(
        self,
        url: str,
        *,
        environment: Mapping[str, str] = os.environ,
        patience_s: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        if not bucket:
            raise InputError(f"no bucket in {url!r}", "write s3://bucket/prefix")
        self.bucket = bucket
        self.url = f"s3://{bucket}/{prefix.strip('/')}".rstrip("/")
        self._sleep = sleep
        self._store = _open_s3(bucket, prefix.strip("/"), environment, patience_s)

    @contextmanager
    def _asking(self, verb: str, key: str) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError) as error:  # a missing object is a FileNotFoundError
            raise translate(error, self.url, key, verb) from error

    def get(self, key: str) -> bytes:
        with self._asking("read", key):
            data: bytes = self._store.get(key).bytes().to_bytes()
        return data

    def put(self, key: str, data: bytes) -> None:
        with self._asking("write", key):
            self._store.put(key, data, use_multipart=False)

    def create(self, key: str, data: bytes) -> bool:
        """A conditional PUT whose reply was lost is not repeated by obstore; it is here.

        So False may mean that an earlier try of this very call has won.
        """
        from obstore.exceptions import BaseError

        for tries_left in reversed(range(_TRIES)):
            try:
                self._store.put(key, data, mode="create", use_multipart=False)
                return True
            except (BaseError, OSError) as error:
                if Failure.of(error).exists:
                    return False
                trouble = translate(error, self.url, key, "write")
                if not isinstance(trouble, Transient) or not tries_left:
                    raise trouble from error
            self._sleep(_PAUSE_S)
        raise AssertionError("the last try returns or raises")

    def open_write(self, key: str) -> ObjectUpload:
        import obstore

        # One piece in flight: memory stays at two buffers, whatever the size of the object.
        writer = obstore.open_writer(self._store, key, buffer_size=UPLOAD_BYTES, max_concurrency=1)
        return ObjectUpload(writer, lambda: self._asking("write", key))

    def open_read(self, key: str) -> BinaryIO:
        def read_range(start: int, end: int) -> memoryview:
            with self._asking("read", key):
                return memoryview(self._store.get_range(key, start=start, end=end))

        with self._asking("read", key):
            size, tail = self._last_bytes(key)
        return buffered(size, tail, read_range)

    def _last_bytes(self, key: str) -> tuple[int, memoryview]:
        """The object's size and at most TAIL bytes of its end."""
        from obstore.exceptions import BaseError

        try:
            last = self._store.get(key, options={"range": {"suffix": TAIL}})
        except BaseError as error:
            # An empty object has no last bytes: 416 from S3, 200 from some others.
            if Failure.of(error).status != 416 and "non-partial" not in str(error):
                raise
            size = self._store.head(key)["size"]
            return size, memoryview(
                self._store.get_range(key, start=max(0, size - TAIL), end=size) if size else b""
            )
        return last.meta["size"], memoryview(last.bytes())

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        pages = self._store.list(prefix or None, offset=after or None, chunk_size=_PAGE)
        while True:
            with self._asking("list", prefix):
                page = next(pages, None)
            if page is None:
                return
            for meta in page:
                yield Entry(meta["path"], meta["size"], meta["last_modified"].timestamp())

    def delete(self, keys: Iterable[str]) -> None:
        remaining = iter(keys)
        while page := list(islice(remaining, _PAGE)):
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
        self._writer.__exit__(InterruptedError, InterruptedError(), None)


def _open_s3(bucket: str, prefix: str, environment: Mapping[str, str], patience_s: float) -> Any:
    """Raises MissingExtra, or Denied if boto3 finds a profile that it cannot use."""
    try:
        from obstore.store import S3Store
    except ImportError as error:
        raise missing_extra("obstore", "s3", f"the store s3://{bucket}") from error
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    options: dict[str, Any] = _credentials(bucket, environment)
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    if region or "region" not in options:
        options["region"] = region or "us-east-1"
    if endpoint:
        options["endpoint"] = endpoint
    may_use_http = _may_use_http(endpoint, environment)
    if (endpoint or "").startswith("http://") and not may_use_http:
        raise InputError(
            f"the store's endpoint is {endpoint}, without encryption",
            "use https, or set AWS_ALLOW_HTTP=true for a store inside your own network",
        )
    return S3Store(
        bucket,
        prefix=prefix or None,
        client_options={
            "allow_http": may_use_http,
            "connect_timeout": "5s",
            "timeout": "60s",  # of one request: a piece of 8 MiB at 140 kB/s
        },
        retry_config={
            "max_retries": 10,
            "retry_timeout": timedelta(seconds=patience_s),
            "backoff": {
                "init_backoff": timedelta(milliseconds=100),
                "max_backoff": timedelta(seconds=10),
                "base": 2,
            },
        },
        **options,
    )


def _may_use_http(endpoint: str | None, environment: Mapping[str, str]) -> bool:
    """Plain HTTP to this machine, or where AWS_ALLOW_HTTP says so (a store inside a cluster)."""
    host = urlsplit(endpoint or "").hostname
    return host in _LOOPBACK or environment.get("AWS_ALLOW_HTTP", "").lower() == "true"


def _credentials(bucket: str, environment: Mapping[str, str]) -> dict[str, Any]:
    if environment.get("AWS_ACCESS_KEY_ID"):
        names = {
            "access_key_id": "AWS_ACCESS_KEY_ID",
            "secret_access_key": "AWS_SECRET_ACCESS_KEY",
            "token": "AWS_SESSION_TOKEN",
        }
        return {k: environment[name] for k, name in names.items() if environment.get(name)}
    try:
        import boto3
        from botocore.exceptions import BotoCoreError
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError:
        return {}
    try:
        session = boto3.Session()
        if session.get_credentials() is None:
            return {}
        provider = Boto3CredentialProvider(session)
    except BotoCoreError as error:
        raise Denied(f"bucket '{bucket}': no AWS credentials: {error}") from error
    region = {"region": session.region_name} if session.region_name else {}
    return {"credential_provider": provider, **region}
