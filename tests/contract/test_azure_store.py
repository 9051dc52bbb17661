"""Azure Blob Storage as a store, on Microsoft's own emulator."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.errors import Denied, InputError, NotFound, Permanent, Unreachable
from contracts.store import Store, open_store, probe
from contracts.store.objects import ObjectStore
from contracts.store.places import AzurePlace, open_place
from tests.fakes.servers import Azurite, free_port
from tests.suites.store import MEBIBYTE, StoreSuite, keys

pytestmark = pytest.mark.azure


class TestAzure(StoreSuite):
    @pytest.fixture
    def store(self, azure_url: str) -> Store:
        store = open_store(azure_url)
        assert isinstance(store, ObjectStore)
        return store

    @pytest.fixture
    def reopen(self) -> Callable[[str], Store]:
        return open_store


def uses(store: Store) -> list[Callable[[], object]]:
    return [
        lambda: probe(store),
        lambda: store.get("k"),
        lambda: store.open_read("k"),
        lambda: keys(store),
        lambda: store.put("k", b""),
    ]


def test_an_aborted_upload_of_many_blocks_is_never_seen(azure_url: str) -> None:
    store = open_store(azure_url)
    upload = store.open_write("data/part")
    for _ in range(20):
        upload.write(bytes(MEBIBYTE))
    upload.abort()
    assert keys(store) == []
    with pytest.raises(NotFound):
        store.get("data/part")
    store.put("data/part", b"1")
    assert keys(store) == ["data/part"]


def test_hadoops_url_opens_the_same_container(azurite: Azurite, azure_url: str) -> None:
    store = open_store(azure_url)
    store.put("k", b"1")
    _, _, rest = azure_url.partition(f"{azurite.account}/")
    container, _, prefix = rest.partition("/")
    hadoop = f"abfss://{container}@{azurite.account}.dfs.core.windows.net/{prefix}"
    again = open_store(hadoop)
    assert again.get("k") == b"1"
    assert again.url == store.url == azure_url


def test_a_connection_string_is_enough(
    azurite: Azurite, azure_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ENDPOINT")
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_KEY")
    text = (
        f"DefaultEndpointsProtocol=http;AccountName={azurite.account};AccountKey={azurite.key};"
        f"BlobEndpoint={azurite.endpoint}/{azurite.account};"
    )
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
    assert open_store(azure_url).create("k", b"1")


def test_a_place_is_a_container_and_its_keys_are_taken_as_they_are(azurite: Azurite) -> None:
    store = open_place(AzurePlace(azurite.account, azurite.create()), os.environ)
    names = ["a b/ü/k=1/x+y.csv", "dt=2026-01-01/{x}~#?.parquet"]
    for name in names:
        store.put(name, b"1")
        assert store.get(name) == b"1"
    assert keys(store) == names


def test_a_missing_container_is_said_and_is_not_a_missing_object(azurite: Azurite) -> None:
    for use in uses(open_store(f"az://{azurite.account}/nothing/stage")):
        with pytest.raises(Permanent, match="container 'nothing' does not exist") as caught:
            use()
        assert not isinstance(caught.value, NotFound)


def test_a_wrong_key_is_denied(azure_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "d3Jvbmc=")
    for use in uses(open_store(azure_url)):
        with pytest.raises(Denied, match="credentials may not") as caught:
            use()
        assert "d3Jvbmc" not in str(caught.value)


def test_a_key_that_is_none_is_said_at_once(
    azure_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "not base64!")
    with pytest.raises(Denied, match="Azure credentials cannot be used") as caught:
        open_store(azure_url)
    assert "base64!" not in str(caught.value)


def test_an_endpoint_that_does_not_answer_is_said(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", f"http://127.0.0.1:{free_port()}/lake")
    store = open_store("az://lake/stage", patience_s=0.2, sleep=lambda _: None)
    for use in uses(store):
        with pytest.raises(Unreachable, match="container 'stage' does not answer"):
            use()


def test_plain_http_beyond_this_machine_needs_a_word(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", "http://store.invalid:10000/lake")
    with pytest.raises(InputError, match="AZURE_ALLOW_HTTP"):
        open_store("az://lake/stage")
    monkeypatch.setenv("AZURE_ALLOW_HTTP", "true")
    open_store("az://lake/stage").close()


def test_az_login_is_used_where_nothing_else_is_given(
    azure_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A program called `az` hands out the token; the emulator refuses it, and we see that it was asked."""
    az = tmp_path / "az"
    az.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\necho \'{{"accessToken": "t"\'\n')
    az.chmod(0o700)
    (tmp_path / "azureProfile.json").write_text("{}")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("AZURE_CONFIG_DIR", str(tmp_path))
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_KEY")
    with pytest.raises((Denied, Unreachable)):
        open_store(azure_url).get("k")
    assert "get-access-token" in (tmp_path / "asked").read_text()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("az://", "no container in"),
        ("az://account", "no container in"),
        ("az://Acc_ount/container", "not the name of a storage account"),
        ("abfss://container/prefix", "not an Azure URL"),
    ],
)
def test_a_url_that_names_no_container_is_refused(url: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        open_store(url)
