"""S3 as a store, on a real S3 simulator; its buckets misbehave as their names say."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from contracts.errors import (
    Denied,
    InputError,
    NotFound,
    Permanent,
    StoreUnfit,
    Unreachable,
)
from contracts.store import Store, open_store, probe
from contracts.store.objects import ObjectStore
from tests.fakes.servers import S3, free_port
from tests.suites.store import StoreSuite, keys

pytestmark = pytest.mark.s3


class TestObjectStore(StoreSuite):
    @pytest.fixture
    def store(self, s3_url: str) -> Store:
        return open_store(s3_url)

    @pytest.fixture
    def reopen(self) -> Callable[[str], Store]:
        return open_store


@pytest.fixture
def open_bucket(s3: S3) -> Callable[[str], ObjectStore]:
    """A store in a fresh bucket that misbehaves in the named way."""

    def make(kind: str) -> ObjectStore:
        store = open_store(f"s3://{s3.create(kind)}/stage")
        assert isinstance(store, ObjectStore)
        s3.requests()
        return store

    return make


def methods(s3: S3) -> list[str]:
    return [method for method, _ in s3.requests()]


def test_a_small_object_costs_one_request(
    s3: S3, open_bucket: Callable[[str], ObjectStore]
) -> None:
    store = open_bucket("plain")
    upload = store.open_write("data/part")
    upload.write(b"x" * 5_000_000)
    upload.close()
    assert methods(s3) == ["PUT"]
    store.put("k", b"1" * 100)
    assert methods(s3) == ["PUT"]
    assert store.create("c", b"1")
    assert methods(s3) == ["PUT"]
    with store.open_read("k") as reader:
        assert reader.read() == b"1" * 100
    assert methods(s3) == ["GET"]
    store.delete(["k", "c", "data/part"])
    assert methods(s3) == ["POST"]


def test_an_aborted_upload_removes_the_pieces_that_were_sent(
    s3: S3, open_bucket: Callable[[str], ObjectStore]
) -> None:
    upload = open_bucket("plain").open_write("data/part")
    for _ in range(20):
        upload.write(b"x" * 1_000_000)
    upload.abort()
    assert methods(s3)[-1] == "DELETE"


def test_the_prefix_keeps_two_stages_apart(s3: S3) -> None:
    bucket = s3.create()
    one, two = open_store(f"s3://{bucket}/one/"), open_store(f"s3://{bucket}/two")
    whole = open_store(f"s3://{bucket}")
    one.put("k", b"1")
    two.put("k", b"2")
    assert one.get("k") == b"1"
    assert keys(one) == ["k"]
    assert keys(whole) == ["one/k", "two/k"]
    assert (one.url, whole.url) == (f"s3://{bucket}/one", f"s3://{bucket}")


def test_the_probe_refuses_a_store_that_ignores_conditions(
    open_bucket: Callable[[str], ObjectStore],
) -> None:
    store = open_bucket("deaf")
    with pytest.raises(StoreUnfit, match="ignores 'create only' conditions"):
        probe(store)
    assert keys(store) == []


def test_a_missing_bucket_is_said_and_is_not_a_missing_object(s3: S3) -> None:
    store = open_store("s3://no-such-bucket/stage")
    for use in (
        lambda: probe(store),
        lambda: store.get("k"),
        lambda: store.open_read("k"),
        lambda: keys(store),
        lambda: store.put("k", b""),
    ):
        with pytest.raises(Permanent, match="bucket 'no-such-bucket' does not exist") as caught:
            use()
        assert not isinstance(caught.value, NotFound)


def test_a_denied_bucket_is_said(open_bucket: Callable[[str], ObjectStore]) -> None:
    store = open_bucket("denied")
    for use in (
        lambda: probe(store),
        lambda: store.get("k"),
        lambda: store.open_read("k"),
        lambda: keys(store),
        lambda: store.put("k", b""),
    ):
        with pytest.raises(Denied, match=rf"(?s)bucket '{store.bucket}'.*s3:PutObject") as caught:
            use()
        assert "test-secret" not in str(caught.value)


def test_an_endpoint_that_does_not_answer_is_said(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    store = open_store("s3://lake/stage", patience_s=0.2, sleep=lambda _: None)
    for use in (
        lambda: probe(store),
        lambda: store.get("k"),
        lambda: keys(store),
        lambda: store.put("k", b""),
        lambda: store.delete(["k"]),
    ):
        with pytest.raises(Unreachable, match="bucket 'lake' does not answer"):
            use()


def test_a_store_that_asks_to_slow_down_is_asked_again(
    open_bucket: Callable[[str], ObjectStore],
) -> None:
    store = open_bucket("slow")
    store.put("k", b"1")
    assert store.get("k") == b"1"
    assert store.create("c", b"1")


def test_a_conflict_is_not_mistaken_for_an_object_that_exists(
    s3: S3, open_bucket: Callable[[str], ObjectStore]
) -> None:
    store = open_bucket("busy")
    assert store.create("k", b"1")
    assert methods(s3) == ["PUT", "PUT"]
    assert store.get("k") == b"1"


def test_a_create_whose_reply_was_lost_is_asked_again_and_the_object_stays(
    s3: S3, open_bucket: Callable[[str], ObjectStore]
) -> None:
    store = open_bucket("mute")
    assert not store.create("k", b"ours")  # the second try meets the first one's object
    assert store.get("k") == b"ours"
    assert methods(s3) == ["PUT", "PUT", "GET"]


def test_credentials_come_from_a_profile(
    s3: S3, s3_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = tmp_path_factory.mktemp("aws") / "config"
    config.write_text(
        f"[profile lake]\naws_access_key_id={s3.key}\naws_secret_access_key={s3.secret}\n"
        f"region={s3.region}\n"
    )
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "lake")
    store = open_store(s3_url)
    assert store.create("k", b"1")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(Denied, match="nobody"):
        open_store(s3_url)


def test_plain_http_beyond_this_machine_needs_a_word(
    s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store.invalid:9000")
    with pytest.raises(InputError, match="AWS_ALLOW_HTTP"):
        open_store("s3://lake/stage")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    open_store("s3://lake/stage").close()


def test_a_url_without_a_bucket_is_refused() -> None:
    with pytest.raises(InputError, match="no bucket"):
        open_store("s3://")


def test_an_unknown_kind_of_store_is_refused() -> None:
    with pytest.raises(InputError, match="use a directory, s3://bucket/prefix, gs://"):
        open_store("ftp://host/stage")
