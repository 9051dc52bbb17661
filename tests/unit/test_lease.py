"""Leases refuse a second run of the same source politely, and never outlive their holder for long."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contracts import layout
from contracts.errors import Exit, LeaseHeld
from contracts.store import Store, open_store
from contracts.store.local import LocalStore
from sharder.holding import Leases
from sharder.lease import (
    EXPIRES_S,
    WATCH,
    Lease,
    alive,
    beside,
    born,
    holders,
    parallel,
    read,
    watched,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PAIRS = [("aws", "lake"), ("aws", "other")]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


def leases(store: Store, run: str, now: datetime = NOW) -> Leases:
    return Leases(store, run, PAIRS, now=lambda: now)


def held(store: Store, **more: object) -> None:
    """Somebody else's lease."""
    facts: dict[str, object] = {
        "run": "first", "source": "aws", "destination": "lake", "host": "elsewhere", "pid": 7,
        "renewed": NOW,
    }  # fmt: skip
    lease = Lease.model_validate(facts | more)
    store.put(layout.lease("aws", "lake"), lease.to_bytes())


def test_a_lease_is_there_while_the_run_is(store: Store) -> None:
    mine = leases(store, "first")
    mine.take()
    found = read(store, "aws", "other")
    assert found
    assert (found.run, found.pid, found.host) == ("first", os.getpid(), socket.gethostname())
    mine.release()
    assert read(store, "aws", "other") is None


def test_another_run_is_refused_with_its_name_and_what_to_do(store: Store) -> None:
    held(store)
    with pytest.raises(LeaseHeld, match="run first is syncing source 'aws' into 'lake'") as refused:
        leases(store, "second").take()
    assert "sharder cancel first" in refused.value.hint
    assert refused.value.exit_code == Exit.LEASE


def test_the_same_run_takes_its_own_lease_over(store: Store) -> None:
    held(store, run="mine")
    again = leases(store, "mine")
    again.take()
    again.release()


def test_a_lease_that_was_not_renewed_is_taken_over(store: Store) -> None:
    held(store)
    later = leases(store, "second", NOW + timedelta(seconds=EXPIRES_S + 1))
    later.take()
    later.release()


def test_a_holder_that_died_on_this_machine_is_known_at_once() -> None:
    here = socket.gethostname()
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    lease = Lease(run="r", source="s", destination="d", host=here, pid=gone.pid, renewed=NOW)
    assert not alive(lease, NOW, here)
    assert alive(lease, NOW, "another")


def test_a_later_process_of_the_same_number_is_not_the_holder() -> None:
    here, me = socket.gethostname(), os.getpid()
    lease = Lease(run="r", source="s", destination="d", host=here, pid=me, renewed=NOW, born="1")
    assert not alive(lease, NOW, here)
    assert alive(lease.model_copy(update={"born": born(me)}), NOW, here)


def test_a_run_that_was_left_keeps_its_leases_for_whoever_watches_it(store: Store) -> None:
    mine = leases(store, "first")
    mine.take()
    mine.leave()
    mine.release()
    found = read(store, "aws", "lake")
    assert found
    assert found.pid == 0
    with pytest.raises(LeaseHeld):
        leases(store, "second").take()


def test_only_our_own_leases_are_given_back(store: Store) -> None:
    mine = leases(store, "first")
    mine.take()
    held(store, run="thief")
    mine.release()
    found = read(store, "aws", "lake")
    assert found
    assert found.run == "thief"


def test_a_watch_announces_itself(store: Store) -> None:
    assert not watched(store, NOW)
    service = Leases(store, "watch", [WATCH], now=lambda: NOW)
    service.take()
    assert watched(store, NOW)
    service.release()
    assert not watched(store, NOW)


PART = "1/2"
TWO = timedelta(seconds=EXPIRES_S + 1)


def shard(store: Store, run: str, part: str, sync_id: str = "", now: datetime = NOW) -> Leases:
    return Leases(store, run, PAIRS, now=lambda: now, part=part, sync_id=sync_id)


@contextmanager
def taken(one: Leases) -> Iterator[Leases]:
    one.take()
    try:
        yield one
    finally:
        one.release()


def test_shards_of_one_deal_hold_leases_side_by_side(store: Store) -> None:
    with taken(shard(store, "x-1-of-2", "1/2", "x")), taken(shard(store, "x-2-of-2", "2/2", "x")):
        found = read(store, "aws", "lake", "2/2")
        assert found
        assert (found.run, found.part, found.sync_id) == ("x-2-of-2", "2/2", "x")
        assert read(store, "aws", "lake") is None
        assert holders(store) == set()  # their clock stands in the past
    assert not list(store.list(layout.LEASES))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("", ""), ("1/2", "")),
        (("1/2", ""), ("", "")),
        (("1/2", ""), ("1/2", "")),
        (("1/2", ""), ("2/3", "")),
        (("1/2", "x"), ("2/2", "y")),
    ],
    ids=["whole, shard", "shard, whole", "the same n", "another m", "another invocation"],
)
def test_what_may_have_the_same_tables_is_refused(
    store: Store, first: tuple[str, str], second: tuple[str, str]
) -> None:
    with taken(shard(store, "first", *first)):
        with pytest.raises(LeaseHeld, match="run first") as refused:
            shard(store, "second", *second).take()
        assert refused.value.exit_code == Exit.LEASE
        found = [lease.run for _, lease in beside(store, "aws", "lake")]
        assert found == ["first"]


def test_shards_without_a_named_invocation_go_beside_any_of_their_deal() -> None:
    assert parallel("1/2", "", "2/2", "x")
    assert parallel("1/2", "x", "2/2", "x")
    assert not parallel("1/2", "x", "2/2", "y")
    assert not parallel("", "", "", "")


def test_another_m_is_told_what_all_of_them_must_say(store: Store) -> None:
    with taken(shard(store, "first", "1/2")):
        with pytest.raises(LeaseHeld, match=r"run first, shard 1/2, is syncing") as refused:
            shard(store, "second", "2/3").take()
        assert "the same m" in refused.value.hint


def test_a_dead_shard_is_in_nobodys_way(store: Store) -> None:
    dead = {"run": "first", "source": "aws", "destination": "lake", "host": "elsewhere", "pid": 7}
    lease = Lease.model_validate({**dead, "renewed": NOW - TWO, "part": "1/3"})
    store.put(layout.lease("aws", "lake", "1/3"), lease.to_bytes())
    with taken(leases(store, "second")) as second:
        second.renew()


def test_who_sleeps_too_long_leaves_the_lease_to_the_one_that_took_it_over(store: Store) -> None:
    sleeper = leases(store, "first")
    sleeper.take()
    held(store, run="second", renewed=NOW + TWO)
    awake = Leases(store, "first", PAIRS, now=lambda: NOW + TWO)
    for one in (sleeper, awake):
        one.renew()
        found = read(store, "aws", "lake")
        assert found
        assert found.run == "second"
    sleeper.release()
    assert [found.run for _, found in beside(store, "aws", "lake")] == ["second"]


def test_a_lease_is_renewed_while_it_is_ours_or_nobodys(store: Store) -> None:
    times = [NOW]
    mine = Leases(store, "first", PAIRS, now=lambda: times[-1])
    mine.take()
    times.append(NOW + timedelta(seconds=60))
    mine.renew()
    found = read(store, "aws", "lake")
    assert found
    assert found.renewed == times[-1]
    store.delete([layout.lease("aws", "lake")])
    mine.renew()
    assert read(store, "aws", "lake") == found
    mine.release()


def test_of_two_who_take_a_lease_in_the_same_instant_at_most_one_gets_it(store: Store) -> None:
    class Racing(LocalStore):
        """Somebody else writes between our look and our write."""

        raced = False

        def create(self, key: str, data: bytes) -> bool:
            if not Racing.raced:
                Racing.raced = True
                held(store, run="faster")
            return super().create(key, data)

    with pytest.raises(LeaseHeld, match="run faster"):
        Leases(Racing(Path(store.url)), "slower", PAIRS, now=lambda: NOW).take()
    assert [found.run for _, found in beside(store, "aws", "lake")] == ["faster"]


def test_a_whole_run_that_comes_between_the_look_and_the_write_is_seen(store: Store) -> None:
    class Racing(LocalStore):
        def create(self, key: str, data: bytes) -> bool:
            held(store, run="faster")
            return super().create(key, data)

    with pytest.raises(LeaseHeld, match="run faster"):
        Leases(Racing(Path(store.url)), "slower", PAIRS, now=lambda: NOW, part=PART).take()
    assert [found.run for _, found in beside(store, "aws", "lake")] == ["faster"]
