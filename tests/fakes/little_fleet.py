"""A worker and a loader that do the paperwork of their real counterparts, and no work.

A table's name says what happens to its shards: `denied` fails every cell, `dies` kills its process in
the first attempt, `always` in every one. `unloadable` is a table that the loader cannot load.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from uuid import uuid4

from contracts.commit import Attempt, Cell, Commit
from contracts.cursors import Cursors
from contracts.queue import Heart, Message
from contracts.receipt import LoadedTable, Receipt
from contracts.stage import Stage
from contracts.store import open_store


def now() -> datetime:
    return datetime.now(UTC)


def _start(stage: Stage, message: Message, heart: Heart) -> str:
    attempt = uuid4().hex
    stage.start_attempt(Attempt(run=message.run, job=message.job, attempt=attempt, started=now()))
    heart.beat(message.run, message.job, attempt)
    return attempt


def work(data: bytes, heart: Heart) -> None:
    message = Message.from_bytes(data)
    stage = Stage(open_store(os.environ["SHARDER_STAGE"]))
    if stage.committed(message.run, message.shard):
        return
    attempt = _start(stage, message, heart)
    shard = stage.shard(message.run, message.shard)
    first = stage.attempts(message.run, message.job) == 1
    if shard.table == "always" or (shard.table == "dies" and first):
        os._exit(9)
    failed = shard.table == "denied"
    cells = tuple(
        Cell(
            table=shard.table, client=client, outcome="failed" if failed else "ok",
            rows=0 if failed else 10, reason="denied" if failed else None,
            message="AccessDenied" if failed else "",
        )
        for client in stage.clients(message.run, shard.source, shard.clients)
    )  # fmt: skip
    stage.create_commit(
        Commit(
            run=message.run,
            shard=shard.id,
            attempt=attempt,
            started=now(),
            ended=now(),
            cells=cells,
        )
    )


def load(data: bytes, heart: Heart) -> None:
    message = Message.from_bytes(data)
    stage = Stage(open_store(os.environ["SHARDER_STAGE"]))
    if message.kind == "prepare":
        stage.write_cursors(
            Cursors(run=message.run, destination=message.destination, guarantee="transactional")
        )
        return
    load_id = _start(stage, message, heart)
    planned = stage.plan(message.run, message.round).table(message.source, message.table)
    commits = [stage.commit(message.run, s) for s in planned.shard_ids(message.round)]
    rows = sum(c.rows for c in commits)
    ok = message.table != "unloadable"
    stage.create_receipt(
        Receipt(
            run=message.run, destination=message.destination, source=message.source,
            table=message.table, round=message.round, rounds=(message.round,), load=load_id,
            outcome="ok" if ok else "failed", error="" if ok else "the disk is full",
            guarantee="transactional", started=now(), ended=now(),
            tables=(LoadedTable(table=message.table, copied=rows, published=rows),) if ok else (),
            cells_ok=sum(c.outcome == "ok" for x in commits for c in x.cells),
        )
    )  # fmt: skip
