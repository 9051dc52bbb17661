"""What the stage says about its runs: which are open, how far they are, who is at work on them."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from contracts import layout
from contracts.errors import InputError
from contracts.plan import Plan
from contracts.stage import Stage
from contracts.summary import Summary
from sharder import conclude, lease, text
from sharder.drive import cancelled
from sharder.holding import Leases

State = Literal["unplanned", "running", "interrupted", "closed"]


@dataclass(frozen=True)
class Status:
    """One run. `round` is its last; counts are those of that round."""

    run: str
    round: int
    state: State
    started: datetime | None = None
    sources: tuple[str, ...] = ()
    shards: int = 0
    commits: int = 0
    loads: int = 0
    receipts: int = 0
    held_by: str = ""
    cancelled: str = ""
    summary: Summary | None = None

    def to_json(self) -> dict[str, Any]:
        document = {k: v for k, v in vars(self).items() if k != "summary"}
        document["started"] = self.started.isoformat() if self.started else None
        if self.summary:
            document["summary"] = self.summary.model_dump(mode="json")
        return document


def known(stage: Stage, run: str) -> str:
    """The run id if the stage has such a run. Raises InputError, with the newest ids."""
    layout.check_run(run)
    if next(iter(stage.store.list(layout.run_prefix(run))), None):
        return run
    newest = ", ".join(reversed(stage.runs()[-3:]))
    raise InputError(
        f"there is no run '{run}' on the stage {stage.store.url}",
        f"the newest are: {newest}" if newest else "the stage holds no run; is it the right stage?",
    )


def open_round(stage: Stage, run: str) -> int:
    """The round of a run that is planned and not closed; 0 if there is none."""
    rounds = stage.rounds(run)
    return rounds[-1] if rounds and not stage.summary(run, rounds[-1]) else 0


def open_rounds(stage: Stage) -> Iterator[Plan]:
    """The plans of all open rounds on the stage, oldest run first."""
    for run in stage.runs():
        if round_ := open_round(stage, run):
            yield stage.plan(run, round_)


def pairs(plan: Plan) -> list[tuple[str, str]]:
    """Source and destination of every load of a plan: what a run holds leases of."""
    return [(s.name, d) for s in plan.sources for d in s.destinations]


def leases(stage: Stage, plan: Plan) -> Leases:
    """Those that whoever works on the plan holds; not taken yet."""
    part, sync_id = plan.part, plan.sync_id
    return Leases(stage.store, plan.run, pairs(plan), part=part, sync_id=sync_id)


def holder(stage: Stage, plan: Plan, now: datetime | None = None) -> lease.Lease | None:
    """The lease of somebody who is alive and at work on this run. `now`: the store's; else our own."""
    now, host = now or datetime.now(UTC), socket.gethostname()
    for source, destination in pairs(plan):
        held = lease.read(stage.store, source, destination, plan.part)
        if held and held.run == plan.run and lease.alive(held, now, host):
            return held
    return None


def by(held: lease.Lease | None) -> str:
    """Who holds a run; empty if nobody does."""
    if held is None:
        return ""
    return f"process {held.pid} on {held.host}" if held.pid else "left to a watch"


def status(stage: Stage, run: str) -> Status:
    """Raises InputError if there is no such run."""
    rounds = stage.rounds(known(stage, run))
    if not rounds:
        return Status(run, 0, "unplanned")
    plan, summary = stage.plan(run, rounds[-1]), stage.summary(run, rounds[-1])
    summary = conclude.told(stage, plan, summary) if summary else None
    held = None if summary else holder(stage, plan)
    suffix = f"/{plan.round}.json"
    return Status(
        run=run,
        round=plan.round,
        state="closed" if summary else "running" if held else "interrupted",
        started=plan.created,
        sources=tuple(s.name for s in plan.sources),
        shards=plan.shards,
        commits=_commits(stage, plan),
        loads=sum(len(plan.loaded_into(t)) for t in plan.tables),
        receipts=sum(e.key.endswith(suffix) for e in stage.store.list(layout.loads(run))),
        held_by=by(held),
        cancelled=cancelled(stage, run),
        summary=summary,
    )


def _commits(stage: Stage, plan: Plan) -> int:
    if not plan.shards:
        return 0
    ends = (layout.shard_id(plan.round, 0), layout.shard_id(plan.round, plan.shards - 1))
    return sum(1 for _ in stage.committed_shards(plan.run, *ends))


def lines(s: Status, inside: Sequence[str] = ()) -> list[str]:
    """The status for people; the last line says what to do next. `inside`: more about the round."""
    head = f"run {s.run}: {s.state}" + (f", round {s.round}" if s.round > 1 else "")
    if s.state == "unplanned":
        return [head, "it ended before it had a plan, and loaded nothing: submit it again"]
    found = [
        head + (f" ({s.held_by})" if s.held_by else ""),
        f"  sources: {', '.join(s.sources)}",
        f"  extracted: {s.commits:,} of {text.count(s.shards, 'shard')}",
        f"  loaded: {s.receipts:,} of {text.count(s.loads, 'table')}",
    ]
    found += [f"  {s.cancelled}"] if s.cancelled and not s.summary else []
    found += inside
    if s.summary:
        return [*found, *text.summary(s.summary)]
    return [*found, *([f"go on with: sharder resume {s.run}"] if s.state == "interrupted" else [])]
