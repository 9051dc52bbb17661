"""Which account, container and credentials an Azure URL and the environment name."""

from __future__ import annotations

import pytest

from contracts.store.azure import address, connection_string


@pytest.mark.parametrize(
    "url",
    [
        "az://lake/raw/elt/stage",
        "az://lake/raw/elt/stage/",
        "abfss://raw@lake.dfs.core.windows.net/elt/stage",
        "abfs://raw@lake.dfs.core.windows.net/elt/stage/",
    ],
)
def test_every_form_names_the_same_place(url: str) -> None:
    at = address(url)
    assert (at.account, at.container, at.prefix) == ("lake", "raw", "elt/stage")
    assert at.url == "az://lake/raw/elt/stage"


def test_the_prefix_may_be_left_out() -> None:
    assert address("az://lake/raw").url == address("abfss://raw@lake.dfs.core.windows.net").url


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (
            "DefaultEndpointsProtocol=https;AccountName=lake;AccountKey=a2V5PT0=;EndpointSuffix=core.windows.net",
            {"account_key": "a2V5PT0=", "endpoint": "https://lake.blob.core.windows.net"},
        ),
        (
            "BlobEndpoint=https://lake.blob.core.windows.net/;SharedAccessSignature=sv=2024&sig=x%3D",
            {"endpoint": "https://lake.blob.core.windows.net/", "sas_key": "sv=2024&sig=x%3D"},
        ),
        ("AccountName=other;AccountKey=a2V5", {}),
    ],
)
def test_a_connection_string_speaks_for_its_own_account_only(
    text: str, options: dict[str, str]
) -> None:
    assert connection_string(text, "lake") == options
