"""Google Cloud Storage as a store, on a server that does what the reference of the XML API says."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest

from contracts.errors import Denied, InputError, NotFound, Permanent, StoreUnfit, Unreachable
from contracts.store import Store, open_store, probe
from contracts.store.objects import ObjectStore
from contracts.store.places import GcsPlace, open_place
from tests.fakes.servers import Gcs, free_port
from tests.suites.store import MEBIBYTE, StoreSuite, keys


class TestGcs(StoreSuite):
    @pytest.fixture
    def store(self, gcs_url: str) -> Store:
        store = open_store(gcs_url)
        assert isinstance(store, ObjectStore)
        return store

    @pytest.fixture
    def reopen(self) -> Callable[[str], Store]:
        return open_store


def methods(gcs: Gcs) -> list[str]:
    return [method for method, _ in gcs.requests()]


def uses(store: Store) -> list[Callable[[], object]]:
    return [
        lambda: probe(store),
        lambda: store.get("k"),
        lambda: store.open_read("k"),
        lambda: keys(store),
        lambda: store.put("k", b""),
    ]


def test_a_small_object_costs_one_request(gcs: Gcs, gcs_url: str) -> None:
    store = open_store(gcs_url)
    methods(gcs)
    upload = store.open_write("data/part")
    upload.write(b"x" * 5_000_000)
    upload.close()
    assert methods(gcs) == ["PUT"]
    assert store.create("c", b"1" * 100)
    assert methods(gcs) == ["PUT"]
    with store.open_read("c") as reader:
        assert reader.read() == b"1" * 100
    assert methods(gcs) == ["GET"]


def test_an_aborted_upload_removes_the_pieces_that_were_sent(gcs: Gcs, gcs_url: str) -> None:
    upload = open_store(gcs_url).open_write("data/part")
    for _ in range(20):
        upload.write(bytes(MEBIBYTE))
    upload.abort()
    assert methods(gcs)[-1] == "DELETE"


def test_a_create_whose_reply_was_lost_is_asked_again_and_the_object_stays(gcs: Gcs) -> None:
    store = open_store(f"gs://{gcs.create('mute')}/stage", sleep=lambda _: None)
    methods(gcs)
    assert not store.create("k", b"ours")
    assert store.get("k") == b"ours"
    assert methods(gcs) == ["PUT", "PUT", "GET"]


def test_the_probe_refuses_a_store_that_ignores_conditions(gcs: Gcs) -> None:
    store = open_store(f"gs://{gcs.create('deaf')}")
    with pytest.raises(StoreUnfit, match="ignores 'create only' conditions"):
        probe(store)
    assert keys(store) == []


def test_the_probe_refuses_a_server_that_only_resembles_gcs(gcs: Gcs) -> None:
    with pytest.raises(StoreUnfit, match=r"not quite Google's store: .*ETag"):
        probe(open_store(f"gs://{gcs.create('bare')}"))


def test_a_missing_bucket_is_said_and_is_not_a_missing_object(gcs: Gcs) -> None:
    for use in uses(open_store("gs://no-such-bucket/stage")):
        with pytest.raises(Permanent, match="bucket 'no-such-bucket' does not exist") as caught:
            use()
        assert not isinstance(caught.value, NotFound)


def test_a_denied_bucket_is_said(gcs: Gcs) -> None:
    for use in uses(open_store(f"gs://{gcs.create('denied')}")):
        with pytest.raises(Denied, match=r"(?s)bucket 'denied-.*roles/storage.objectUser"):
            use()


def test_an_endpoint_that_does_not_answer_is_said(
    gcs: Gcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"127.0.0.1:{free_port()}")
    store = open_store("gs://lake/stage", patience_s=0.2, sleep=lambda _: None)
    for use in uses(store):
        with pytest.raises(Unreachable, match="bucket 'lake' does not answer"):
            use()


def test_a_place_is_a_bucket_and_its_keys_are_taken_as_they_are(gcs: Gcs) -> None:
    store = open_place(GcsPlace(gcs.create()), os.environ)
    names = ["a b/ü/k=1/x+y.csv", "a%2Fb.csv", "dt=2026-01-01/{x}~#?.parquet"]
    for name in names:
        store.put(name, b"1")
        assert store.get(name) == b"1"
    assert keys(store) == sorted(names)


@pytest.mark.parametrize("key", ["{not json", '{"type": "service_account", "private_key_id": "p"}'])
def test_a_service_accounts_key_that_is_none_is_said_at_once(key: str) -> None:
    with pytest.raises(Denied, match="Google credentials cannot be used"):
        open_place(GcsPlace("lake", key), {})


def test_the_key_of_the_place_is_used_and_not_the_environments(gcs: Gcs) -> None:
    """A key may name the server and ask for no token: so one sees that it was read."""
    bucket = gcs.create()
    key = json.dumps(
        {"gcs_base_url": gcs.endpoint, "disable_oauth": True, "client_email": "", "private_key": "",
         "private_key_id": ""}
    )  # fmt: skip
    environment = {"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere", "GOOGLE_ALLOW_HTTP": "true"}
    store = open_place(GcsPlace(bucket, key), environment)
    methods(gcs)
    assert store.create("k", b"1")
    assert methods(gcs) == ["PUT"]


def test_a_file_of_credentials_that_is_not_there_is_said() -> None:
    with pytest.raises(Denied, match=r"/nowhere: No such file"):
        open_store("gs://lake", environment={"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere"})


def test_a_url_without_a_bucket_is_refused() -> None:
    with pytest.raises(InputError, match="no bucket"):
        open_store("gs://")
