"""Writing to S3 through boto3, for what obstore cannot sign: an ACL is a header of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from contracts.store.failures import Failure, RequestFailed


class Boto3Sender:
    """Every object gets the same headers, by their names in boto3: `ACL`, `ContentType` and so on."""

    def __init__(self, client: Any, bucket: str, headers: Mapping[str, str], piece: int) -> None:
        self._client = client
        self._headers = {"Bucket": bucket, **headers}
        self._piece = piece

    def put(self, key: str, data: bytes, *, create: bool) -> None:
        condition = {"IfNoneMatch": "*"} if create else {}
        with _failing():
            self._client.put_object(Key=key, Body=data, **self._headers, **condition)

    def open(self, key: str) -> Pieces:
        return Pieces(self._client, {**self._headers, "Key": key}, self._piece)


class Pieces:
    """One request on `close` while the object is smaller than a piece, a multipart upload beyond."""

    def __init__(self, client: Any, headers: Mapping[str, str], piece: int) -> None:
        self._client = client
        self._headers = headers
        self._place = {name: headers[name] for name in ("Bucket", "Key")}
        self._piece = piece
        self._waiting = bytearray()
        self._upload = ""
        self._sent: list[dict[str, Any]] = []

    def write(self, data: bytes | memoryview) -> int:
        self._waiting += data
        while len(self._waiting) > self._piece:
            self._send(bytes(memoryview(self._waiting)[: self._piece]))
            del self._waiting[: self._piece]
        return memoryview(data).nbytes

    def _send(self, data: bytes) -> None:
        with _failing():
            if not self._upload:
                answer = self._client.create_multipart_upload(**self._headers)
                self._upload = answer["UploadId"]
            number = len(self._sent) + 1
            answer = self._client.upload_part(
                **self._place, UploadId=self._upload, PartNumber=number, Body=data
            )
        self._sent.append({"PartNumber": number, "ETag": answer["ETag"]})

    def close(self) -> None:
        if self._upload:
            self._send(bytes(self._waiting))
            with _failing():
                self._client.complete_multipart_upload(
                    **self._place, UploadId=self._upload, MultipartUpload={"Parts": self._sent}
                )
        else:
            with _failing():
                self._client.put_object(**self._headers, Body=bytes(self._waiting))

    def abort(self) -> None:
        self._waiting.clear()
        if self._upload:
            with _failing():
                self._client.abort_multipart_upload(**self._place, UploadId=self._upload)


@contextmanager
def _failing() -> Iterator[None]:
    """boto3's errors as ours: the store says what they mean."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        answer = error.response
        status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        code = str(answer.get("Error", {}).get("Code", ""))
        failure = Failure(status, code, str(error)[:300], missing=False, denied=status == 403)
        raise RequestFailed(failure) from error
    except BotoCoreError as error:
        failure = Failure(0, "", str(error)[:300], missing=False, denied=False)
        raise RequestFailed(failure) from error
