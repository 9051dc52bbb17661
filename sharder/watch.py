"""The watcher's decisions: what to hand out, what to give up, what to load, and when a round is closed.

A pure state machine. Each tick takes in what was seen (commits, receipts, heartbeats, the depth of the
queue) and returns actions; the rim (`sharder.drive`) looks and acts. Everything here can be rebuilt from the
stage: a new watcher of the same round lists the commits and receipts and goes on, and two of them at
once only send some messages twice.

Memory: one byte per shard, and the jobs in flight, whose number is bounded by the window.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from contracts import layout
from contracts.errors import Reason
from contracts.plan import Plan, PlannedTable
from contracts.plan import groups as grouped
from contracts.queue import Message
from sharder.flight import Flights, Rules

GAP = 1000  # a page of a listing: two ranges less than this apart cost no more as one
FAIL_BATCH = 500  # shards given up per tick, so that a tick stays short


@dataclass(frozen=True)
class Send:
    """Put these messages on the queue, in order."""

    messages: tuple[Message, ...]


@dataclass(frozen=True)
class FailShards:
    """Commit a failure for these shards, unless they have a commit by now."""

    shards: tuple[str, ...]
    reason: Reason
    message: str


@dataclass(frozen=True)
class FailLoad:
    """Write a failed receipt for this load, unless it has one by now."""

    load: Message
    error: str


@dataclass(frozen=True)
class Say:
    """Tell the user, once."""

    text: str


@dataclass(frozen=True)
class Close:
    """Every receipt exists: write history and summary."""


Action = Send | FailShards | FailLoad | Say | Close


@dataclass(frozen=True)
class Wants:
    """What the next tick needs to see. `commits`: ranges of shard numbers, both ends included."""

    commits: tuple[tuple[int, int], ...]
    receipts: bool
    beats: tuple[str, ...]
    attempts: tuple[str, ...]


@dataclass(frozen=True)
class Seen:
    """What was seen, in this order: heartbeats and queue first, then commits and receipts, so that a
    job which ended in between counts as done and not as lost. `now` is monotonic, in seconds.
    """

    now: float
    commits: Iterable[int] = ()
    receipts: Mapping[str, Literal["ok", "failed"]] = field(default_factory=dict)
    beats: Mapping[str, str] = field(default_factory=dict)
    attempts: Mapping[str, int] = field(default_factory=dict)
    waiting: int = 0
    workers: int = 1
    cancelled: str = ""  # why; empty: the run goes on


@dataclass
class _Load:
    message: Message
    holder: bool  # it holds the source's state: its cursors must not pass what the others have
    receipt: Literal["ok", "failed"] | None = None
    asked: bool = False  # sent, or given up


def ranges(numbers: Sequence[int], gap: int = GAP) -> tuple[tuple[int, int], ...]:
    """Ascending numbers as few ranges, both ends included; what is less than `gap` apart is joined."""
    found: list[tuple[int, int]] = []
    for n in numbers:
        if found and n - found[-1][1] <= gap:
            found[-1] = (found[-1][0], n)
        else:
            found.append((n, n))
    return tuple(found)


class Watch:
    """One round, from its plan to its end."""

    def __init__(self, plan: Plan, rules: Rules, deadline: float | None = None) -> None:
        """`deadline`: the monotonic second after which no shard is waited for."""
        self._plan, self._rules, self._deadline = plan, rules, deadline
        self._committed = bytearray(plan.shards)
        # Tables without shards have no numbers; behind the others they disturb no search.
        groups = sorted(grouped(plan.tables), key=lambda g: (not g[0].shards, g[0].first))
        self._firsts = [tables[0].first for tables in groups if tables[0].shards]
        self._missing = [tables[0].shards for tables in groups]  # of each group of tables
        self._group = [n for n, tables in enumerate(groups) for _ in tables]  # of each table
        self._sources = [tables[0].source for tables in groups]
        self._tables = [table for tables in groups for table in tables]
        self._loads = [list(self._loads_of(t)) for t in self._tables]
        self._by_job = {x.message.job: (i, x) for i, ls in enumerate(self._loads) for x in ls}
        self._receipts = 0
        self._front = 0  # every shard before it has a commit
        self._next = 0  # every shard before it was handed out at least once, or has a commit
        self._first_look = True
        self._alone = False
        self._ending: tuple[Reason, str] | None = None
        self.shards, self.loads = Flights(rules, self._most_attempts), Flights(rules)

    def _most_attempts(self, shard: str) -> int:
        at = bisect_right(self._firsts, layout.parse_shard_id(shard)[1]) - 1
        return self._plan.source(self._sources[at]).attempts or self._rules.attempts

    def _loads_of(self, table: PlannedTable) -> Iterable[_Load]:
        for name in self._plan.loaded_into(table):
            message = Message(
                "load", self._plan.run, destination=name, source=table.source, table=table.name,
                round=self._plan.round,
            )  # fmt: skip
            yield _Load(message, table.source in self._plan.destination(name).holds_state_of)

    @property
    def committed(self) -> int:
        """Shards that have a commit."""
        return self._plan.shards - sum(self._missing)

    def has(self, number: int) -> bool:
        """Whether the shard is known to have a commit."""
        return bool(self._committed[number])

    @property
    def closed(self) -> bool:
        return not sum(self._missing) and self._receipts == len(self._by_job)

    @property
    def doubts(self) -> bool:
        """Whether a job is to be judged at the next tick."""
        return bool(self.shards.doubtful() or self.loads.doubtful())

    def pending_loads(self) -> list[Message]:
        """Loads that have no receipt yet."""
        return [x.message for _, x in self._by_job.values() if not x.receipt]

    def wants(self) -> Wants:
        if self._first_look:  # what earlier watchers of this round have seen to
            return Wants(((0, self._plan.shards - 1),) if self._plan.shards else (), True, (), ())
        soon = set(range(self._next, min(self._next + self._rules.window, self._plan.shards)))
        soon |= {layout.parse_shard_id(job)[1] for job in self.shards.jobs()}
        if self._ending:
            soon |= set(self._uncommitted(FAIL_BATCH))
        return Wants(
            commits=ranges(sorted(n for n in soon if not self._committed[n])),
            receipts=any(x.asked and not x.receipt for _, x in self._by_job.values()),
            beats=(*self.shards.jobs(), *self.loads.jobs()),
            attempts=(*self.shards.doubtful(), *self.loads.doubtful()),
        )

    def excuse(self, seconds: float) -> None:
        """Nothing could be seen for so long: a broker that was away had no heartbeats to show."""
        self.shards.excuse(seconds)
        self.loads.excuse(seconds)

    def tick(self, seen: Seen) -> list[Action]:
        """Take in what was seen and decide. Ends with Close, alone, when nothing is left to do."""
        self._first_look = False
        for number in seen.commits:
            self._commit(number)
        for job, outcome in seen.receipts.items():
            self._receipt(job, outcome)
        if self.closed:
            return [Close()]
        self._end(seen)
        self.shards.look(seen.now, seen.beats, seen.waiting)
        self.loads.look(seen.now, seen.beats, seen.waiting)
        found = [*self._loading(seen), *self._giving_up(), *self._feeding(seen)]
        return [*found, *self._saying(seen)]

    def _commit(self, number: int) -> None:
        self.shards.done(self._job(number))
        if not self._committed[number]:
            self._committed[number] = 1
            self._missing[bisect_right(self._firsts, number) - 1] -= 1

    def _receipt(self, job: str, outcome: Literal["ok", "failed"]) -> None:
        if job in self._by_job and not self._by_job[job][1].receipt:
            self._by_job[job][1].receipt = outcome
            self._receipts += 1
        self.loads.done(job)

    def _end(self, seen: Seen) -> None:
        if self._ending:
            return
        if seen.cancelled:
            self._ending = ("cancelled", seen.cancelled)
        elif self._deadline is not None and seen.now >= self._deadline:
            self._ending = ("timeout", f"the run's deadline of {self._plan.deadline_s:g} s passed")

    def _giving_up(self) -> Iterable[Action]:
        if self._ending and (numbers := self._uncommitted(FAIL_BATCH)):
            yield FailShards(tuple(map(self._job, numbers)), *self._ending)

    def _feeding(self, seen: Seen) -> Iterable[Action]:
        """Lost shards go before new ones; new ones when less than half a window is waiting."""
        if self._ending:
            return
        again, lost = self.shards.judge(seen.now, seen.attempts)
        for one in lost:
            yield FailShards((one.job,), "lost", one.why)
        window = max(self._rules.window, 4 * seen.workers)
        # Our own count covers what a broker's has not seen yet, and bounds us if the broker loses all.
        waiting = max(seen.waiting, self.shards.waiting())
        fresh = self._take(window - waiting) if waiting < window // 2 else []
        self.shards.sent(fresh, seen.now)
        if again or fresh:
            run = self._plan.run
            yield Send(tuple(Message("shard", run, shard=job) for job in (*again, *fresh)))

    def _take(self, count: int) -> list[str]:
        """The next shards without a commit, at most `count`."""
        jobs: list[str] = []
        while self._next < self._plan.shards and len(jobs) < count:
            job = self._job(self._next)
            if not self._committed[self._next] and job not in self.shards:
                jobs.append(job)
            self._next += 1
        return jobs

    def _loading(self, seen: Seen) -> Iterable[Action]:
        again, lost = self.loads.judge(seen.now, seen.attempts)
        sends = [self._by_job[job][1].message for job in again]
        for one in lost:
            yield FailLoad(self._by_job[one.job][1].message, f"the load was lost: {one.why}")
        for at, loads in enumerate(self._loads):
            if self._missing[self._group[at]]:
                continue
            for load in loads:
                match self._ready(at, load, loads):
                    case "send":
                        load.asked = True
                        self.loads.sent([load.message.job], seen.now)
                        sends.append(load.message)
                    case "refuse":
                        load.asked = True
                        yield FailLoad(load.message, _behind(loads))
                    case "wait":
                        continue
        if sends:
            yield Send(tuple(sends))

    def _ready(
        self, at: int, load: _Load, loads: Sequence[_Load]
    ) -> Literal["send", "refuse", "wait"]:
        if load.receipt or load.message.job in self.loads:
            return "wait"
        others = [x.receipt for x in loads if x is not load] if load.holder else []
        if None in others:
            return "wait"
        incremental = any(t.incremental for t in self._tables[at].tree)
        return "refuse" if incremental and "failed" in others else "send"

    def _saying(self, seen: Seen) -> Iterable[Action]:
        alone = not seen.workers and bool(len(self.shards))
        if alone and not self._alone:
            yield Say("no worker is alive; waiting for one (start it with `worker run`)")
        if self._alone and not alone:
            yield Say("a worker is there; going on")
        self._alone = alone

    def _uncommitted(self, count: int) -> list[int]:
        """The first shards without a commit."""
        found: list[int] = []
        at = self._committed.find(0, self._front)
        self._front = at if at >= 0 else self._plan.shards
        while at >= 0 and len(found) < count:
            found.append(at)
            at = self._committed.find(0, at + 1)
        return found

    def _job(self, number: int) -> str:
        return layout.shard_id(self._plan.round, number)


def _behind(loads: Sequence[_Load]) -> str:
    failed = ", ".join(x.message.destination for x in loads if x.receipt == "failed")
    return (
        f"not loaded, because the load into {failed} failed and this destination holds the cursors: "
        "they must not pass rows that another destination lacks"
    )
