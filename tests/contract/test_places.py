"""Buckets of a spec's options: each option is seen again on the object, or in the request, that it is about."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from contracts.errors import Denied, InputError, SharderError, Unreachable
from contracts.store import Store
from contracts.store.places import S3Place, open_place
from contracts.store.s3 import virtual_host
from tests.fakes.servers import S3, running
from tests.suites.store import MEBIBYTE, StoreSuite, keys

pytestmark = pytest.mark.s3

KEY_ID = "arn:aws:kms:us-east-1:123456789012:key/abcd-1234"
ROLE = "arn:aws:iam::123456789012:role/lake"
Open = Callable[..., Store]


@pytest.fixture
def place(s3: S3) -> S3Place:
    return S3Place(s3.create(), path_style=True)


def opened(place: S3Place) -> Store:
    return open_place(place, os.environ)


def head(place: S3Place, key: str) -> Mapping[str, Any]:
    import boto3

    found: Mapping[str, Any] = boto3.client("s3").head_object(Bucket=place.bucket, Key=key)
    return found


def grants(place: S3Place, key: str) -> set[tuple[str, str]]:
    """Who may do what with an object."""
    import boto3

    found = boto3.client("s3").get_object_acl(Bucket=place.bucket, Key=key)["Grants"]
    return {(g["Grantee"].get("URI", "owner").rpartition("/")[2], g["Permission"]) for g in found}


def write(store: Store) -> list[str]:
    """An object of each way of writing; their keys."""
    store.put("put", b"1")
    assert store.create("create", b"1")
    for key, size in (("small", 10), ("large", 12 * MEBIBYTE)):
        upload = store.open_write(key)
        for _ in range(4):
            upload.write(bytes(size // 4))
        upload.close()
    return ["put", "create", "small", "large"]


class TestPlaceWithAcl(StoreSuite):
    """Written through boto3, read through obstore."""

    @pytest.fixture
    def store(self, place: S3Place) -> Store:
        return opened(replace(place, acl="public-read"))

    @pytest.fixture
    def reopen(self, place: S3Place) -> Callable[[str], Store]:
        return lambda _: opened(place)


@pytest.mark.parametrize("acl", ["", "public-read"])
@pytest.mark.parametrize(
    ("sse", "key_id"),
    [("", ""), ("AES256", ""), ("aws:kms", KEY_ID), ("aws:kms:dsse", KEY_ID)],
)
def test_every_object_gets_acl_encryption_and_content_type(
    s3: S3, place: S3Place, acl: str, sse: str, key_id: str
) -> None:
    place = replace(place, acl=acl, sse=sse, kms_key_id=key_id, content_type="text/x-lake")
    store = opened(place)
    s3.headers()
    names = write(store)
    asked = [h for h in s3.headers() if "x-amz-server-side-encryption" in h or "x-amz-acl" in h]
    assert len(asked) == (len(names) if acl or sse else 0)
    for headers in asked:
        assert headers.get("x-amz-acl", "") == acl
        assert headers.get("x-amz-server-side-encryption", "") == sse
        assert headers.get("x-amz-server-side-encryption-aws-kms-key-id", "") == key_id
        signed = headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0]
        assert headers.keys() - {"authorization"} <= set(signed.split(";"))
    for key in names:
        found = head(place, key)
        assert found["ContentType"] == "text/x-lake", key
        assert found.get("ServerSideEncryption", "") == sse, key
        if acl:  # the simulator remembers no ACL that was not asked for
            assert grants(place, key) == {("owner", "FULL_CONTROL"), ("AllUsers", "READ")}, key
        if sse == "aws:kms":  # nor the key of another kind
            assert found["SSEKMSKeyId"] == key_id, key


@pytest.mark.parametrize("acl", ["", "private"])
def test_large_objects_go_in_pieces_of_the_size_asked_for(s3: S3, place: S3Place, acl: str) -> None:
    place = replace(place, acl=acl, part_size=6 * MEBIBYTE)
    store = opened(place)
    s3.requests()
    upload = store.open_write("k")
    for _ in range(13):
        upload.write(bytes(MEBIBYTE))
    upload.close()
    pieces = [path for method, path in s3.requests() if method == "PUT"]
    assert len(pieces) == 3
    assert all("partNumber" in path for path in pieces)
    upload = store.open_write("small")
    upload.write(bytes(5 * MEBIBYTE))
    upload.close()
    assert [method for method, _ in s3.requests()] == ["PUT"]


@pytest.mark.parametrize("acl", ["", "private"])
def test_an_aborted_upload_leaves_no_pieces(s3: S3, place: S3Place, acl: str) -> None:
    upload = opened(replace(place, acl=acl)).open_write("k")
    upload.write(bytes(12 * MEBIBYTE))
    upload.abort()
    assert s3.requests()[-1][0] == "DELETE"
    assert keys(opened(place)) == []


def test_pieces_that_s3_would_refuse_are_refused_before(place: S3Place) -> None:
    with pytest.raises(InputError, match="part_size is 1000"):
        opened(replace(place, part_size=1000))


@pytest.mark.parametrize("acl", ["", "private"])
def test_a_role_is_assumed_with_its_name_and_external_id(s3: S3, place: S3Place, acl: str) -> None:
    role = replace(place, role_arn=ROLE, role_session_name="nightly", external_id="e-1", acl=acl)
    s3.forms()
    store = opened(role)
    asked, *_ = s3.forms()
    s3.signers()
    store.put("k", b"1")
    assert store.get("k") == b"1"
    assert asked["RoleArn"] == [ROLE]
    assert asked["RoleSessionName"] == ["nightly"]
    assert asked["ExternalId"] == ["e-1"]
    by_role = s3.signers()
    assert len(by_role) == 2
    assert all(key.startswith("ASIA") for key in by_role)


@pytest.mark.parametrize("acl", ["", "private"])
def test_a_role_that_may_not_be_assumed_is_denied(place: S3Place, acl: str) -> None:
    with pytest.raises(Denied, match=r"role/denied cannot be assumed.*AccessDenied"):
        opened(replace(place, role_arn=ROLE.replace("lake", "denied"), acl=acl))


@pytest.fixture
def profiles(
    s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A profile `lake`, beside the keys of the environment."""
    config = tmp_path_factory.mktemp("aws") / "config"
    config.write_text(
        "[profile lake]\naws_access_key_id=lake-key\naws_secret_access_key=lake-secret\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))


@pytest.mark.usefixtures("profiles")
@pytest.mark.parametrize("acl", ["", "private"])
def test_a_profile_wins_over_the_keys_of_the_environment(s3: S3, place: S3Place, acl: str) -> None:
    store = opened(replace(place, local_profile="lake", acl=acl))
    s3.signers()
    store.put("k", b"1")
    store.get("k")
    assert s3.signers() == ["lake-key", "lake-key"]


@pytest.mark.usefixtures("profiles")
def test_a_profile_that_does_not_exist_is_said(place: S3Place) -> None:
    with pytest.raises(Denied, match="nobody"):
        opened(replace(place, local_profile="nobody"))


@pytest.fixture(scope="module")
def tls_server() -> Iterator[S3]:
    yield from running(lambda: S3(tls=True))


@pytest.mark.parametrize("acl", ["", "private"])
def test_a_certificate_of_nobody_is_accepted_only_if_asked_for(
    s3: S3, tls_server: S3, acl: str
) -> None:
    place = S3Place(tls_server.create(), endpoint=tls_server.endpoint, path_style=True, acl=acl)
    place = replace(place, max_retries=0, max_backoff_s=0.1)
    with pytest.raises(Unreachable, match="does not answer"):
        opened(place).put("k", b"1")
    store = opened(replace(place, skip_tls_verify=True))
    store.put("k", b"1")
    assert store.get("k") == b"1"


def test_the_endpoint_of_the_place_wins_over_the_environments(
    s3: S3, place: S3Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    store = opened(replace(place, endpoint=s3.endpoint))
    store.put("k", b"1")
    assert store.get("k") == b"1"


@pytest.mark.parametrize("acl", ["", "private"])
@pytest.mark.parametrize("times", [0, 2])
def test_a_request_is_repeated_as_often_as_asked_for(s3: S3, acl: str, times: int) -> None:
    place = S3Place(s3.create("down"), path_style=True, acl=acl)
    store = opened(replace(place, max_retries=times, max_backoff_s=0.01))
    s3.requests()
    with pytest.raises(Unreachable, match="503"):
        store.put("k", b"1")
    assert len(s3.requests()) == times + 1


@pytest.mark.parametrize("acl", ["", "private"])
def test_denied_and_missing_buckets_are_said(s3: S3, acl: str) -> None:
    for bucket, says in ((s3.create("denied"), "may not write"), ("no-such", "does not exist")):
        store = opened(S3Place(bucket, path_style=True, acl=acl))
        with pytest.raises(SharderError, match=says) as caught:
            store.put("k", b"1")
        assert "test-secret" not in str(caught.value)


def test_debug_logs_every_operation(place: S3Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    opened(place).put("quiet", b"1")
    assert not caplog.messages
    opened(replace(place, debug=True)).put("loud", b"1")
    assert [m for m in caplog.messages if "verb=write key=loud seconds=" in m]


@pytest.mark.parametrize(
    ("bucket", "endpoint", "path_style", "virtual"),
    [
        ("lake", "", False, True),
        ("lake", "", True, False),
        ("lake.of.fire", "", False, False),
        ("lake", "https://store.example:9000", False, True),
        ("lake", "http://10.0.0.7:9000", False, False),
        ("lake", "http://[::1]:9000", False, False),
        ("lake", "http://localhost:9000", False, False),
    ],
)
def test_the_bucket_stands_in_the_host_name_where_it_can(
    bucket: str, endpoint: str, path_style: bool, virtual: bool
) -> None:
    assert virtual_host(bucket, endpoint, path_style=path_style) == virtual


@pytest.mark.parametrize("key", ["a b/ü/k=1/x+y.csv", "a%2Fb.csv", "dt=2026-01-01/{x}~#?.parquet"])
def test_keys_are_taken_as_they_are(place: S3Place, key: str) -> None:
    store = opened(place)
    store.put(key, b"1")
    assert store.get(key) == b"1"
    assert keys(store) == [key]
    assert head(place, key)["ContentLength"] == 1
