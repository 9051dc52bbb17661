"""What killed processes leave of unfinished writes: temporary files, and uploads in pieces.

No listing of objects shows them, and a bucket bills them. Only S3 has requests to find them that we
can make; GCS and Azure end them by themselves or by a rule of the bucket.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from contracts.errors import Permanent, missing_extra
from contracts.store.base import Store
from contracts.store.client import may_use_http
from contracts.store.failures import Failure, RequestFailed, translate
from contracts.store.local import LocalStore
from contracts.store.objects import ObjectStore
from contracts.store.s3 import TERMS, endpoint_of, region_of, virtual_host
from contracts.store.s3_credentials import of_environment


@dataclass(frozen=True)
class Leftover:
    """`id` names it to its store; `size` counts the bytes that it holds."""

    key: str
    id: str
    size: int
    started_s: float  # seconds since the epoch, by the store's clock


class Leftovers(Protocol):
    """The unfinished writes below one stage."""

    noun: str

    def older(self, seconds: float) -> Iterator[Leftover]:
        """Those that began longer ago than that."""

    def remove(self, one: Leftover) -> None:
        """One that is gone by now is no error."""


@dataclass(frozen=True)
class Unseen:
    """A store whose unfinished writes cannot be listed; `why` says who removes them."""

    why: str


def leftovers(store: Store, environment: Mapping[str, str]) -> Leftovers | Unseen:
    """Raises MissingExtra if S3 is to be asked and boto3 is not installed."""
    if isinstance(store, LocalStore):
        return Temporary(store)
    if not isinstance(store, ObjectStore):
        return Unseen("this kind of store does not tell them")
    scheme = store.url.partition("://")[0]
    if scheme == "s3":
        return Pieces(store.url, environment)
    if scheme == "gs":
        return Unseen("set a lifecycle rule AbortIncompleteMultipartUpload on the bucket")
    return Unseen("Azure drops uncommitted blocks after a week")


class Temporary:
    """Files that a process wrote and did not live to give their name."""

    noun = "temporary file"

    def __init__(self, store: LocalStore) -> None:
        self._store = store

    def older(self, seconds: float) -> Iterator[Leftover]:
        before = time.time() - seconds
        for path, status in self._store.temporary():
            if status.st_mtime < before:
                yield Leftover(path.name, path.name, status.st_size, status.st_mtime)

    def remove(self, one: Leftover) -> None:
        self._store.remove_temporary(one.id)


class Pieces:
    """Multipart uploads of S3 that were neither completed nor aborted."""

    noun = "unfinished upload"

    def __init__(self, url: str, environment: Mapping[str, str]) -> None:
        self._url = url
        self._bucket, _, prefix = url.removeprefix("s3://").partition("/")
        self._prefix = f"{prefix}/" if prefix else ""
        self._client = _client(self._bucket, environment)

    @contextmanager
    def _asking(self, verb: str, key: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            answer = error.response
            status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            code = str(answer.get("Error", {}).get("Code", ""))
            failure = Failure(status, code, str(error)[:300], missing=False, denied=status == 403)
            said = translate(RequestFailed(failure), TERMS, self._bucket, self._url, key, verb)
            raise said from error
        except BotoCoreError as error:
            failure = Failure(0, "", str(error)[:300], missing=False, denied=False)
            said = translate(RequestFailed(failure), TERMS, self._bucket, self._url, key, verb)
            raise said from error

    def older(self, seconds: float) -> Iterator[Leftover]:
        before = time.time() - seconds
        marks: dict[str, str] = {}
        while True:
            with self._asking("list the unfinished uploads of", ""):
                page = self._client.list_multipart_uploads(
                    Bucket=self._bucket, Prefix=self._prefix, **marks
                )
            for upload in page.get("Uploads", ()):
                started_s = upload["Initiated"].timestamp()
                # A prefix that the service does not look at (as some look-alikes) is looked at here.
                if started_s < before and upload["Key"].startswith(self._prefix):
                    key, name = upload["Key"].removeprefix(self._prefix), upload["UploadId"]
                    yield Leftover(key, name, self._size(upload["Key"], name), started_s)
            if not page.get("IsTruncated"):
                return
            marks = {
                "KeyMarker": page["NextKeyMarker"],
                "UploadIdMarker": page["NextUploadIdMarker"],
            }

    def _size(self, key: str, upload: str) -> int:
        total, marks = 0, dict[str, int]()
        while True:
            try:
                with self._asking("read", key):
                    page = self._client.list_parts(
                        Bucket=self._bucket, Key=key, UploadId=upload, **marks
                    )
            except Permanent:  # completed or aborted meanwhile; or only listing is allowed
                return total
            total += sum(int(part["Size"]) for part in page.get("Parts", ()))
            if not page.get("IsTruncated"):
                return total
            marks = {"PartNumberMarker": page["NextPartNumberMarker"]}

    def remove(self, one: Leftover) -> None:
        from contracts.errors import NotFound

        key = f"{self._prefix}{one.key}"
        try:
            with self._asking("abort the upload of", key):
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=one.id)
        except NotFound:
            return


def _client(bucket: str, environment: Mapping[str, str]) -> Any:
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise missing_extra("boto3", "s3", f"a look at the uploads of s3://{bucket}") from error
    endpoint, found = endpoint_of(environment), of_environment(bucket, environment)
    may_use_http(endpoint, "AWS_ALLOW_HTTP", environment)
    names = {
        "aws_access_key_id": "access_key_id",
        "aws_secret_access_key": "secret_access_key",
        "aws_session_token": "token",
    }
    keys = {n: found.options[option] for n, option in names.items() if option in found.options}
    virtual = virtual_host(bucket, endpoint, path_style=False)
    session = found.session and boto3.Session(botocore_session=found.session)
    return (session or boto3.Session()).client(
        "s3",
        region_name=region_of(environment) or found.region or "us-east-1",
        endpoint_url=endpoint or None,
        config=Config(
            retries={"total_max_attempts": 4, "mode": "standard"},
            connect_timeout=5,
            read_timeout=30,
            s3={"addressing_style": "virtual" if virtual else "path"},
        ),
        **keys,
    )
