"""`sharder watch`: the service that watches runs whose submitters left.

It may be killed at any time and started again, and several of them do no harm: whatever one knows is on
the stage.
"""

from __future__ import annotations

from collections.abc import Mapping

from contracts.errors import Exit, InputError, SharderError, Transient
from contracts.plan import Plan
from contracts.spec import Fleet
from sharder import lease, place, run, status
from sharder.drive import Drive
from sharder.lease import Leases
from sharder.place import Place
from sharder.report import Report
from sharder.wishes import Wishes

LOOK_S = 5.0  # between two looks for new runs
PAUSE_S = 1.0  # between two steps of each run


class _Tended:
    """One round, its watcher, and the leases taken over from its submitter."""

    def __init__(self, here: Place, plan: Plan, report: Report) -> None:
        self.run = plan.run
        self._report = report
        self._leases = status.leases(here.stage, plan)
        self._leases.take()
        self._drive: Drive = run.watcher(here, plan, report)

    def step(self) -> bool:
        """Whether the round is closed. What does not answer is asked again at the next step."""
        try:
            _, summary = self._drive.step()
        except Transient as error:
            self._report.say(f"run {self.run}: {error.message}; waiting for it")
            return False
        if summary:
            self.leave()
            self._report.summary(summary)
        return summary is not None

    def leave(self) -> None:
        self._leases.release()


def tend(
    wishes: Wishes,
    environment: Mapping[str, str],
    report: Report,
    *,
    everything: bool = False,
    once: bool = False,
) -> Exit:
    """Watch until interrupted; with `once` until no run is left. Raises InputError without a broker."""
    found = place.settle(wishes.over(environment), Fleet())
    if not found.broker:
        raise InputError(
            "watch needs a fleet: a run without a broker is watched by its own submit",
            "set --broker or SHARDER_BROKER; an interrupted run goes on with `sharder resume RUN`",
        )
    with place.opened(found, environment, report.say) as here:
        service = Leases(here.stage.store, "watch", [lease.WATCH])
        service.take()
        tended: dict[str, _Tended] = {}
        try:
            report.say(f"watching {here.stage.store.url}")
            _loop(here, tended, report, everything=everything, once=once)
        finally:
            for one in tended.values():
                one.leave()
            service.release()
    return Exit.OK


def _loop(
    here: Place, tended: dict[str, _Tended], report: Report, *, everything: bool, once: bool
) -> None:
    rest_s = 0.0
    while True:
        if rest_s <= 0:
            _adopt(here, tended, report, everything=everything)
            rest_s = LOOK_S
        for name, one in list(tended.items()):
            if _closed(one, report):
                del tended[name]
        if once and not tended:
            return
        here.pause(PAUSE_S)
        rest_s -= PAUSE_S


def _closed(one: _Tended, report: Report) -> bool:
    """A run that cannot be watched any more is left to the next look; the others go on."""
    try:
        return one.step()
    except SharderError as error:
        report.say(f"run {one.run}: {error}")
        one.leave()
        return True


def _adopt(here: Place, tended: dict[str, _Tended], report: Report, *, everything: bool) -> None:
    """Take on the open rounds that nobody alive watches; with `everything` all of them."""
    try:
        for plan in status.open_rounds(here.stage):
            if plan.run in tended:
                continue
            held = status.holder(here.stage, plan)
            if everything or held is None or not held.pid:
                report.say(f"run {plan.run}: {plan.shards:,} shards, {len(plan.tables):,} tables")
                tended[plan.run] = _Tended(here, plan, report)
    except Transient as error:
        report.say(f"{error.message}; waiting for it")
    except SharderError as error:
        report.say(str(error))
