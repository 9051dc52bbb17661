"""A worker that is killed at a chosen write of a shard: `python -m tests.fakes.dying STAGE` reads lines
`N before|after` and answers each with what became of a forked child that made one attempt.

The parent only imports: it has no threads that a fork could lose.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from contracts.stage import Stage
from contracts.store.local import LocalStore
from tests.fakes.crash import CrashingStore
from tests.fakes.runs import RUN, Steady, write_run
from tests.fakes.scripted import CHILD, PARENT, Handing, Scripted, rows
from worker.extract import extract
from worker.sources.base import CellDone, Event

CLIENTS = ("a", "b")
EXPECTED = {
    ("p", "a"): list(range(3000)), ("c", "a"): list(range(10)),
    ("p", "b"): list(range(500)), ("c", "b"): [],
}  # fmt: skip


def script(work: object, cursors: object) -> Iterator[Event]:
    for (table, client), keys in EXPECTED.items():
        for start in range(0, len(keys), 1000):
            page = keys[start : start + 1000]
            text = pa.array([hashlib.sha256(b"%d" % k).hexdigest() * 2 for k in page], pa.string())
            yield rows(table, client, page, **({"v": text} if table == "p" else {}))
        yield CellDone(table, client)


def prepare(path: Path) -> None:
    write_run(
        Stage(LocalStore(path)),
        (PARENT, CHILD),
        CLIENTS,
        path="cloudquery/x",
        spec={},
        part_size=1 << 16,
    )


def one_attempt(path: Path, nth: int = 0, moment: str = "before") -> int:
    """Writes made; the process is killed at the n-th."""
    from contracts.queue import Message

    store = CrashingStore(LocalStore(path), nth, moment)  # type: ignore[arg-type]
    extract(
        Message("shard", RUN, shard="01-0000000"),
        stage=Stage(store),
        heart=Steady(),
        environment={},
        opened=Handing(Scripted(script, (PARENT, CHILD))),
    )
    return store.writes


def main() -> None:
    for line in sys.stdin:
        path, nth, moment = line.split()
        prepare(Path(path))
        child = os.fork()
        if not child:
            one_attempt(Path(path), int(nth), moment)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
