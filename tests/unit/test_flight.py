"""Clients in flight: a shard waits for its first place, and AWS reads more at once as there are places."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from contracts import layout
from tests.fakes.runs import SYNC_TIME, Steady, local_stage, write_run
from tests.fakes.scripted import PARENT, Handing, Scripted, rows
from tests.suites.source import context, frozen
from worker.extract import extract
from worker.limits.flight import Flight
from worker.limits.machine import LocalPlaces
from worker.limits.process import Limits
from worker.sources import aws
from worker.sources.aws.accounts import Account, Principal
from worker.sources.aws.calls import Page, Place
from worker.sources.aws.extract import events
from worker.sources.base import Cancelled, CellDone, Work


@pytest.fixture
def stage(tmp_path):
    return local_stage(tmp_path)


def work(stage, script, *, limits=None, sleep=lambda _s: None, **options):
    more = {k: options.pop(k) for k in ("timeout_s",) if k in options}
    (message,) = write_run(
        stage, (PARENT,), ("a",), path="scripted", spec={}, max_clients_in_flight=1, **more
    )
    given = {"heart": Steady(), "environment": {}, "now": lambda: SYNC_TIME} | options
    return extract(
        message, stage=stage, sleep=sleep, limits=limits, opened=Handing(Scripted(script)), **given
    )


def test_a_shard_reads_with_a_place_and_gives_it_back(stage):
    limits, seen = Limits(), []

    def script(_work, _cursors):
        seen.append(limits.places.take("src", 1))
        yield CellDone("p", "a")

    assert work(stage, script, limits=limits)
    assert seen == [None]
    assert limits.places.take("src", 1)


def test_a_shard_waits_for_its_place_and_the_time_limit_begins_afterwards(stage):
    limits, clock = Limits(), {"now": SYNC_TIME}
    held = limits.places.take("src", 1)

    def sleep(seconds):
        clock["now"] += timedelta(seconds=seconds)
        if clock["now"] - SYNC_TIME > timedelta(hours=1) and held:
            limits.places.give_back("src", held)

    def script(_work, _cursors):
        yield rows(PARENT, "a", [1])
        yield CellDone("p", "a")

    commit = work(
        stage, script, limits=limits, sleep=sleep, now=lambda: clock["now"], timeout_s=60.0
    )
    assert [c.outcome for c in commit.cells] == ["ok"]
    assert commit.ended - commit.started > timedelta(hours=1)


class Patient(Steady):
    """Beats until the test has heard enough."""

    def __init__(self, beats):
        super().__init__()
        self.enough = threading.Event()
        self._wanted = beats

    def beat(self, run, job, attempt):
        super().beat(run, job, attempt)
        if self.beats >= self._wanted:
            self.enough.set()


def test_the_heart_goes_on_while_a_shard_waits_and_cancelling_ends_it(stage):
    limits, heart = Limits(), Patient(3)
    limits.places.take("src", 1)

    def sleep(_seconds):
        heart.enough.wait(20)
        stage.store.put(layout.cancel("r1"), b"{}")

    commit = work(
        stage, lambda _w, _c: pytest.fail("read"), limits=limits, sleep=sleep, heart=heart, beat_s=0.01
    )  # fmt: skip
    assert commit is None
    assert not stage.committed("r1", "01-0000000")


def test_a_source_that_was_cancelled_in_a_call_leaves_its_cells_open(stage):
    clock = {"now": SYNC_TIME}

    def script(_work, _cursors):
        clock["now"] += timedelta(seconds=61)
        raise Cancelled
        yield

    commit = work(stage, script, now=lambda: clock["now"], timeout_s=60.0)
    assert [(c.outcome, c.reason) for c in commit.cells] == [("failed", "timeout")]


class Counting:
    """A caller that answers when as many are asking as there should be, and remembers the most."""

    def __init__(self, expected):
        self._expected = expected
        self._lock = threading.Condition()
        self.now = self.most = 0

    def page(self, place, service, call, inputs, token):
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self._lock.notify_all()
            self._lock.wait_for(lambda: self.most >= self._expected, 20)
            self.now -= 1
        return Page([], None)


def aws_events(caller, clients, flight):
    source = aws.open(
        {"accounts": [{"id": "1" * 12, "role_arn": f"arn:aws:iam::{'1' * 12}:role/r"}]}, context()
    )
    tree = frozen(source)["aws_iam_groups"]
    account = Account("1", Principal(), "us-east-1", "aws")
    return events(
        Work(tree, frozenset({"aws_iam_groups"}), clients),
        lambda _client: Place(account, "us-east-1"),
        caller,
        threads=8,
        clients_in_flight=0,
        flight=flight,
        cancelled=lambda: False,
    )


def test_aws_reads_as_many_clients_at_once_as_it_has_places_with_the_one_of_the_shard():
    places, caller = LocalPlaces(), Counting(3)
    clients = [f"{n:012}" for n in range(40)]
    flight = Flight(places, "aws", 2, sleep=lambda _s: threading.Event().wait(0.001))
    ends = [e.client for e in aws_events(caller, clients, flight) if isinstance(e, CellDone)]
    assert sorted(ends) == clients
    assert caller.most == 3
    assert all(places.take("aws", 2) for _ in range(2))


def test_aws_reads_on_with_one_client_if_no_other_place_is_free():
    places, caller = LocalPlaces(), Counting(1)
    clients = [f"{n:012}" for n in range(10)]
    assert places.take("aws", 1)
    flight = Flight(places, "aws", 1, sleep=lambda _s: threading.Event().wait(0.001))
    ends = [e.client for e in aws_events(caller, clients, flight) if isinstance(e, CellDone)]
    assert ends == clients
    assert caller.most == 1
