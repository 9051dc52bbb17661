"""`python -m tests.model.matrix [--jobs N] [WORDS…]`: the whole crash matrix, with real servers, and its figures.

Words choose cells by what they are called: `fleet postgresql`. Offsets 0 to 5 with a stride of six
writes go through every write of a load; a shard of a tree has fewer writes than there are trees. A cell
of a fleet waits most of the time, for heartbeats to be silent: several at once cost little.
"""

from __future__ import annotations

import argparse
import itertools
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, get_args

from tests.fakes import specs
from tests.fakes.fleet import Fleet
from tests.fakes.matrix import Cell, Engine, Found, Where, WriteMode, tried
from tests.fakes.servers import S3, Postgres, Redis, running

TREES = 10


def cells() -> Iterator[Cell]:
    axes = (get_args(Where), get_args(Engine), get_args(WriteMode), range(6))
    for where, engine, mode, offset in itertools.product(*axes):
        if engine != "file" or mode == "append":  # files are never written over by another run
            yield Cell(where, engine, mode, TREES, offset)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.model.matrix", description=__doc__)
    parser.add_argument("words", nargs="*")
    parser.add_argument(
        "--jobs", type=int, default=1, help="cells at once, each with its own servers"
    )
    given = parser.parse_args()
    chosen = [c for c in cells() if set(given.words) <= set(str(c).split())]
    waiting: SimpleQueue[Cell] = SimpleQueue()
    for cell in chosen:
        waiting.put(cell)
    signal.signal(signal.SIGTERM, lambda *_: _empty(waiting))  # so that nothing is left running
    with ThreadPoolExecutor(given.jobs) as pool:
        figures = list(pool.map(lambda _: _some(waiting), range(given.jobs)))
    total: Counter[str] = Counter()
    for one in figures:
        total.update(one)
    print(
        f"{total['cells']} cells, {2 * total['cells']} runs, {total['killed']} killed, {total['lost']} rows lost, "
        f"{total['doubled']} doubled, {total['failed']} cells failed"
    )
    return bool(total["lost"] or total["doubled"] or total["failed"])


def _empty(waiting: SimpleQueue[Cell]) -> None:
    """Cells that have begun are the last."""
    with suppress(Empty):
        while True:
            waiting.get_nowait()


def _some(waiting: SimpleQueue[Cell]) -> Counter[str]:
    """Cell after cell until none waits; one that ends otherwise than it should keeps no other from being tried."""
    total: Counter[str] = Counter()
    with ExitStack() as stack:
        servers: list[Any] = [
            stack.enter_context(contextmanager(running)(k)) for k in (Postgres, Redis, S3)
        ]
        while True:
            try:
                cell = waiting.get_nowait()
            except Empty:
                return total
            total["cells"] += 1
            try:
                found = _one(cell, *servers)
            except Exception:
                total["failed"] += 1
                print(f"{cell}: failed\n{traceback.format_exc()}", flush=True)
                continue
            lost, doubled = found.lost.total(), found.doubled.total()
            total.update(killed=found.killed, lost=lost, doubled=doubled)
            said = f"{cell}: {found.killed} killed, {lost} rows lost, {doubled} doubled"
            print(said, *_named(found), sep="\n  ", flush=True)


def _named(found: Found) -> list[str]:
    """A few of the rows that are wrong."""
    wrong = [("lost", found.lost), ("doubled", found.doubled)]
    return [f"{what}: {row}" for what, rows in wrong for row in sorted(rows.elements())[:5]]


def _one(cell: Cell, postgres: Postgres, redis: Redis, s3: S3) -> Found:
    import redis as client

    environment: dict[str, str] = {}
    dsn = postgres.create()
    environment[specs.DSN] = dsn
    if cell.where == "fleet":
        with client.from_url(redis.url) as broker:
            broker.flushall()
        environment |= {
            **s3.environment(),
            "SHARDER_BROKER": redis.url,
            "SHARDER_STAGE": f"s3://{s3.create()}/stage",
        }
    try:
        with tempfile.TemporaryDirectory() as home, Fleet(Path(home), environment) as fleet:
            return tried(cell, fleet, dsn)
    finally:
        postgres.drop(dsn)


if __name__ == "__main__":
    sys.exit(main())
