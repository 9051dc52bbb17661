"""One attempt at one shard: whether to make it, its start marker, its heartbeat and its end.

Whatever happens before the commit leaves nothing that counts: another attempt may run at the same
time or later, and of all commits the first one wins.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from uuid import uuid4

from contracts.commit import Attempt, Commit
from contracts.errors import NotFound, SharderError, VersionUnknown
from contracts.queue import Heart, Message
from contracts.stage import Stage
from worker.extraction import Extraction, Stopped, Surroundings
from worker.job import Job
from worker.log import event
from worker.opened import OpenedSources
from worker.pulse import BEAT_S, Pulse


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
    dry_run: bool = False,
    beat_s: float = BEAT_S,
) -> Commit | None:
    """Work on a shard unless that is needless; the commit if this attempt made it.

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
    attempt = Attempt(
        run=run, job=shard, attempt=uuid4().hex, worker=worker or this_worker(), started=now()
    )
    if not dry_run:
        stage.start_attempt(attempt)
    sources = opened or OpenedSources(kept=0)
    pulse = Pulse(
        heart,
        run=run,
        job=shard,
        attempt=attempt.attempt,
        cancelled=lambda: stage.cancelled(run),
        beat_s=beat_s,
    )
    around = Surroundings(environment, now, sleep, pulse.cancelled, sources)
    try:
        with pulse:
            return _work(Extraction(job, attempt, stage, around), job, stage, dry_run=dry_run)
    except SharderError as error:
        if not dry_run:
            stage.give_up(attempt, error)
        raise


def _work(extraction: Extraction, job: Job, stage: Stage, *, dry_run: bool) -> Commit | None:
    """From the first row to the commit; the parts stay only if they are, or may be, committed."""
    try:
        commit = extraction.run()
    except Stopped:
        extraction.discard()
        event("shard_cancelled", **job.names)
        return None
    except BaseException:
        extraction.discard()
        raise
    # If this raises, nobody knows whether the commit was made: the parts stay until the run goes.
    won = not dry_run and stage.create_commit(commit)
    if not won:
        # Only what this attempt wrote goes: the winner's parts have a prefix of their own.
        extraction.discard()
    _tell(job, commit, "shard_done" if won else "shard_was_dry" if dry_run else "shard_lost_race")
    return commit if won or dry_run else None


def _tell(job: Job, commit: Commit, name: str) -> None:
    cells: Counter[str] = Counter(c.outcome for c in commit.cells)
    event(
        name,
        **job.names,
        rows=commit.rows,
        bytes=commit.bytes,
        parts=len(commit.parts),
        seconds=(commit.ended - commit.started).total_seconds(),
        **cells,
    )
