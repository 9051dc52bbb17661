"""`python -m tests.model.matrix [WORDS…]`: the whole crash matrix, with real servers, and its figures.

Words choose cells by what they are called: `fleet postgresql`. Offsets 0 to 5 with a stride of six
writes go through every write of a load; a shard of a tree has fewer writes than there are trees.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import get_args

from tests.fakes import specs
from tests.fakes.fleet import Fleet
from tests.fakes.matrix import Cell, Engine, Where, WriteMode, tried
from tests.fakes.servers import S3, Postgres, Redis, running

TREES = 10


def cells() -> Iterator[Cell]:
    axes = (get_args(Where), get_args(Engine), get_args(WriteMode), range(6))
    for where, engine, mode, offset in itertools.product(*axes):
        if engine != "file" or mode == "append":  # files are never written over by another run
            yield Cell(where, engine, mode, TREES, offset)


def main() -> int:
    chosen = [c for c in cells() if set(sys.argv[1:]) <= set(str(c).split())]
    killed = lost = doubled = 0
    with ExitStack() as stack:
        postgres, redis, s3 = (
            stack.enter_context(contextmanager(running)(kind)) for kind in (Postgres, Redis, S3)
        )
        for cell in chosen:
            found = _one(cell, postgres, redis, s3)
            killed += found.killed
            lost += found.lost.total()
            doubled += found.doubled.total()
            print(
                f"{cell}: {found.killed} killed, {found.lost.total()} rows lost, "
                f"{found.doubled.total()} doubled", flush=True,
            )  # fmt: skip
    print(f"{2 * len(chosen)} runs, {killed} killed, {lost} rows lost, {doubled} doubled")
    return bool(lost or doubled)


def _one(cell: Cell, postgres: Postgres, redis: Redis, s3: S3):
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
