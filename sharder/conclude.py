"""After a round is closed: its summary written into the destinations that want it (`send_sync_summary`).

The loader does it, since only it may talk to a warehouse; here it is asked, again where a message or a
loader was lost, until every such destination has a conclusion. What fails is told as a warning: the rows
of the round are loaded, and its exit code stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from contracts.plan import Plan
from contracts.queue import Message, Queue
from contracts.stage import Stage
from contracts.summary import Summary
from contracts.sync import TABLE, Conclusion
from sharder.flight import Flights, Rules


def wanted(plan: Plan) -> list[Message]:
    """One message per destination that some source of the round writes to and that wants a summary."""
    written = {d for s in plan.sources for d in s.destinations}
    return [
        Message("conclude", plan.run, destination=d.name, round=plan.round)
        for d in plan.destinations
        if d.send_sync_summary and d.name in written
    ]


def missing(stage: Stage, plan: Plan) -> bool:
    """Whether a closed round was left before everybody had its summary."""
    return any(stage.conclusion(m.run, m.destination, m.round) is None for m in wanted(plan))


def told(stage: Stage, plan: Plan, summary: Summary) -> Summary:
    """The summary with a warning for each destination that does not have it."""
    found = [stage.conclusion(m.run, m.destination, m.round) for m in wanted(plan)]
    warnings = tuple(
        f"{c.destination}: the summary was not written into '{TABLE}': {c.error}"
        for c in found
        if c and c.error
    )
    new = tuple(w for w in warnings if w not in summary.warnings)
    return summary.model_copy(update={"warnings": (*summary.warnings, *new)})


class Concluding:
    """The conclusions of one closed round being waited for, look by look."""

    def __init__(self, stage: Stage, queue: Queue, plan: Plan, rules: Rules) -> None:
        self._stage, self._queue = stage, queue
        self._run = plan.run
        self._open = {m.job: m for m in wanted(plan)}
        self._flights = Flights(rules)
        self._sent = False

    def step(self, now: float) -> bool:
        """Look and act once; whether everything is concluded. `now` is monotonic, in seconds.

        As everywhere heartbeats and queue are seen before results, so that what ended is not taken for dead.
        """
        beats = self._queue.beats(self._run, self._flights.jobs()) if self._sent else {}
        waiting = self._queue.waiting()
        for job, m in list(self._open.items()):
            if self._stage.conclusion(m.run, m.destination, m.round):
                del self._open[job]
                self._flights.done(job)
        if not self._open:
            return True
        if not self._sent:
            self._send(list(self._open), now)
            self._sent = True
            return False
        self._flights.look(now, beats, waiting)
        counts = {job: self._stage.attempts(self._run, job) for job in self._flights.doubtful()}
        again, lost = self._flights.judge(now, counts)
        self._queue.put([self._open[job] for job in again])
        for one in lost:
            self._give_up(self._open[one.job], one.why)
        return False

    def _send(self, jobs: Sequence[str], now: float) -> None:
        self._queue.put([self._open[job] for job in jobs])
        self._flights.sent(jobs, now)

    def _give_up(self, m: Message, why: str) -> None:
        said = self._stage.last_error(m.run, m.job)
        error = f"{why}; the last one said: {said}" if said else why
        now = datetime.now(UTC)
        self._stage.create_conclusion(
            Conclusion(
                run=m.run, destination=m.destination, round=m.round, outcome="failed",
                error=error, started=now, ended=now,
            )
        )  # fmt: skip
