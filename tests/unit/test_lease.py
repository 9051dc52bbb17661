"""Leases refuse a second run of the same source politely, and never outlive their holder for long."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contracts import layout
from contracts.errors import Exit, LeaseHeld
from contracts.store import Store, open_store
from sharder.lease import EXPIRES_S, WATCH, Lease, Leases, alive, born, read, watched

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
