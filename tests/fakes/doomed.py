"""Whole runs whose processes die: workers and loaders of `python -m tests.fakes.doomed submit spec.yml …`,
and submitters forked by `submitter`.

Each job of the run dies once, in its first attempt: that of shard or table number n right after the n-th of
its writes (those of a loader are its statements and commits in the warehouse, too). So one run goes
through all the crash points that it has jobs for. `DOOMED_DEATHS` is a directory with a file per death.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from contracts.layout import parse_shard_id
from contracts.queue import Heart, Message
from contracts.stage import Stage
from contracts.store import Store, open_store
from tests.fakes import mortal
from tests.fakes.crash import CrashingStore

DEATHS = "DOOMED_DEATHS"
STRIDE = "DOOMED_STRIDE"  # a loader's table number n dies after 1 + offset + n × stride writes
OFFSET = "DOOMED_OFFSET"

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    [
        "tests.fakes.doomed", "sharder.cli.runs", "sharder.run", "sharder.report", "pyarrow",
        "contracts.fleet.queue", "kombu.transport.redis", "celery.app.amqp",
        "loader.warehouses.duckdb", "loader.warehouses.postgresql", "worker.ids",
    ]
)  # fmt: skip


def work(data: bytes, heart: Heart) -> None:
    """In place of `worker.handle.handle`."""
    from worker.extract import extract

    message = Message.from_bytes(data)
    at = parse_shard_id(message.shard)[1] + 1
    store = CrashingStore(
        open_store(os.environ["SHARDER_STAGE"]), at, "after", lambda: _die(message.job, at)
    )
    extract(message, stage=Stage(store), heart=heart, environment=os.environ)


def load(data: bytes, heart: Heart) -> None:
    """In place of `loader.handle.handle`."""
    from loader import load as loading
    from loader.cache import Warehouses
    from loader.conclude import conclude
    from loader.prepare import prepare

    message = Message.from_bytes(data)
    stage = os.environ["SHARDER_STAGE"]
    if message.kind == "prepare":
        prepare(message, stage=Stage(open_store(stage)), environment=os.environ)
        return
    number = re.search(r"\d+$", message.table)
    at = 1 + int(number[0] if number else 0) * int(os.environ[STRIDE])
    countdown = _Countdown(at + int(os.environ.get(OFFSET, "0")), message.job)
    warehouses = Warehouses(lambda found: mortal._mortal(found, countdown))
    job = conclude if message.kind == "conclude" else loading.load
    job(
        message,
        stage=Stage(mortal._mortal_store(stage, countdown)),
        heart=heart,
        environment=os.environ,
        warehouses=warehouses,
    )
    for warehouse in warehouses._opened.values():
        warehouse.close()


def serve_worker() -> None:
    """`worker run` whose shards die once."""
    from worker import tasks
    from worker.cli import main as command

    vars(tasks)["work"] = lambda data, heart, broker: work(data, heart)
    command()


def serve_loader() -> None:
    """`loader run` whose loads die once."""
    from loader import tasks
    from loader.cli import main as command

    vars(tasks)["work"] = load
    command()


class _Countdown(mortal.Countdown):
    def __init__(self, at: int, job: str) -> None:
        super().__init__(at)
        self._at, self._job = at, job

    def wrote(self) -> None:
        self.left -= 1
        if self.left == 0:
            _die(self._job, self._at)


def _die(job: str, at: int) -> None:
    """Once: the second attempt at the job lives."""
    mark = Path(os.environ[DEATHS], f"{job.replace(' ', '-')}@{at}")
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def submitter(home: Path, environment: Mapping[str, str], at: int, *words: str) -> tuple[int, str]:
    """A `sharder` command that dies right after its n-th write to the stage (0: it does not).

    Its exit code (negative: a signal), and what it said.
    """
    said = home / "said"
    process = _SERVER.Process(target=_command, args=(home, dict(environment), at, words, said))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode, said.read_text()


def _command(
    home: Path, environment: Mapping[str, str], at: int, words: Sequence[str], said: Path
) -> None:
    import tests.fakes.site.sitecustomize  # noqa: F401 — the source `tree` is installed
    from sharder import place
    from sharder.cli import main

    os.chdir(home)
    os.environ.clear()
    os.environ.update(environment)
    output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)

    def crashing(url: str) -> Store:
        return CrashingStore(open_store(url), at, "after")

    # A composition of its own: the same command on a store that ends the process.
    vars(place)["open_store"] = crashing
    main(words)


def main() -> None:
    from sharder import pool
    from sharder.cli import main as command

    handlers = {"worker": "tests.fakes.doomed:work", "loader": "tests.fakes.doomed:load"}
    chosen = os.environ.get("DOOMED_ROLES", "worker loader").split()
    assert isinstance(pool.HANDLERS, dict)
    pool.HANDLERS.update({role: handlers[role] for role in chosen})
    command(sys.argv[1:])


if __name__ == "__main__":
    main()
