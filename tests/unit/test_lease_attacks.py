"""Leases under attack: racing takers, wrong clocks, damaged and newer leases, whoever dies in the middle."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from contracts import layout
from contracts.errors import Exit, LeaseHeld
from contracts.stage import Stage
from contracts.store import Entry, Store
from contracts.store.local import LocalStore
from sharder import storeclock
from sharder.holding import Leases
from sharder.lease import EXPIRES_S, Lease, alive, at, beside, living
from sharder.sweep import Sweep

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = layout.lease("aws", "lake")
PAIRS = [("aws", "lake")]
LONG = timedelta(seconds=EXPIRES_S + 1)


def lease(run: str, **more: object) -> Lease:
    facts = {"source": "aws", "destination": "lake", "host": "elsewhere", "pid": 7, "renewed": NOW}
    return Lease.model_validate({"run": run, **facts, **more})


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def who(store: Store) -> list[str]:
    return [found.run for _, found in beside(store, "aws", "lake")]


class Stepped(LocalStore):
    """Calls `between` before each of its writes, with how many there were."""

    def __init__(self, place: Path, between: Callable[[int], None]) -> None:
        super().__init__(place)
        self._between, self._writes = between, itertools.count()

    def put(self, key: str, data: bytes) -> None:
        self._between(next(self._writes))
        super().put(key, data)

    def create(self, key: str, data: bytes) -> bool:
        self._between(next(self._writes))
        return super().create(key, data)

    def delete(self, keys: object) -> None:
        self._between(next(self._writes))
        super().delete(keys)  # type: ignore[arg-type]


def take(store: Store, run: str, host: str, *, alone: bool = True) -> Leases | None:
    """The leases, by a process of another machine; None if it was refused."""
    taker = Leases(store, run, PAIRS, now=lambda: NOW)
    taker._host = host
    try:
        taker.take(alone=alone)
    except LeaseHeld:
        return None
    return taker


@pytest.mark.parametrize("dead", [True, False], ids=["over a dead one", "where nobody was"])
@pytest.mark.parametrize("n", range(8))
def test_of_two_takers_one_gets_the_lease_wherever_the_other_comes_between(
    tmp_path: Path, n: int, dead: bool
) -> None:
    """The faster one is whole, from its first look to its last, before the n-th write of the slower one."""
    plain = LocalStore(tmp_path)
    if dead:
        plain.put(KEY, lease("dead", renewed=NOW - LONG).to_bytes())
    got: list[Leases | None] = []

    def between(writes: int) -> None:
        if writes == n:
            got.append(take(plain, "faster", "fast"))

    got.append(take(Stepped(tmp_path, between), "slower", "slow"))
    winners = [one for one in got if one]
    assert len(winners) == 1
    assert who(plain) == [winners[0]._run]
    winners[0].release()


class Died(BaseException):
    """A process ends here, and writes nothing any more."""


@pytest.mark.parametrize("n", range(3))
def test_who_dies_while_taking_over_a_dead_lease_is_taken_over_in_turn(
    store: LocalStore, tmp_path: Path, n: int
) -> None:
    def dying(writes: int) -> None:
        if writes >= n:
            raise Died

    store.put(KEY, lease("dead", renewed=NOW - LONG).to_bytes())
    with suppress(Died):
        take(Stepped(tmp_path, dying), "second", "there")
    third = take(store, "third", "here")
    assert (third is None) is (n > 0)  # before its first write nobody knows of it
    if third:
        third.release()
    later = Leases(store, "fourth", PAIRS, now=lambda: NOW + LONG)
    later.take(alone=True)
    assert "fourth" in who(store)
    assert [run for run, found in living_at(store, NOW + LONG)] == ["fourth"]
    later.release()


def living_at(store: Store, moment: datetime) -> list[tuple[str, Lease]]:
    return sorted(living(store, moment).items())


class OtherClock(LocalStore):
    """A store whose clock is ahead of ours by so much."""

    def __init__(self, place: Path, ahead: timedelta) -> None:
        super().__init__(place)
        self._ahead_s = ahead.total_seconds()

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        for e in super().list(prefix, after):
            yield Entry(e.key, e.size, e.modified_s + self._ahead_s)


@pytest.mark.parametrize("hours", [-3, 3])
def test_a_machine_whose_clock_is_hours_off_takes_no_lease_of_somebody_alive(
    tmp_path: Path, hours: int
) -> None:
    """The store and the holder agree; our own clock is the wrong one."""
    off = OtherClock(tmp_path, timedelta(hours=hours))
    renewed = datetime.now(UTC) + timedelta(hours=hours, seconds=-EXPIRES_S / 2)
    off.put(KEY, lease("first", renewed=renewed).to_bytes())
    with pytest.raises(LeaseHeld, match="run first"):
        Leases(off, "second", PAIRS).take()
    off.put(KEY, lease("first", renewed=renewed - LONG).to_bytes())
    mine = Leases(off, "second", PAIRS)
    mine.take()
    found = at(off, KEY)
    assert found
    ahead = found.renewed - datetime.now(UTC)
    assert abs(ahead - timedelta(hours=hours)) < timedelta(minutes=1)
    mine.release()
    assert not list(off.list("probe/"))


def test_without_the_right_to_write_our_own_clock_is_the_stores(tmp_path: Path) -> None:
    before = datetime.now(UTC)
    assert before <= storeclock.clock(LocalStore(Path("/proc/nope")))() <= datetime.now(UTC)


DAMAGED: Sequence[bytes] = (
    b"",
    b"{",
    b"[]",
    b"null",
    b'{"version": 1}',
    b'{"run": 5}',
    b"\xff\x00",
)


def newer(run: object = "next") -> bytes:
    return orjson.dumps({"version": 99, "run": run, "holder": "in another form"})


@pytest.mark.parametrize("data", [*DAMAGED, newer(), newer(5)])
def test_a_lease_that_cannot_be_read_is_held_until_it_expires(
    store: LocalStore, tmp_path: Path, data: bytes
) -> None:
    store.put(KEY, data)
    with pytest.raises(LeaseHeld, match="somebody may be syncing source 'aws' into 'lake'") as told:
        Leases(store, "mine", PAIRS).take()
    assert told.value.exit_code == Exit.LEASE
    assert "try again" in told.value.hint
    os.utime(tmp_path / KEY, (0, 0))
    mine = Leases(store, "mine", PAIRS)
    mine.take()
    assert who(store) == ["mine"]
    mine.release()


def test_a_newer_release_is_told_and_counts_as_at_work_on_its_run(store: LocalStore) -> None:
    store.put(KEY, newer())
    with pytest.raises(LeaseHeld, match="format version 99"):
        Leases(store, "mine", PAIRS).take()
    assert set(living(store)) == {"next"}


@pytest.mark.parametrize("data", DAMAGED)
def test_one_damaged_lease_hides_no_other_and_stops_no_command(
    store: LocalStore, data: bytes
) -> None:
    store.put(layout.lease("aaa", "lake"), data)
    store.put(KEY, lease("first").to_bytes())
    assert set(living(store, NOW)) == {"first"}


def test_our_own_lease_that_was_damaged_is_mended_and_a_newer_one_left_alone(
    store: LocalStore,
) -> None:
    mine = Leases(store, "mine", PAIRS)
    mine.take()
    for data in DAMAGED:
        store.put(KEY, data)
        mine.renew()
        assert who(store) == ["mine"]
    store.put(KEY, newer())
    mine.renew()
    mine.release()
    assert store.get(KEY) == newer()


def test_a_damaged_lease_keeps_no_run_from_ending(store: LocalStore) -> None:
    mine = Leases(store, "mine", [*PAIRS, ("aws", "other")])
    mine.take()
    store.put(KEY, b"{")
    mine.release()
    assert at(store, layout.lease("aws", "other")) is None


def test_what_cannot_be_read_is_swept_after_a_day(store: LocalStore) -> None:
    store.put(KEY, b"{")
    said: list[str] = []
    tomorrow = datetime.now(UTC) + timedelta(days=1, hours=1)
    one = Sweep(Stage(store), os.environ, tomorrow, said.append, keep_s=86400.0)
    assert [(f.noun, f.name) for f in one.run()] == [("lease", "aws into lake")]
    assert at(store, KEY) is None


def test_a_holder_that_sleeps_beyond_its_expiry_wakes_up_beside_a_finished_successor(
    store: LocalStore,
) -> None:
    """Whoever came has gone; the sleeper is alone again, and says so."""
    times = [NOW]
    sleeper = Leases(store, "sleeper", PAIRS, now=lambda: times[-1])
    sleeper.take()
    times.append(NOW + LONG)
    sleeper._host = "elsewhere"  # as another machine sees it: only time tells
    store.put(KEY, lease("sleeper").to_bytes())
    successor = Leases(store, "successor", PAIRS, now=lambda: times[-1])
    successor.take()
    sleeper.renew()
    assert who(store) == ["successor"]
    successor.release()
    sleeper.renew()
    assert who(store) == ["sleeper"]
    sleeper.release()


def test_a_pid_that_is_taken_again_is_not_the_holder() -> None:
    host = socket.gethostname()
    one = lease("r", host=host, pid=os.getpid(), born="1")
    assert not alive(one, NOW, host)
