"""`azblob` keeps the contract of files, on Microsoft's own emulator."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.store import Store, open_store
from tests.fakes.servers import Azurite
from tests.suites.files import FilesSuite

pytestmark = pytest.mark.azure


@pytest.fixture
def container(azurite: Azurite) -> str:
    return azurite.create()


@pytest.fixture
def store(azurite: Azurite, container: str) -> Store:
    return open_store(f"az://{azurite.account}/{container}")


@pytest.fixture
def base(azurite: Azurite, container: str) -> dict[str, Any]:
    return {"storage_account": azurite.account, "container": container}


@pytest.fixture
def prefix() -> str:
    return "somewhere/"


class TestAzblob(FilesSuite):
    plugin = "azblob"
    formats = ("json", "parquet")
