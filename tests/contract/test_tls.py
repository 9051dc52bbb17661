"""The broker and the warehouse behind TLS: a certificate is checked, and who is not trusted is told so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.errors import Exit, InputError, Unreachable
from contracts.fleet import CeleryQueue, RedisHeart, check, masked
from contracts.queue import Message
from loader.prepare import prepare
from tests.fakes.ear import Ear
from tests.fakes.fleet_worker import FleetWorker
from tests.fakes.servers import running
from tests.fakes.stage import StageRun
from tests.fakes.tls import Authority, TlsPostgres, TlsRedis
from tests.suites.queue import shards


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def secure(authority: Authority) -> Iterator[TlsRedis]:
    yield from running(lambda: TlsRedis(authority, password="pl4nted"))


@pytest.fixture(scope="module")
def postgres(authority: Authority) -> Iterator[TlsPostgres]:
    yield from running(lambda: TlsPostgres(authority))


@pytest.mark.redis
@pytest.mark.parametrize("means", ["SSL_CERT_FILE", "the URL"])
def test_a_fleet_works_over_tls(
    secure: TlsRedis,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    means: str,
) -> None:
    url = secure.url
    if means == "the URL":
        url += f"?ssl_ca_certs={authority.file}"
    else:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    check(url)
    queue, heart = CeleryQueue(url), RedisHeart(url)
    with Ear() as ear, FleetWorker(url, "shards", ear, tmp_path) as worker:
        (message,) = shards(1)
        queue.put([message])
        # What another test left unacknowledged may come first.
        while (call := ear.hear()).message != message:
            call.finish()
        call.order("beat", "attempt-1")
        assert heart.fresh(message.run, message.job)
        assert queue.workers() == 1
        call.finish()
        assert worker.terminate() == Exit.OK
        assert "pl4nted" not in worker.log.read_text()
    queue.close()
    heart.close()


@pytest.mark.redis
def test_a_certificate_that_nobody_vouches_for_is_said(
    secure: TlsRedis, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    stranger = Authority(tmp_path)
    elsewhere = secure.url.replace("127.0.0.1", "localhost")
    for url in (
        secure.url,
        f"{secure.url}?ssl_ca_certs={stranger.file}",
        f"{elsewhere}?ssl_ca_certs={authority.file}",
    ):
        queue = CeleryQueue(url)
        for use in (lambda url=url: check(url), lambda queue=queue: queue.put(shards(1))):
            with pytest.raises(Unreachable, match=r"is not trusted: .*certificate") as caught:
                use()
            assert "SSL_CERT_FILE" in str(caught.value)
            assert "pl4nted" not in str(caught.value)
        queue.close()


@pytest.mark.postgres
def test_a_warehouse_whose_certificate_is_checked_in_full(
    postgres: TlsPostgres, authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path)

    def error(words: str, number: int) -> str:
        spec = {"connection_string": f"{postgres.dsn()}?sslmode={words}"}
        run = StageRun(
            tmp_path / "stage", spec=spec, path="cloudquery/postgresql", run=f"run-{number}"
        )
        prepare(Message("prepare", run.run, destination="w"), stage=run.stage, environment={})
        found = run.stage.cursors(run.run, "w")
        assert found
        return found.error.message if found.error else ""

    assert error(f"verify-full&sslrootcert={authority.file}", 1) == ""
    assert "certificate verify failed" in error(f"verify-full&sslrootcert={stranger.file}", 2)
    assert postgres.password not in error(f"verify-full&sslrootcert={stranger.file}", 3)
    assert "no encryption" in error("disable", 4)


MASKED = {
    "redis://h:1/0": "redis://h:1/0",
    "redis://me@h:1/0": "redis://me@h:1/0",
    "redis://:pl4nted@h:1/0": "redis://:***@h:1/0",
    "redis://me:pl4/nt@ed@h:1/0": "redis://me:***@h:1/0",
    "redis://me:pl4#nt?ed@h:1/0": "redis://me:***@h:1/0",
    "redis://pl4/nted@h:1/0": "redis://***@h:1/0",
    "rediss://h:1/0?password=pl4nted&db=1": "rediss://h:1/0?password=***&db=1",
    "rediss://h:1/0?db=1&ssl_password=pl4nted": "rediss://h:1/0?db=1&ssl_password=***",
}


@pytest.mark.parametrize("url", MASKED)
def test_no_part_of_a_brokers_password_is_shown(url: str) -> None:
    assert masked(url) == MASKED[url]


@pytest.mark.parametrize("separator", "/#?@")
def test_no_part_of_it_is_taken_for_a_host(separator: str) -> None:
    password = f"pl4nted{separator}rest1"
    for login in (f"me:{password}", f":{password}", password):
        with pytest.raises((Unreachable, InputError)) as caught:
            check(f"redis://{login}@127.0.0.1:1/0")
        assert "pl4nted" not in str(caught.value)
        assert "rest1" not in str(caught.value)
