"""What the answers of an S3 service mean; the texts are obstore's."""

from __future__ import annotations

import io

import pytest

from contracts.errors import Denied, NotFound, Permanent, SharderError, Unreachable
from contracts.store.ranges import RangeReader
from contracts.store.s3_errors import Failure, translate

URL = "s3://lake/elt"


def answer(status: int, code: str, kind: type[Exception] = RuntimeError) -> Exception:
    return kind(
        "Generic S3 error: Error performing GET http://s3/lake/elt/k in 3ms - Server returned "
        f"non-2xx status code: {status} Reason: <?xml version='1.0'?>\n"
        f"<Error><Code>{code}</Code><Message>secret details</Message></Error>\n\nDebug source: …"
    )


@pytest.mark.parametrize(
    ("status", "code", "kind", "says"),
    [
        (404, "NoSuchKey", NotFound, "s3://lake/elt/k does not exist"),
        (404, "NoSuchBucket", Permanent, "bucket 'lake' does not exist"),
        (403, "AccessDenied", Denied, "may not read s3://lake/elt/k"),
        (401, "Unauthorized", Denied, "may not read"),
        (403, "InvalidAccessKeyId", Denied, "credentials are not valid"),
        (403, "SignatureDoesNotMatch", Denied, "credentials are not valid"),
        (400, "ExpiredToken", Denied, "have expired"),
        (301, "PermanentRedirect", Permanent, "set AWS_REGION"),
        (400, "AuthorizationHeaderMalformed", Permanent, "set AWS_REGION"),
        (503, "SlowDown", Unreachable, "503 SlowDown"),
        (409, "ConditionalRequestConflict", Unreachable, "409"),
        (500, "InternalError", Unreachable, "500"),
        (400, "EntityTooLarge", Permanent, "refused to read k"),
    ],
)
def test_an_answer_becomes_the_right_error(
    status: int, code: str, kind: type[SharderError], says: str
) -> None:
    error = translate(answer(status, code), URL, "k", "read")
    assert type(error) is kind
    assert says in str(error)


def test_no_answer_is_unreachable() -> None:
    error = translate(RuntimeError("HTTP error: error sending request"), URL, "k", "read")
    assert type(error) is Unreachable
    assert "bucket 'lake' does not answer: HTTP error" in str(error)


def test_no_credentials_anywhere_is_denied_and_not_unreachable() -> None:
    text = "Error performing PUT http://169.254.169.254/latest/api/token in 9s - HTTP error"
    error = translate(RuntimeError(text), URL, "k", "read")
    assert type(error) is Denied
    assert "no AWS credentials were found" in str(error)


def test_only_412_means_that_the_object_exists() -> None:
    assert Failure.of(answer(412, "PreconditionFailed")).exists
    assert not Failure.of(answer(409, "ConditionalRequestConflict")).exists


def test_a_reader_refuses_a_place_before_the_start() -> None:
    reader = RangeReader(3, memoryview(b"abc"), lambda start, end: memoryview(b"abc")[start:end])
    with pytest.raises(ValueError, match="negative position: -1"):
        reader.seek(-4, io.SEEK_END)
    assert reader.seek(10) == 10
    assert reader.read(1) == b""
