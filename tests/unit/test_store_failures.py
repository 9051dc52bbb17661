"""What the answers of S3, GCS and Azure mean; the texts are obstore's."""

from __future__ import annotations

import io

import pytest

from contracts.errors import Denied, NotFound, Permanent, SharderError, Unreachable
from contracts.store import azure, gcs, s3
from contracts.store.failures import Failure, Terms, translate
from contracts.store.ranges import RangeReader

URL = "s3://lake/elt"
TERMS = {"s3": s3.TERMS, "gcs": gcs.TERMS, "azure": azure.TERMS}


def answer(status: int, code: str, kind: type[Exception] = RuntimeError) -> Exception:
    return kind(
        "Generic S3 error: Error performing GET http://s3/lake/elt/k in 3ms - Server returned "
        f"non-2xx status code: {status} Reason: <?xml version='1.0'?>\n"
        f"<Error><Code>{code}</Code><Message>secret details</Message></Error>\n\nDebug source: …"
    )


def said(error: Exception, terms: Terms = s3.TERMS) -> SharderError:
    return translate(error, terms, "lake", URL, "k", "read")


@pytest.mark.parametrize(
    ("cloud", "status", "code", "kind", "says"),
    [
        ("s3", 404, "NoSuchKey", NotFound, "s3://lake/elt/k does not exist"),
        ("s3", 404, "NoSuchBucket", Permanent, "bucket 'lake' does not exist"),
        ("s3", 403, "AccessDenied", Denied, "may not read s3://lake/elt/k"),
        ("s3", 401, "Unauthorized", Denied, "may not read"),
        ("s3", 403, "InvalidAccessKeyId", Denied, "credentials are not valid"),
        ("s3", 403, "SignatureDoesNotMatch", Denied, "credentials are not valid"),
        ("s3", 400, "ExpiredToken", Denied, "have expired"),
        ("s3", 301, "PermanentRedirect", Permanent, "set AWS_REGION"),
        ("s3", 400, "AuthorizationHeaderMalformed", Permanent, "set AWS_REGION"),
        ("s3", 503, "SlowDown", Unreachable, "503 SlowDown"),
        ("s3", 409, "ConditionalRequestConflict", Unreachable, "409"),
        ("s3", 500, "InternalError", Unreachable, "500"),
        ("s3", 400, "EntityTooLarge", Permanent, "refused to read k"),
        ("gcs", 404, "NoSuchBucket", Permanent, "bucket 'lake' does not exist"),
        ("gcs", 403, "AccessDenied", Denied, "roles/storage.objectUser"),
        ("gcs", 401, "AuthenticationRequired", Denied, "Google credentials are not valid"),
        ("gcs", 429, "SlowDown", Unreachable, "429 SlowDown"),
        ("azure", 404, "ContainerNotFound", Permanent, "container 'lake' does not exist"),
        ("azure", 404, "BlobNotFound", NotFound, "k does not exist"),
        ("azure", 403, "AuthenticationFailed", Denied, "Azure credentials are not valid"),
        ("azure", 403, "AuthorizationPermissionMismatch", Denied, "Storage Blob Data Contributor"),
        ("azure", 503, "ServerBusy", Unreachable, "503 ServerBusy"),
    ],
)
def test_an_answer_becomes_the_right_error(
    cloud: str, status: int, code: str, kind: type[SharderError], says: str
) -> None:
    error = said(answer(status, code), TERMS[cloud])
    assert type(error) is kind
    assert says in str(error)
    assert "secret details" not in str(error)


@pytest.mark.parametrize("terms", TERMS.values(), ids=TERMS)
def test_every_cloud_has_a_hint_for_every_trouble(terms: Terms) -> None:
    names = {"absent", "refused", "expired", "elsewhere", "none", "rights", "silent"}
    assert terms.hints.keys() == names


def test_no_answer_is_unreachable() -> None:
    error = said(RuntimeError("HTTP error: error sending request"))
    assert type(error) is Unreachable
    assert "bucket 'lake' does not answer: HTTP error" in str(error)


@pytest.mark.parametrize(
    "place", ["169.254.169.254/latest/api/token", "metadata.google.internal/computeMetadata"]
)
def test_no_credentials_anywhere_is_denied_and_not_unreachable(place: str) -> None:
    error = said(RuntimeError(f"Error performing PUT http://{place} in 9s - HTTP error"))
    assert type(error) is Denied
    assert "no AWS credentials were found" in str(error)


@pytest.mark.parametrize("status", [400, 401, 404])
def test_a_token_that_is_refused_is_denied_and_no_missing_object(status: int) -> None:
    error = said(
        RuntimeError(
            "Generic MicrosoftAzure error: Error performing token request: Error performing POST "
            f"https://login.example/t/oauth2 in 3ms - Server returned non-2xx status code: {status} no"
        ),
        azure.TERMS,
    )
    assert type(error) is Denied
    assert "Azure credentials were refused" in str(error)


def test_an_object_exists_by_412_or_by_the_clouds_own_code() -> None:
    assert Failure.of(answer(412, "PreconditionFailed")).exists(s3.TERMS)
    assert not Failure.of(answer(409, "ConditionalRequestConflict")).exists(s3.TERMS)
    assert Failure.of(answer(409, "BlobAlreadyExists")).exists(azure.TERMS)
    assert not Failure.of(answer(409, "ContainerBeingDeleted")).exists(azure.TERMS)


def test_a_reader_refuses_a_place_before_the_start() -> None:
    reader = RangeReader(3, memoryview(b"abc"), lambda start, end: memoryview(b"abc")[start:end])
    with pytest.raises(ValueError, match="negative position: -1"):
        reader.seek(-4, io.SEEK_END)
    assert reader.seek(10) == 10
    assert reader.read(1) == b""
