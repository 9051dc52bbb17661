"""`sharder watch`: the service that watches runs whose submitters left.

Open rounds, and closed ones whose summary did not get everywhere, are adopted and each is watched by a
thread of its own, so that a store that is slow for one does not keep the others waiting. It may be killed
at any time and started again, and several of them do no harm: whatever one knows is on the stage.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from contracts.errors import Exit, InputError, LeaseHeld, SharderError, Transient
from contracts.observe import metrics
from contracts.plan import Plan
from contracts.queue import Queue
from contracts.spec import Fleet
from contracts.summary import Summary
from sharder import conclude, lease, place, run, status, storeclock, text
from sharder.holding import Leases
from sharder.place import Place
from sharder.report import Report
from sharder.summary import Tally
from sharder.wishes import Wishes

LOOK_S = 5.0  # between two looks for new runs
TURN_S = 1.0  # between two turns of the loop
SETTLED_S = (
    60.0  # a run that was found closed may get a round by `retry`; it is looked at this often
)
AT_ONCE = 64  # runs; more of them wait until one is closed
LEAVE_S = 3.0  # what does not answer by then is not waited for when we leave


@dataclass(frozen=True)
class Wanted:
    """A round to be watched; `summary` if it is closed and only has to be concluded."""

    plan: Plan
    summary: Summary | None = None


class _Left(BaseException):
    """Ends a thread that watches a run: we are leaving. No handler for errors is meant."""


class _Quiet:
    """One voice for many threads; each run's progress is its own affair, and nobody follows it here."""

    def __init__(self, report: Report) -> None:
        self._report, self._lock = report, threading.Lock()

    def say(self, said: str) -> None:
        with self._lock:
            self._report.say(said)

    def progress(self, plan: Plan, tally: Tally) -> None:
        del plan, tally

    def summary(self, summary: Summary) -> None:
        with self._lock:
            self._report.summary(summary)

    def close(self) -> None:
        self._report.close()


class _Tended:
    """One round, its watcher, and the leases taken over from its submitter."""

    def __init__(
        self, here: Place, queue: Queue, wanted: Wanted, report: Report, stop: threading.Event
    ) -> None:
        """`queue`: of this thread alone. Raises LeaseHeld if another run of the same sources is at work."""
        self.run, self._wanted, self._report, self._stop = wanted.plan.run, wanted, report, stop
        self._leases = status.leases(here.stage, wanted.plan)
        self._leases.take()
        self._here = replace(here, queue=queue, pause=self._pause)
        self.thread = threading.Thread(target=self._watch, name=f"run {self.run}", daemon=True)

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise _Left

    def _watch(self) -> None:
        try:
            drive = run.watcher(self._here, self._wanted.plan, _Named(self._report, self.run))
            closed = self._wanted.summary
            summary = drive.conclude(closed) if closed else drive.run()
            metrics.count("sharder_runs_total", exit_code=str(int(summary.exit_code)))
            metrics.count("sharder_attempts_lost_total", summary.attempts_lost)
            self._report.summary(summary)
        except _Left:
            return
        except SharderError as error:  # the others go on, and the next look decides about this one
            self._report.say(f"run {self.run}: {error}")
        except Exception as error:  # noqa: BLE001  # top of the thread: a bug must not end the service
            self._report.say(f"run {self.run}: a bug of ours: {type(error).__name__}: {error}")
        finally:
            self._here.queue.close()
            if not self._stop.is_set():
                self.leave()

    def leave(self) -> None:
        with suppress(SharderError):  # it expires
            self._leases.release()


class _Named(_Quiet):
    """What a run says, with its name before it."""

    def __init__(self, report: Report, name: str) -> None:
        super().__init__(report)
        self._name = name

    def say(self, said: str) -> None:
        self._report.say(f"run {self._name}: {said}")


class _Scout:
    """Looks for rounds that somebody has to watch. What cannot be read is told once, and passed over."""

    def __init__(self, here: Place, report: Report, clock: Callable[[], float]) -> None:
        self._stage, self._report, self._clock = here.stage, report, clock
        self._now = storeclock.clock(here.stage.store)
        self._settled: dict[str, float] = {}  # run → when it was last found closed and concluded
        self._told: set[str] = set()

    def tell(self, said: str) -> None:
        """Once: the same trouble is met at every look."""
        if said not in self._told:
            self._told.add(said)
            self._report.say(said)

    def held(self, plan: Plan) -> bool:
        """Whether a submitter that is alive watches it."""
        found = status.holder(self._stage, plan, self._now())
        return found is not None and bool(found.pid)

    def look(self) -> Iterator[Wanted]:
        """Oldest run first. Raises Transient if the stage does not answer."""
        runs = self._stage.runs()
        self._settled = {name: at for name, at in self._settled.items() if name in set(runs)}
        for name in runs:
            if self._clock() - self._settled.get(name, float("-inf")) < SETTLED_S:
                continue
            try:
                rounds = self._stage.rounds(name)
                if not rounds:  # it may be planned at this very moment
                    continue
                if found := self._wanted(name, rounds[-1]):
                    yield found
                else:
                    self._settled[name] = self._clock()
            except Transient:
                raise
            except SharderError as error:
                self._settled[name] = self._clock()
                self.tell(f"run {name} cannot be watched here: {error}")

    def _wanted(self, name: str, round_: int) -> Wanted | None:
        summary = self._stage.summary(name, round_)
        plan = self._stage.plan(name, round_)
        if summary is None:
            return Wanted(plan)
        return Wanted(plan, summary) if conclude.missing(self._stage, plan) else None


def tend(
    wishes: Wishes,
    environment: Mapping[str, str],
    report: Report,
    *,
    everything: bool = False,
    once: bool = False,
    alive: Path | None = None,
) -> Exit:
    """Watch until interrupted; with `once` until no run is left. Raises InputError without a broker."""
    found = place.settle(wishes.over(environment), Fleet())
    if not found.broker:
        raise InputError(
            "watch needs a fleet: a run without a broker is watched by its own submit",
            "set --broker or SHARDER_BROKER; an interrupted run goes on with `sharder resume RUN`",
        )
    told = _Quiet(report)
    from contracts.fleet import CeleryQueue

    with place.opened(found, environment, told.say) as here:
        service = Leases(here.stage.store, "watch", [lease.WATCH])
        service.take()
        stop = threading.Event()
        tended: dict[str, _Tended] = {}
        try:
            told.say(f"watching {here.stage.store.url}")
            adopt = partial(
                _adopt,
                _Scout(here, told, time.monotonic),
                partial(_tended, here, partial(CeleryQueue, found.broker), told, stop),
                everything=everything,
            )
            _loop(here, tended, adopt, once=once, alive=alive)
        finally:
            stop.set()
            _leave([*tended.values(), service])
    return Exit.OK


def _loop(
    here: Place,
    tended: dict[str, _Tended],
    adopt: Callable[[dict[str, _Tended]], None],
    *,
    once: bool,
    alive: Path | None,
) -> None:
    rest_s = 0.0
    while True:
        if alive:
            alive.touch()
        for name in [name for name, one in tended.items() if not one.thread.is_alive()]:
            del tended[name]
        if rest_s <= 0:
            adopt(tended)
            _measure(here, len(tended))
            rest_s = LOOK_S
        if once and not tended:
            return
        here.pause(TURN_S)
        rest_s -= TURN_S


def _measure(here: Place, tended: int) -> None:
    """For --metrics-port; a broker that does not answer leaves the numbers as they were."""
    metrics.put("sharder_runs_open", tended)
    if metrics.live():
        with suppress(Transient):
            metrics.put("sharder_queue_messages", here.queue.waiting())
            metrics.put("sharder_workers", here.queue.workers())


def _tended(
    here: Place,
    queue: Callable[[], Queue],
    report: _Quiet,
    stop: threading.Event,
    wanted: Wanted,
) -> _Tended:
    """Adopt a round. Raises LeaseHeld if another run of the same sources is at work."""
    own = queue()
    try:
        found = _Tended(here, own, wanted, report, stop)
    except SharderError:
        own.close()
        raise
    plan = wanted.plan
    what = "its summary" if wanted.summary else text.count(plan.shards, "shard")
    report.say(f"run {plan.run}: {what}, {text.count(len(plan.tables), 'table')}")
    found.thread.start()
    return found


def _adopt(
    scout: _Scout,
    adopted: Callable[[Wanted], _Tended],
    tended: dict[str, _Tended],
    *,
    everything: bool,
) -> None:
    """Take on the rounds that nobody alive watches; with `everything` all of them."""
    try:
        for wanted in scout.look():
            run_id = wanted.plan.run
            if run_id in tended or len(tended) >= AT_ONCE:
                continue
            if not everything and scout.held(wanted.plan):
                continue
            try:
                tended[run_id] = adopted(wanted)
            except LeaseHeld as error:
                scout.tell(f"run {run_id} waits: {error.message}")
    except SharderError as error:
        scout.tell(
            f"{error.message}; waiting for it" if isinstance(error, Transient) else str(error)
        )


def _leave(held: list[_Tended | Leases]) -> None:
    """Give the leases back, but not at the price of waiting for a store: they expire by themselves."""

    def give_back() -> None:
        for one in held:
            with suppress(SharderError):
                one.leave() if isinstance(one, _Tended) else one.release()

    thread = threading.Thread(target=give_back, daemon=True)
    thread.start()
    thread.join(LEAVE_S)
