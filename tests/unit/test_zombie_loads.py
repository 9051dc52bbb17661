"""Loaders that were suspended or taken for dead: what they write when they wake up, and what the receipt says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from contracts import layout
from contracts.errors import Permanent, Unreachable
from contracts.receipt import Receipt
from loader.cache import Warehouses, open_destination
from loader.documents import OpenDestination
from loader.warehouses import postgresql
from tests.fakes.fleet import until
from tests.fakes.stage import NOW, StageRun, rows, shard

DAY = timedelta(days=1)


class Sleeper:
    """A warehouse whose publish begins with something else that happens meanwhile."""

    def __init__(self, real: Any, meanwhile: list[Callable[[], object]]) -> None:
        self._real, self._meanwhile = real, meanwhile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def publish(self, p: Any) -> Any:
        if self._meanwhile:
            self._meanwhile.pop()()
        return self._real.publish(p)


def asleep(meanwhile: Callable[[], object]) -> Warehouses:
    """Warehouses of a loader that sleeps before its first publish."""
    left = [meanwhile]

    def open_(found: OpenDestination) -> Any:
        return Sleeper(open_destination(found), left)

    return Warehouses(open_)


class Place:
    """A warehouse, and runs into its table `items`, appended."""

    def __init__(self, stage: Path, path: str, spec: dict[str, Any]) -> None:
        self._stage, self._path, self._spec = stage, path, spec

    def run(self, day: int = 0, warehouses: Warehouses | None = None) -> StageRun:
        return StageRun(
            self._stage, spec=self._spec, path=self._path, run=f"run-{day}", sync_time=NOW + day * DAY,
            write_mode="append", warehouses=warehouses,
        )  # fmt: skip

    def ids(self) -> list[int]:
        query = "SELECT id FROM items ORDER BY id"
        place = self._spec["connection_string"]
        if self._path.endswith("duckdb"):
            with duckdb.connect(place) as connection:
                return [n for (n,) in connection.execute(query).fetchall()]
        with psycopg.connect(place) as connection:
            return [n for (n,) in connection.execute(query).fetchall()]


@pytest.fixture(params=["duckdb", pytest.param("postgresql", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    file = str(tmp_path / "w.duckdb")
    dsn = file if request.param == "duckdb" else request.getfixturevalue("postgres_dsn")
    return Place(tmp_path / "stage", f"cloudquery/{request.param}", {"connection_string": dsn})


def key(run: StageRun, round_: int = 1) -> str:
    return layout.receipt(run.run, "w", run.source, run.top.name, round_)


def give_up(run: StageRun) -> None:
    """As a watcher does, that cannot know what is in the warehouse."""
    now = datetime.now(UTC)
    run.stage.create_receipt(
        Receipt(
            run=run.run, destination="w", source=run.source, table=run.top.name, round=1, rounds=(1,),
            load="watch", outcome="failed", error="the load was lost", started=now, ended=now,
        )
    )  # fmt: skip


def publish_without_a_receipt(run: StageRun) -> None:
    """Another attempt, which dies between its publish and its receipt."""
    assert run.load().outcome == "ok"
    run.stage.store.delete([key(run)])


def late(place: Place, meanwhile: Callable[[], object]) -> Receipt:
    """What the loader that slept ends with."""
    with_sleep = asleep(meanwhile)
    try:
        return place.run(warehouses=with_sleep).load()
    finally:
        with_sleep.close()


@pytest.fixture
def run(place: Place) -> StageRun:
    found = place.run()
    found.round([shard({"a": rows(1, 2)})])
    return found


def test_an_attempt_that_fails_after_another_has_published_does_not_call_the_load_failed(
    place, run
):
    def published_and_then_our_disk_was_full() -> None:
        publish_without_a_receipt(run)
        raise Permanent("no space left on device")

    receipt = late(place, published_and_then_our_disk_was_full)
    assert (receipt.outcome, receipt.published) == ("ok", 2)
    assert place.ids() == [1, 2]


def test_a_load_over_which_a_newer_run_was_published_is_known_to_be_in(place, run):
    newer = place.run(1)
    newer.round([shard({"a": rows(3)})])
    publish_without_a_receipt(run)
    assert newer.load().outcome == "ok"
    receipt = run.load()
    assert (receipt.outcome, receipt.published) == ("ok", 2)
    assert place.ids() == [1, 2, 3]


def test_a_loader_that_wakes_up_after_a_newer_run_writes_nothing(place, run):
    newer = place.run(1)
    newer.round([shard({"a": rows(3)})])
    receipt = late(place, newer.load)
    assert receipt.outcome == "failed"
    assert "run run-1" in receipt.error
    assert place.ids() == [3]


def test_a_loader_that_wakes_up_after_it_was_given_up_writes_nothing(place, run):
    receipt = late(place, lambda: give_up(run))
    assert (receipt.outcome, receipt.error) == ("failed", "the load was lost")
    assert place.ids() == []
    run.round([], number=2)
    assert run.load(2).published == 2
    assert place.ids() == [1, 2]


def test_a_loader_that_wakes_up_after_another_attempt_writes_nothing(place, run):
    receipt = late(place, run.load)
    assert (receipt.outcome, receipt.published) == ("ok", 2)
    assert place.ids() == [1, 2]


def test_a_loader_that_wakes_up_after_the_run_was_retried_writes_nothing(place, run):
    def retried() -> None:
        give_up(run)
        run.round([shard({"b": rows(3)})], number=2)
        assert run.load(2).published == 3

    assert late(place, retried).outcome == "failed"
    assert place.ids() == [1, 2, 3]


def test_rows_that_are_in_although_the_receipt_says_failed_are_not_appended_again_by_a_retry(
    place, run
):
    """A watcher may give a load up in the very moment in which it is committed."""
    publish_without_a_receipt(run)
    give_up(run)
    run.round([shard({"b": rows(3)})], number=2)
    receipt = run.load(2)
    assert (receipt.outcome, receipt.published) == ("ok", 1)
    assert place.ids() == [1, 2, 3]


def sleep_in_a_transaction(warehouse: postgresql.PostgreSQL, other: psycopg.Connection) -> None:
    """Two statements, and between them nothing until the server has ended the session."""
    query = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'sharder'"
    with warehouse.transaction():
        warehouse.query("SELECT 1")
        until(lambda: not other.execute(query).fetchall())
        warehouse.query("SELECT 1")


@pytest.mark.postgres
def test_a_loader_asleep_in_its_transaction_loses_it_and_may_come_again(postgres_dsn):
    warehouse = postgresql.open({"connection_string": postgres_dsn})
    with psycopg.connect(postgres_dsn, autocommit=True) as other:
        ((shown,),) = warehouse.query("SHOW idle_in_transaction_session_timeout")
        assert shown == f"{postgresql.ASLEEP_S}s"
        warehouse.execute("SET idle_in_transaction_session_timeout = 1")
        with pytest.raises(Unreachable):
            sleep_in_a_transaction(warehouse, other)
    warehouse.close()
