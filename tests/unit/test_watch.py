"""The watcher's decisions, with a clock that the tests move."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import layout
from contracts.plan import Plan
from contracts.queue import Message
from sharder.flight import EMBEDDED, FLEET, SENDS, Rules
from sharder.watch import Close, FailLoad, FailShards, Say, Seen, Send, Watch, ranges
from tests.fakes.plans import plan


def jobs(actions: Sequence[object]) -> list[str]:
    return [m.job for a in actions if isinstance(a, Send) for m in a.messages]


def load(table: str = "t0", destination: str = "d") -> str:
    return Message("load", "r", destination=destination, source="s", table=table, round=1).job


A, B, C = (layout.shard_id(1, n) for n in range(3))


def test_shards_are_fed_in_the_order_of_the_plan_up_to_the_window() -> None:
    watch = Watch(plan(100), Rules(window=10))
    assert jobs(watch.tick(Seen(0))) == [layout.shard_id(1, n) for n in range(10)]
    assert jobs(watch.tick(Seen(1, waiting=6))) == []


def test_the_window_is_refilled_when_less_than_half_is_waiting() -> None:
    watch = Watch(plan(100), Rules(window=10))
    watch.tick(Seen(0))
    beats = {layout.shard_id(1, n): "x" for n in range(7)}
    assert len(jobs(watch.tick(Seen(1, beats=beats, waiting=3)))) == 7


def test_a_broker_that_loses_everything_does_not_make_us_send_everything() -> None:
    watch = Watch(plan(1000), Rules(window=10))
    sent = {job for t in range(3) for job in jobs(watch.tick(Seen(t, waiting=0)))}
    assert len(sent) == 10


def test_a_load_is_sent_when_every_shard_of_its_table_has_a_commit() -> None:
    watch = Watch(plan(2, 1), FLEET)
    watch.tick(Seen(0))
    assert jobs(watch.tick(Seen(1, commits=[0, 2]))) == [load("t1")]
    assert jobs(watch.tick(Seen(2, commits=[1]))) == [load("t0")]


def test_tables_that_share_shards_are_loaded_when_all_of_these_have_commits() -> None:
    watch = Watch(plan(2, 1, together=[3]), FLEET)
    assert jobs(watch.tick(Seen(0))) == [A, B, C]
    assert jobs(watch.tick(Seen(1, commits=[1, 2]))) == [load("t3")]
    assert watch.committed == 2
    assert jobs(watch.tick(Seen(2, commits=[0]))) == [load("t0"), load("t1"), load("t2")]
    assert jobs(watch.tick(Seen(3, beats={load("t0"): "1"}, waiting=2))) == []


def test_a_table_without_shards_is_loaded_at_once() -> None:
    watch = Watch(plan(0, 1, 0), FLEET)
    assert jobs(watch.tick(Seen(0))) == [load("t0"), load("t2"), A]
    assert [m.table for m in watch.pending_loads()] == ["t1", "t0", "t2"]


def test_the_round_closes_when_every_receipt_exists() -> None:
    watch = Watch(plan(1, destinations=("d", "e")), FLEET)
    watch.tick(Seen(0))
    watch.tick(Seen(1, commits=[0]))
    assert Close() not in watch.tick(Seen(2, receipts={load(): "ok"}))
    assert watch.tick(Seen(3, receipts={load(destination="e"): "failed"})) == [Close()]


def test_the_destination_that_holds_the_state_is_loaded_after_the_others() -> None:
    watch = Watch(plan(1, destinations=("a", "b", "c"), holder="b"), FLEET)
    first = watch.tick(Seen(0, commits=[0]))
    assert jobs(first) == [load(destination="a"), load(destination="c")]
    assert jobs(watch.tick(Seen(1, receipts={load(destination="a"): "ok"}))) == []
    last = watch.tick(Seen(2, receipts={load(destination="c"): "failed"}))
    assert jobs(last) == [load(destination="b")]


def test_a_destination_of_cursors_alone_is_loaded_last_and_only_for_incremental_tables() -> None:
    for incremental, wanted in ((True, [load(destination="b")]), (False, [])):
        found = plan(1, destinations=("a", "b"), holder="b", incremental=incremental)
        source = found.sources[0].model_copy(update={"destinations": ("a",)})
        watch = Watch(found.model_copy(update={"sources": (source,)}), FLEET)
        assert jobs(watch.tick(Seen(0, commits=[0]))) == [load(destination="a")]
        assert jobs(watch.tick(Seen(1, receipts={load(destination="a"): "ok"}))) == wanted


def test_cursors_never_pass_rows_that_another_destination_lacks() -> None:
    watch = Watch(plan(1, destinations=("a", "b"), holder="b", incremental=True), FLEET)
    watch.tick(Seen(0, commits=[0]))
    (refused,) = watch.tick(Seen(1, receipts={load(destination="a"): "failed"}))
    assert isinstance(refused, FailLoad)
    assert refused.load.destination == "b"
    assert "into a failed" in refused.error


def test_a_heartbeat_that_stops_changing_means_a_lost_shard_which_is_sent_again() -> None:
    watch = Watch(plan(1), FLEET)
    watch.tick(Seen(0))
    watch.tick(Seen(1, beats={A: "1"}))
    assert jobs(watch.tick(Seen(30, beats={A: "1"}))) == []
    watch.tick(Seen(31, beats={A: "1"}))
    assert watch.wants().attempts == (A,)
    assert jobs(watch.tick(Seen(32, beats={A: "1"}, attempts={A: 1}))) == [A]
    assert watch.shards.lost == 1


def test_the_last_heartbeat_of_a_lost_attempt_is_no_sign_of_life() -> None:
    watch = Watch(plan(1), FLEET)
    watch.tick(Seen(0))
    watch.tick(Seen(1, beats={A: "1"}))
    watch.tick(Seen(31, beats={A: "1"}))
    watch.tick(Seen(32, beats={A: "1"}, attempts={A: 1}))
    watch.tick(Seen(40, beats={A: "1"}))
    watch.tick(Seen(41, beats={A: "1"}))
    assert watch.wants().attempts == (A,)


def test_a_heartbeat_that_changes_again_takes_the_doubt_away() -> None:
    watch = Watch(plan(1), FLEET)
    watch.tick(Seen(0))
    watch.tick(Seen(1, beats={A: "1"}))
    watch.tick(Seen(31, beats={A: "1"}))
    assert jobs(watch.tick(Seen(32, beats={A: "2"}, attempts={A: 1}))) == []
    assert watch.wants().attempts == ()


def test_embedded_a_process_that_is_gone_loses_its_shard_at_once() -> None:
    watch = Watch(plan(1), EMBEDDED)
    watch.tick(Seen(0))
    watch.tick(Seen(0.1, beats={A: "1"}))
    watch.tick(Seen(0.2))
    assert jobs(watch.tick(Seen(0.3, attempts={A: 1}))) == [A]


def test_a_shard_that_never_started_is_sent_again_when_the_queue_was_seen_empty_twice() -> None:
    watch = Watch(plan(1), FLEET)
    watch.tick(Seen(0))
    watch.tick(Seen(10, waiting=1))
    watch.tick(Seen(20, waiting=0))
    assert watch.wants().attempts == ()
    watch.tick(Seen(30, waiting=0))
    assert watch.wants().attempts == (A,)
    assert jobs(watch.tick(Seen(31, attempts={A: 0}))) == [A]


def test_after_the_last_attempt_the_watcher_commits_a_failure() -> None:
    watch = Watch(plan(1), Rules(attempts=2))
    watch.tick(Seen(0))
    watch.tick(Seen(1, beats={A: "1"}))
    watch.tick(Seen(31, beats={A: "1"}))
    (failed,) = watch.tick(Seen(32, attempts={A: 2}))
    assert failed == FailShards((A,), "lost", "2 attempts started and none of them ended")


def test_a_source_may_have_its_own_number_of_attempts() -> None:
    p = plan(1)
    patient = p.model_copy(update={"sources": (p.sources[0].model_copy(update={"attempts": 5}),)})
    watch = Watch(patient, EMBEDDED)
    watch.tick(Seen(0))
    watch.tick(Seen(1, beats={A: "1"}))
    watch.tick(Seen(2))
    assert jobs(watch.tick(Seen(3, attempts={A: 4}))) == [A]


def test_a_shard_that_nobody_can_read_is_given_up() -> None:
    watch = Watch(plan(1), EMBEDDED)
    found: list[object] = []
    for tick in range(10 * SENDS):
        found += watch.tick(Seen(tick, attempts=dict.fromkeys(watch.wants().attempts, 0)))
    assert len(jobs(found)) == SENDS
    assert any(isinstance(a, FailShards) and "no attempt started" in a.message for a in found)


def test_a_load_that_is_lost_too_often_gets_a_failed_receipt() -> None:
    watch = Watch(plan(1), EMBEDDED)
    watch.tick(Seen(0, commits=[0]))
    watch.tick(Seen(1, beats={load(): "1"}))
    watch.tick(Seen(2))
    (failed,) = watch.tick(Seen(3, attempts={load(): 3}))
    assert isinstance(failed, FailLoad)
    assert "3 attempts" in failed.error


@pytest.mark.parametrize("end", ["cancel", "deadline"])
def test_at_the_end_shards_without_a_commit_fail_first_and_then_the_tables_load(end: str) -> None:
    watch = Watch(plan(3), FLEET, deadline=100.0)
    watch.tick(Seen(0, commits=[1]))
    seen: dict[str, Any] = {"cancelled": "cancelled by a person"} if end == "cancel" else {}
    (failed,) = watch.tick(Seen(100 if end == "deadline" else 1, **seen))
    assert isinstance(failed, FailShards)
    assert failed.shards == (A, C)
    assert failed.reason == ("cancelled" if end == "cancel" else "timeout")
    assert jobs(watch.tick(Seen(101, commits=[0, 2]))) == [load()]


def test_many_shards_are_given_up_in_batches() -> None:
    watch = Watch(plan(1200), FLEET)
    watch.tick(Seen(0))
    given_up: set[str] = set()
    for tick in range(4):
        done = [layout.parse_shard_id(s)[1] for s in given_up]
        for action in watch.tick(Seen(1 + tick, commits=done, cancelled="x")):
            given_up |= set(action.shards) if isinstance(action, FailShards) else set()
    assert len(given_up) == 1200


def test_without_workers_it_waits_and_says_so_once() -> None:
    watch = Watch(plan(1), FLEET)
    sent, said = watch.tick(Seen(1, workers=0))
    assert isinstance(sent, Send)
    assert isinstance(said, Say)
    assert watch.tick(Seen(2, workers=0, waiting=1)) == []
    (back,) = watch.tick(Seen(3, workers=1, waiting=1))
    assert isinstance(back, Say)


def test_a_new_watcher_goes_on_from_what_the_stage_shows() -> None:
    watch = Watch(plan(3, round_=2), FLEET)
    assert watch.wants().commits == ((0, 2),)
    assert jobs(watch.tick(Seen(0, commits=[0, 2]))) == [layout.shard_id(2, 1)]


def test_only_what_is_new_or_unfinished_is_listed() -> None:
    watch = Watch(plan(5000), Rules(window=10))
    watch.tick(Seen(0, commits=range(4000)))
    watch.tick(Seen(1))
    ((first, last),) = watch.wants().commits
    assert first == 4000
    assert last <= 4030


def test_close_numbers_are_listed_as_one_range() -> None:
    assert ranges([1, 2, 3, 500, 5000]) == ((1, 500), (5000, 5000))
    assert ranges([]) == ()


def test_memory_is_that_of_the_window() -> None:
    watch = Watch(plan(100_000), FLEET)
    for tick in range(50):
        watch.tick(Seen(tick, commits=range(tick * 1000)))
        assert len(watch.shards) <= FLEET.window


@dataclass
class Fleet:
    """A world in which everything may go wrong: messages vanish, workers die, watchers are replaced."""

    plan: Plan
    luck: random.Random
    queue: list[str] = field(default_factory=list)
    running: dict[str, int] = field(default_factory=dict)
    beats: dict[str, str] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    commits: dict[int, str] = field(default_factory=dict)
    receipts: dict[str, str] = field(default_factory=dict)
    now: float = 0.0

    def step(self) -> None:
        """Let time pass: attempts start, beat, end or die."""
        self.now += self.luck.choice([0.1, 1, 5, 40])
        for job in list(self.running):
            fate = self.luck.random()
            if fate < 0.4:
                self.finish(job, "worker")
            elif fate < 0.55:
                del self.running[job]
                if self.luck.random() < 0.5:
                    self.beats.pop(job, None)
            else:
                self.beats[job] = str(self.now)
        for job in [
            self.queue.pop(0) for _ in range(min(len(self.queue), self.luck.randint(0, 8)))
        ]:
            fate = self.luck.random()
            if fate > 0.15 and job not in self.running and not self.ended(job):
                self.attempts[job] = self.attempts.get(job, 0) + 1
                self.running[job] = 1

    def ended(self, job: str) -> bool:
        return job in self.receipts or any(layout.shard_id(1, n) == job for n in self.commits)

    def finish(self, job: str, by: str) -> None:
        self.running.pop(job, None)
        self.beats.pop(job, None)
        if job.startswith("load"):
            missing = [n for n in self.table_of(job) if n not in self.commits]
            assert not missing, "a load before all commits of its table"
            self.receipts.setdefault(job, self.luck.choice(["ok", "failed"]))
        else:
            self.commits.setdefault(layout.parse_shard_id(job)[1], by)

    def table_of(self, job: str) -> range:
        table = self.plan.table("s", job.split(" ")[3])
        return range(table.first, table.first + table.shards)

    def seen(self, watch: Watch, cancelled: str) -> Seen:
        wants = watch.wants()
        listed = [n for n in self.commits if any(a <= n <= b for a, b in wants.commits)]
        return Seen(
            now=self.now,
            commits=listed,
            receipts=dict(self.receipts) if wants.receipts else {},  # type: ignore[arg-type]
            beats={j: self.beats[j] for j in wants.beats if j in self.beats},
            attempts={j: self.attempts.get(j, 0) for j in wants.attempts},
            waiting=len(self.queue),
            workers=self.luck.randint(0, 3),
            cancelled=cancelled,
        )

    def act(self, actions: Sequence[object]) -> bool:
        for action in actions:
            match action:
                case Send(messages):
                    for message in messages:
                        if message.kind == "load":
                            assert all(n in self.commits for n in self.table_of(message.job))
                        if self.luck.random() > 0.1:
                            self.queue += [message.job] * self.luck.choice([1, 1, 2])
                case FailShards(shards):
                    for shard in shards:
                        self.finish(shard, "watcher")
                case FailLoad(message):
                    self.finish(message.job, "watcher")
                case Close():
                    return True
                case _:
                    assert isinstance(action, Say)
        return False


@given(
    seed=st.integers(0, 2**32),
    shards=st.lists(st.integers(0, 12), min_size=1, max_size=4),
    holder=st.sampled_from(["", "a"]),
    cancel_at=st.one_of(st.none(), st.integers(0, 40)),
    watchers=st.integers(1, 2),
    together=st.lists(st.integers(1, 3), max_size=4),
)
def test_any_order_of_events_ends_closed_with_every_shard_committed_once(
    seed: int,
    shards: list[int],
    holder: str,
    cancel_at: int | None,
    watchers: int,
    together: list[int],
) -> None:
    p = plan(
        *shards, destinations=("a", "b"), holder=holder, incremental=bool(seed % 2),
        together=together[: len(shards)],
    )  # fmt: skip
    fleet = Fleet(p, random.Random(seed))
    rules = fleet.luck.choice([EMBEDDED, FLEET, Rules(window=3)])
    watching = [Watch(p, rules) for _ in range(watchers)]
    for tick in range(5000):
        fleet.step()
        at = fleet.luck.randrange(watchers)
        if fleet.luck.random() < 0.02:
            watching[at] = Watch(p, rules)  # killed, and started again
        cancelled = "cancelled" if cancel_at is not None and tick >= cancel_at else ""
        if fleet.act(watching[at].tick(fleet.seen(watching[at], cancelled))):
            assert len(fleet.commits) == p.shards
            assert len(fleet.receipts) == 2 * len(p.tables)
            return
    pytest.fail("the round never closed")
