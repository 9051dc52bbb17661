"""One attempt at one shard: whether to make it, its start marker, its heartbeat and its end.

Whatever happens before the commit leaves nothing that counts: another attempt may run at the same
time or later, and of all commits the first one wins.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from contracts import guard as guarding
from contracts.commit import Attempt, Commit
from contracts.errors import NotFound, SharderError, VersionUnknown
from contracts.guard import Caps, Guard
from contracts.observe import log, metrics, trace
from contracts.observe.log import event
from contracts.queue import Heart, Message
from contracts.stage import Stage
from worker.extraction import Extraction, Stopped, Surroundings
from worker.job import Job
from worker.limits.process import Limits
from worker.opened import OpenedSources
from worker.pulse import BEAT_S, Pulse
from worker.tell import tell


def utc_now() -> datetime:
    return datetime.now(UTC)


def this_worker() -> str:
    """Host and process, for people who look for the one that did it."""
    return f"{socket.gethostname()}:{os.getpid()}"


def extract(
    message: Message,
    *,
    stage: Stage,
    heart: Heart,
    environment: Mapping[str, str],
    now: Callable[[], datetime] = utc_now,
    sleep: Callable[[float], None] = time.sleep,
    worker: str = "",
    opened: OpenedSources | None = None,
    limits: Limits | None = None,
    dry_run: bool = False,
    beat_s: float = BEAT_S,
    memory_bytes: int = 0,
    capped: bool = False,
    traces: bool = False,
) -> Commit | None:
    """Work on a shard unless that is needless; the commit if this attempt made it.

    `memory_bytes`: what this process may have; 0: no limit. `capped`: leave a shard alone that has had all
    its attempts. `traces`: send spans as the standard variables say.

    Errors of the source become outcomes of cells. Errors of the stage are raised: nothing was committed,
    and another attempt may succeed. A dry run reads and writes all of it, then takes it back.
    """
    run, shard = message.run, message.shard
    try:
        job = Job.read(stage, run, shard)
    except VersionUnknown as error:
        event("plan_too_new", logging.ERROR, run=run, shard=shard, error=str(error))
        return None
    except NotFound as error:
        event("plan_gone", logging.WARNING, run=run, shard=shard, error=str(error))
        return None
    if stage.committed(run, shard) and not dry_run:
        event("shard_was_committed", **job.names)
        return None
    if heart.fresh(run, shard):
        event("shard_is_worked_on", **job.names)
        return None
    # A broker that hands the shard of a killed process out again would do so for ever.
    if capped and stage.attempts(run, shard) >= job.plan.attempts_of(job.source.name):
        event("shard_has_had_enough", logging.WARNING, **job.names)
        return None
    attempt = Attempt(
        run=run, job=shard, attempt=uuid4().hex, worker=worker or this_worker(), started=now()
    )
    to = trace.endpoints(traces, [job.source.otel])
    with (
        log.job(run=run, shard=shard, attempt=attempt.attempt, worker=attempt.worker),
        trace.span(run, "shard", to, **job.names, attempt=attempt.attempt) as span,
    ):
        sources = opened or OpenedSources(kept=0)
        around = Around(
            heart, environment, now, sleep, sources, limits or Limits(), beat_s, memory_bytes
        )
        try:
            return _attempt(job, attempt, stage, around, span, dry_run=dry_run)
        except BaseException:
            metrics.count("sharder_shards_total", source=job.source.name, outcome="failed")
            raise


@dataclass(frozen=True)
class Around:
    """What an attempt is given by its process."""

    heart: Heart
    environment: Mapping[str, str]
    now: Callable[[], datetime]
    sleep: Callable[[float], None]
    sources: OpenedSources
    limits: Limits
    beat_s: float
    memory_bytes: int


def _attempt(
    job: Job, attempt: Attempt, stage: Stage, around: Around, span: trace.Span, *, dry_run: bool
) -> Commit | None:
    """From the start marker to the end of the heartbeat."""
    run, shard = attempt.run, attempt.job
    if not dry_run:
        stage.start_attempt(attempt)
    limit_s = job.plan.timeout_s(job.source.name)
    guard = Guard(Caps(limit_s + guarding.GRACE_S if limit_s else 0.0, around.memory_bytes))

    def look() -> bool:
        around.limits.places.keep()
        return stage.cancelled(run)

    def give_up(error: SharderError) -> None:
        if not dry_run:
            stage.give_up(attempt, error)

    pulse = Pulse(
        around.heart,
        run=run,
        job=shard,
        attempt=attempt.attempt,
        cancelled=look,
        beat_s=around.beat_s,
        guard=guard,
        give_up=give_up,
    )
    surroundings = Surroundings(
        around.environment,
        around.now,
        around.sleep,
        pulse.cancelled,
        around.sources,
        around.limits,
        guard,
    )
    try:
        with pulse:
            extraction = Extraction(job, attempt, stage, surroundings)
            return _work(extraction, job, stage, span, dry_run=dry_run)
    except SharderError as error:
        give_up(error)
        raise


def _work(
    extraction: Extraction, job: Job, stage: Stage, span: trace.Span, *, dry_run: bool
) -> Commit | None:
    """From the first row to the commit; the parts stay only if they are, or may be, committed."""
    try:
        commit = extraction.run()
    except Stopped:
        extraction.discard()
        event("shard_cancelled", **job.names)
        metrics.count("sharder_shards_total", source=job.source.name, outcome="cancelled")
        span.failed("cancelled")
        return None
    except BaseException:
        extraction.discard()
        raise
    # If this raises, nobody knows whether the commit was made: the parts stay until the run goes.
    won = not dry_run and stage.create_commit(commit)
    if not won:
        # Only what this attempt wrote goes: the winner's parts have a prefix of their own.
        extraction.discard()
    tell(job, commit, "done" if won else "was_dry" if dry_run else "lost_race", span)
    return commit if won or dry_run else None
