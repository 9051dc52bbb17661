"""What every test shares: hypothesis without deadlines, sockets on loopback only, real servers.

Each xdist worker starts its own servers, when a test first asks for one. Without the server program
the test is skipped with a reason; where `CI` is set it fails.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from pytest_socket import socket_allow_hosts

from contracts.veil import VEIL
from tests.fakes.servers import S3, Azurite, Gcs, Postgres, Redis, running

settings.register_profile(
    "sharder",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile("long", settings.get_profile("sharder"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "sharder"))

# A shell that starts us in the background has us ignore SIGINT, and our children would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _group(item: pytest.Item) -> str:
    """Tests that share what is expensive to make go to one process; all others are dealt one by one."""
    assert isinstance(item, pytest.Function)
    scopes = {d.scope for defs in item._fixtureinfo.name2fixturedefs.values() for d in defs}
    if "module" in scopes or "package" in scopes:
        return item.nodeid.partition("::")[0]
    return item.nodeid.rpartition("::")[0] if "class" in scopes else ""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole runs first: what is long must not be what is left at the end, while other processes idle."""
    for item in items:
        if group := _group(item):
            item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: "scenario" not in item.path.parts)


@pytest.hookimpl(trylast=True)
def pytest_runtest_setup() -> None:
    socket_allow_hosts(["127.0.0.1", "::1", "localhost"], allow_unix_socket=True)


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left_where_the_tests_run() -> Iterator[None]:
    """Stages and databases belong into directories of the tests; git would not tell of those that lie about here."""

    def lying_about() -> set[Path]:
        return {p for glob in ("*.duckdb*", "stage", ".sharder") for p in Path.cwd().glob(glob)}

    here = Path.cwd()
    before = lying_about()
    yield
    assert Path.cwd() == here
    assert lying_about() <= before


@pytest.fixture(autouse=True)
def _no_secret_of_another_test_is_veiled() -> Iterator[None]:
    """A process remembers what its documents hold, to keep it out of what it says; a test is not one of many."""
    yield
    VEIL._secrets.clear()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    yield from running(Redis)


@pytest.fixture
def redis_url(redis_server: Redis) -> str:
    """An empty Redis."""
    import redis

    with redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    yield from running(Postgres)


@pytest.fixture
def postgres_dsn(postgres: Postgres) -> Iterator[str]:
    """A fresh, empty database."""
    dsn = postgres.create()
    yield dsn
    postgres.drop(dsn)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    yield from running(S3)


@pytest.fixture
def s3(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    """The S3 server, with the environment that leads there."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture
def s3_url(s3: S3) -> str:
    """A fresh bucket and a prefix in it."""
    return f"s3://{s3.create()}/stage"


@pytest.fixture(scope="session")
def azurite_server() -> Iterator[Azurite]:
    yield from running(Azurite)


@pytest.fixture
def azurite(azurite_server: Azurite, monkeypatch: pytest.MonkeyPatch) -> Azurite:
    """The emulator of Azure Blob Storage, with the environment that leads there."""
    for name in [name for name in os.environ if name.startswith(("AZURE_", "IDENTITY_"))]:
        monkeypatch.delenv(name)
    for name, value in azurite_server.environment().items():
        monkeypatch.setenv(name, value)
    return azurite_server


@pytest.fixture
def azure_url(azurite: Azurite) -> str:
    """A fresh container and a prefix in it."""
    return f"az://{azurite.account}/{azurite.create()}/stage"


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[Gcs]:
    yield from running(Gcs)


@pytest.fixture
def gcs(gcs_server: Gcs, monkeypatch: pytest.MonkeyPatch) -> Gcs:
    """The GCS server, with the environment that leads there."""
    for name in [name for name in os.environ if name.startswith("GOOGLE_")]:
        monkeypatch.delenv(name)
    for name, value in gcs_server.environment().items():
        monkeypatch.setenv(name, value)
    return gcs_server


@pytest.fixture
def gcs_url(gcs: Gcs) -> str:
    """A fresh bucket and a prefix in it."""
    return f"gs://{gcs.create()}/stage"
