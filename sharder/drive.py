"""The rim around the watcher: look at the stage and the queue, act, tell, until the round is closed.

What does not answer costs time, never rows: the loop waits for the store and the broker as long as it
takes, and says so once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Protocol, TypeVar
from uuid import uuid4

import orjson

from contracts import layout
from contracts.commit import Attempt, Cell, Commit
from contracts.errors import NotFound, SharderError, Transient
from contracts.plan import Plan, Shard
from contracts.queue import Message, Queue
from contracts.receipt import Receipt
from contracts.stage import Stage
from contracts.summary import Summary
from sharder.conclude import Concluding, told
from sharder.flight import Rules
from sharder.lessons import Lessons
from sharder.summary import EXAMPLES, Tally, release
from sharder.watch import Close, FailLoad, FailShards, Say, Seen, Send, Wants, Watch

T = TypeVar("T")
R = TypeVar("R")

BATCH = 256  # commits in memory
THREADS = 16  # requests at once to a store that is not on this machine
WORKERS_S = 10.0  # asking a fleet how many workers are alive takes a second
CANCEL_S = 2.0
LIMITS = frozenset({"timeout", "memory"})  # reasons of attempts that ended their own process
SILENT = "none of them could say why: so ends a process that the kernel kills, probably for lack of memory"
PACE_S = 0.1  # between two steps while things happen; embedded a pool that runs dry ends the pause


class Teller(Protocol):
    """Who tells the user how it goes: lines, a live display, or JSON."""

    def say(self, text: str) -> None: ...

    def progress(self, plan: Plan, tally: Tally) -> None: ...


class Drive:
    """One round being watched. `step` looks and acts once; `run` repeats it until the round is closed."""

    def __init__(
        self,
        stage: Stage,
        queue: Queue,
        plan: Plan,
        rules: Rules,
        teller: Teller,
        *,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`pause(seconds)` may return early, when something changed."""
        self._stage, self._queue, self._plan, self._teller = stage, queue, plan, teller
        self._pause, self._clock, self._now = pause, clock, now
        age_s = (now() - plan.created).total_seconds()
        deadline = clock() + plan.deadline_s - age_s if plan.deadline_s else None
        self.watch = Watch(plan, rules, deadline)
        self.tally = Tally(plan)
        self._lessons = Lessons(stage, plan, now)
        self._loads = {_receipt_key(m): m for m in self.watch.pending_loads()}
        self._workers = (-WORKERS_S, 0)
        self._cancelled = (-CANCEL_S, "")
        self._looked_s, self._blind = clock(), False  # the last look that succeeded; none did since
        self._counted: set[int] = (
            set()
        )  # since the last decision: in the tally, unknown to the watch
        self._by = f"watch-{uuid4().hex[:12]}"
        self._closed: Summary | None = None
        self._concluding = Concluding(stage, queue, plan, rules)

    def conclude(self, summary: Summary) -> Summary:
        """Of a round that is closed already, what was left to do then; returns what there is to tell."""
        self._closed = summary
        return self.run()

    def run(self) -> Summary:
        """Step until closed, at the pace of the slower of the stage and the round itself."""
        quiet_s, patience_s, told = PACE_S, 1.0, False
        while True:
            began = self._clock()
            try:
                changed, summary = self.step()
            except Transient as error:
                if not told:
                    self._teller.say(f"{error.message}; waiting for it")
                told = True
                self._pause(max(patience_s, error.after_s))
                patience_s = min(30.0, patience_s * 2)
                continue
            if summary:
                return summary
            if told:
                self._teller.say("it answers again; going on")
            told, patience_s = False, 1.0
            quiet_s = PACE_S if changed else min(2.0, quiet_s * 1.5)
            self._pause(max(quiet_s, 2 * (self._clock() - began)))

    def step(self) -> tuple[bool, Summary | None]:
        """Whether anything changed, and the summary once the round is closed and concluded."""
        if self._closed:
            done = self._concluding.step(self._clock())
            return True, told(self._stage, self._plan, self._closed) if done else None
        # Everything is read before anything is decided: what fails here is seen again next time.
        seen, receipts = self._seen()
        ended = self._count(n for n in seen.commits if not self.watch.has(n))
        actions = self.watch.tick(seen)
        self._counted.clear()
        for key, receipt in receipts.items():
            self.tally.load(receipt)
            del self._loads[key]
        for action in actions:
            match action:
                case Send(messages):
                    self._queue.put(messages)
                case FailShards():
                    self._each(partial(self._fail_shard, action), action.shards)
                case FailLoad():
                    self._fail_load(action)
                case Say(text):
                    self._teller.say(text)
                case Close():
                    self._closed = self._close()
                    return self.step()
        self._teller.progress(self._plan, self.tally)
        return bool(ended or actions or self.watch.doubts), None

    def _seen(self) -> tuple[Seen, Mapping[str, Receipt]]:
        """One look; the time in which looking was not possible is told to the watch before it decides."""
        try:
            seen, receipts = self._look(self.watch.wants())
        except Transient:
            self._blind = True
            raise
        if self._blind:
            self.watch.excuse(seen.now - self._looked_s)
        self._looked_s, self._blind = seen.now, False
        return seen, receipts

    def _count(self, numbers: Iterable[int]) -> int:
        """Take in the commits of these shards, each once even if the store fails in between; how many."""
        fresh = iter([n for n in numbers if n not in self._counted])
        # A watcher that starts anew finds all commits at once; few of them are in memory at a time.
        while batch := list(islice(fresh, BATCH)):
            for number, (shard, commit, clients) in zip(
                batch, self._each(self._ended, batch), strict=True
            ):
                self.tally.add(shard, commit, clients)
                self._counted.add(number)
                self._learn(shard, commit)
        return len(self._counted)

    def _learn(self, shard: Shard, commit: Commit) -> None:
        """History only makes the next plan better: a round closes without it."""
        try:
            self._lessons.add(shard, commit)
        except SharderError as error:
            self._teller.say(f"warning: the history of '{shard.table}' was not written: {error}")

    def _look(self, wants: Wants) -> tuple[Seen, Mapping[str, Receipt]]:
        """The order matters: what ended between two looks must be seen as ended, not as dead."""
        run, now = self._plan.run, self._clock()
        beats = self._queue.beats(run, wants.beats) if wants.beats else {}
        waiting = self._queue.waiting()
        if now - self._workers[0] >= WORKERS_S:
            self._workers = (now, self._queue.workers())
        counts = self._each(partial(self._stage.attempts, run), wants.attempts)
        if now - self._cancelled[0] >= CANCEL_S:
            self._cancelled = (now, cancelled(self._stage, run))
        commits = tuple(self._commits(wants))
        receipts = dict(self._receipts()) if wants.receipts else {}
        seen = Seen(
            now=now,
            beats=beats,
            waiting=waiting,
            workers=self._workers[1],
            attempts=dict(zip(wants.attempts, counts, strict=True)),
            cancelled=self._cancelled[1],
            commits=commits,
            receipts={self._loads[key].job: r.outcome for key, r in receipts.items()},
        )
        return seen, receipts

    def _commits(self, wants: Wants) -> Iterator[int]:
        run, round_ = self._plan.run, self._plan.round
        for first, last in wants.commits:
            ids = (layout.shard_id(round_, first), layout.shard_id(round_, last))
            for shard in self._stage.committed_shards(run, *ids):
                yield layout.parse_shard_id(shard)[1]

    def _receipts(self) -> Iterator[tuple[str, Receipt]]:
        """Key → receipt of the loads that were pending until now."""
        listed = [e.key for e in self._stage.store.list(layout.loads(self._plan.run))]
        for key in listed:
            if m := self._loads.get(key):
                found = self._stage.receipt(m.run, m.destination, m.source, m.table, m.round)
                if found:
                    yield key, found

    def _ended(self, number: int) -> tuple[Shard, Commit, Sequence[str]]:
        """A shard, its commit, and some of its clients if the commit names none."""
        run, shard_id = self._plan.run, layout.shard_id(self._plan.round, number)
        commit, shard = self._stage.commit(run, shard_id), self._stage.shard(run, shard_id)
        if not commit.verdict:
            return shard, commit, ()
        clients = self._stage.clients(run, shard.source, shard.clients)
        return shard, commit, tuple(islice(clients, EXAMPLES))

    def _fail_shard(self, failure: FailShards, shard_id: str) -> None:
        now, shard = self._now(), self._stage.shard(self._plan.run, shard_id)
        said = self._stage.last_words(self._plan.run, shard_id)
        # A limit that ended the attempts says more than that they were lost.
        limit = said.reason if said and said.reason in LIMITS else None
        verdict = Cell(
            table=shard.table, client="", outcome="failed",
            reason=limit if limit and failure.reason == "lost" else failure.reason,
            message=_explained(failure, said),
        )  # fmt: skip
        self._stage.create_commit(
            Commit(
                run=self._plan.run, shard=shard_id, attempt=self._by, worker="sharder", started=now,
                ended=now, verdict=verdict,
            )
        )  # fmt: skip

    def _fail_load(self, failure: FailLoad) -> None:
        now, load = self._now(), failure.load
        said = self._stage.last_words(load.run, load.job)
        self._stage.create_receipt(
            Receipt(
                run=load.run, destination=load.destination, source=load.source, table=load.table,
                round=load.round, rounds=(load.round,), load=self._by, outcome="failed",
                error=_explained(failure, said), started=now, ended=now,
            )
        )  # fmt: skip

    def _close(self) -> Summary:
        lost = self.watch.shards.lost + self.watch.loads.lost
        summary = self.tally.summary(
            ended=self._now(), lost=lost, cancelled=self._cancelled[1], release=release()
        )
        if self._stage.close(summary):
            return summary
        # Another watcher was faster; what it wrote is the answer.
        return self._stage.summary(self._plan.run, self._plan.round) or summary

    def _each(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """In order; many at once where each costs a request."""
        found = list(items)
        if len(found) < 2 or self._stage.store.local_path("x"):
            return [function(item) for item in found]
        with ThreadPoolExecutor(min(THREADS, len(found))) as threads:
            return list(threads.map(function, found))


def _explained(failure: FailShards | FailLoad, said: Attempt | None) -> str:
    """Attempts that died leave no result, but the last one may have said why."""
    text = failure.message if isinstance(failure, FailShards) else failure.error
    if said:
        return f"{text}; the last one said: {said.error}"
    limit = isinstance(failure, FailShards) and failure.reason != "lost"
    silent = "attempts started" in text and not limit
    return f"{text}; {SILENT}" if silent else text


def _receipt_key(m: Message) -> str:
    return layout.receipt(m.run, m.destination, m.source, m.table, m.round)


def cancel(stage: Stage, run: str, why: str) -> None:
    """Ask whoever watches the run to end it: what is committed is loaded, the rest fails."""
    stage.store.create(layout.cancel(run), orjson.dumps({"version": 1, "why": why}))


def cancelled(stage: Stage, run: str) -> str:
    """Why the run was cancelled; empty if it was not."""
    try:
        document = orjson.loads(stage.store.get(layout.cancel(run)))
    except NotFound:
        return ""
    except orjson.JSONDecodeError:
        return "the run was cancelled"
    why = document.get("why") if isinstance(document, dict) else None
    return str(why or "the run was cancelled")
