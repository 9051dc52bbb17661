"""Feeds broken documents to everything that reads them: `python -m tests.fuzz_documents --seconds 300`.

One object is broken at a time: plan, chunk, clients, spec, cursors, start marker, commit, receipt, part, lease,
cancellation, summary, conclusion, history, tables to migrate. They are of a closed run (`run-0`), one that waits for its
load and one that waits for its shards. Then the real worker, loader, watcher, status, retry and gc meet it. What is
right: they go on, or say so in an error of ours; nobody hangs, nothing of somebody else is touched.
Every finding prints the seed that makes it again: `--seed N --seconds 1`.
"""

from __future__ import annotations

import argparse
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from contracts import layout
from contracts.commit import Attempt
from contracts.errors import Permanent, SharderError
from contracts.queue import Message
from contracts.stage import Stage
from contracts.store import open_store
from loader.conclude import conclude
from loader.load import load
from loader.migrating import migrate
from loader.prepare import prepare
from sharder import gc, holding, lease, listing, status, undone
from sharder.drive import Drive, cancel
from sharder.flight import EMBEDDED
from sharder.retry import plan_retry
from tests.fakes import runs
from tests.fakes.mutate import mutated
from tests.fakes.stage import Bad, Good, StageRun, StillHeart, rows, shard, table
from worker.extract import extract
from worker.sources.base import Context

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SLOW_S = 20.0
RUNS = ("run-0", "run-1", "run-2")
CANARY = [(1, "alive")]


class Quiet:
    """A queue without a fleet, and a teller without a listener."""

    def put(self, messages: Any) -> None: ...
    def waiting(self) -> int:
        return 0

    def beats(self, run: str, jobs: Any) -> dict[str, str]:
        return {}

    def workers(self) -> int:
        return 1

    def close(self) -> None: ...
    def say(self, text: str) -> None: ...
    def progress(self, plan: Any, tally: Any) -> None: ...


class Ground:
    """A directory with runs in all states, from which each try gets a copy."""

    def __init__(self, home: Path, format_: str) -> None:
        self.whole, self.home = home / "whole", home / "try"
        (self.whole / "files").mkdir(parents=True)
        (self.whole / "files" / "people.csv").write_text("id,name\n1,ann\n2,bob\n")
        stage = Stage(open_store(str(self.whole / "stage")))
        self._write_closed(stage, format_)
        self._write_load(format_)
        self._write_extraction(stage, format_)
        stage.write_tables(stage.plan("run-0", 1).model_copy(update={"run": "run-3"}))
        for n in range(2):
            stage.store.put(layout.spec("run-3", n), stage.store.get(layout.spec("run-0", n)))
        own = holding.Leases(stage.store, "run-1", [("src", "w")])
        own.take()
        own.leave()  # nobody renews it in what the tries are copied from
        with duckdb.connect(str(self.whole / "w.duckdb")) as warehouse:
            warehouse.execute("CREATE TABLE canary AS SELECT 1 AS id, 'alive' AS v")

    def _write_closed(self, stage: Stage, format_: str) -> None:
        """Loaded, closed, concluded and cancelled; one of its cells is left to be tried again."""
        run = StageRun(
            self.whole / "stage", table(), spec={"connection_string": "${W}"}, format_=format_, state="cq_state",
            run="run-0", sync_time=NOW - timedelta(days=2), environment={"W": str(self.whole / "w.duckdb")},
        )  # fmt: skip
        run.round(
            [shard({"a": Good(rows(1, 2), {"items/a": "2"})}), shard({"b": Bad(rows=rows(9))})]
        )
        assert run.load().outcome == "ok"
        attempt = Attempt(run="run-0", job=layout.shard_id(1, 1), attempt="a0", started=NOW)
        stage.start_attempt(attempt)
        stage.give_up(attempt, Permanent("the first try was of no use"))
        watcher = Drive(stage, Quiet(), stage.plan("run-0", 1), EMBEDDED, Quiet())
        assert any(watcher.step()[1] for _ in range(9)), "the round does not close"
        conclude(
            Message("conclude", "run-0", destination="w", round=1), stage=stage, heart=StillHeart(),
            environment=run.environment,
        )  # fmt: skip
        cancel(stage, "run-0", "somebody had enough")

    def _write_load(self, format_: str) -> None:
        run = StageRun(
            self.whole / "stage", table(), spec={"connection_string": "${W}"}, format_=format_, state="cq_state",
        )  # fmt: skip
        run.round([shard({"a": rows(1, 2)}), shard({"b": rows(3)})], clients=["a", "b"])

    def _write_extraction(self, stage: Stage, format_: str) -> None:
        options = {"path": str(self.whole / "files" / "people.csv"), "primary_key": ["id"]}
        with suppress(SharderError):
            (self.whole / "files").mkdir(exist_ok=True)
        from worker.sources import registry

        context = Context(
            name="src", now=lambda: NOW, sleep=lambda _: None, cancelled=lambda: False,
            deterministic_cq_id=False, rate_per_s=0.0, max_clients_in_flight=0,
        )  # fmt: skip
        source = registry.open_source("file", options, context)
        tables = source.tables()
        clients = source.clients(tables[0])
        self.messages = runs.write_run(
            stage, tables, list(clients.ids), path="cloudquery/file", spec=options, run="run-2", format_=format_,
            cursors={"items/a": "1"},
        )  # fmt: skip
        source.close()

    def fresh(self) -> Path:
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.copytree(self.whole, self.home)
        return self.home


def check(ground: Ground, chance: random.Random) -> tuple[str, list[str]]:
    """Break one object, then let everybody meet it; the object and what they did."""
    home = ground.fresh()
    stage = Stage(open_store(str(home / "stage")))
    key = chance.choice([e.key for e in stage.store.list("")])
    stage.store.put(key, mutated(stage.store.get(key), chance))
    ends = [f"{name}:{end_of(lambda use=use: use(home, ground))}" for name, use in MEETINGS.items()]
    untouched(home)
    return key, ends


def untouched(home: Path) -> None:
    """What is not of the run is as it was."""
    with duckdb.connect(str(home / "w.duckdb")) as warehouse:
        assert warehouse.sql("FROM canary").fetchall() == CANARY, "the canary is gone"
    strangers = {p.name for p in home.iterdir()} - {"stage", "files", "w.duckdb"}
    assert not strangers, f"written beside the stage: {strangers}"


def end_of(use: Callable[[], object]) -> str:
    began = time.monotonic()
    try:
        use()
    except SharderError as error:
        return type(error).__name__
    finally:
        took = time.monotonic() - began
        assert took < SLOW_S, f"took {took:.0f} s"
    return "ok"


def _stage(home: Path) -> Stage:
    return Stage(open_store(str(home / "stage")))


def _load(home: Path, ground: Ground) -> object:
    return [
        load(
            Message("load", run, destination="w", source="src", table="items", round=1),
            stage=_stage(home), heart=StillHeart(), environment={"W": str(home / "w.duckdb")},
        )
        for run in ("run-0", "run-1")
    ]  # fmt: skip


def _conclude(home: Path, ground: Ground) -> object:
    return conclude(
        Message("conclude", "run-0", destination="w", round=1), stage=_stage(home), heart=StillHeart(),
        environment={"W": str(home / "w.duckdb")},
    )  # fmt: skip


def _prepare(home: Path, ground: Ground) -> object:
    message = Message("prepare", "run-1", destination="w")
    stage = _stage(home)
    prepare(message, stage=stage, environment={"W": str(home / "w.duckdb")})
    return [stage.cursors(run, "w") for run in ("run-1", "run-2")]


def _migrate(home: Path, ground: Ground) -> object:
    message = Message("migrate", "run-3", destination="w")
    return migrate(message, stage=_stage(home), environment={"W": str(home / "w.duckdb")})


def _extract(home: Path, ground: Ground) -> object:
    heart = runs.Steady()
    return [
        extract(m, stage=_stage(home), heart=heart, environment={}, sleep=lambda _: None)
        for m in ground.messages
    ]


def _drive(home: Path, ground: Ground) -> None:
    stage = _stage(home)
    for run in RUNS:
        plan = stage.plan(run, 1)
        drive = Drive(stage, Quiet(), plan, EMBEDDED, Quiet())
        for _ in range(3):
            drive.step()


def _status(home: Path, ground: Ground) -> None:
    stage = _stage(home)
    for run in stage.runs():
        found = status.status(stage, run)
        status.lines(found)
        found.to_json()
    list(status.open_rounds(stage))


def _list(home: Path, ground: Ground) -> None:
    found, _ = listing.table(_stage(home), NOW)
    listing.lines(found)


def _retry(home: Path, ground: Ground) -> None:
    stage = _stage(home)
    for run in RUNS:
        rounds = [stage.plan(run, n) for n in stage.rounds(run)]
        cells, loads = list(undone.cells(stage, rounds)), undone.loads(stage, rounds)
        if cells or loads:
            plan_retry(rounds, cells, now=NOW, load_again=loads)


def _leases(home: Path, ground: Ground) -> None:
    store = _stage(home).store
    lease.living(store)
    lease.holders(store)
    lease.read(store, "src", "w")


def _gc(home: Path, ground: Ground) -> None:
    stage = _stage(home)
    gc.collect(stage, NOW + timedelta(days=9), keep_s=86400.0, keep_runs=0)


MEETINGS: dict[str, Callable[[Path, Ground], object]] = {
    "prepare": _prepare,
    "load": _load,
    "conclude": _conclude,
    "migrate": _migrate,
    "extract": _extract,
    "drive": _drive,
    "status": _status,
    "list": _list,
    "retry": _retry,
    "leases": _leases,
    "gc": _gc,
}


@contextmanager
def grounds() -> Iterator[list[Ground]]:
    with tempfile.TemporaryDirectory(prefix="sharder-fuzz-") as home:
        yield [Ground(Path(home) / f, f) for f in ("parquet", "csv")]


def fuzz(
    what: str, doc: str | None, tried: Callable[[int, random.Random], tuple[str, list[str]]]
) -> int:
    """Try seed after seed for as long as the command line says; what is told of it, and an exit code."""
    words = argparse.ArgumentParser(description=doc)
    words.add_argument("--seconds", type=float, default=60.0)
    words.add_argument("--seed", type=int, default=0)
    found = words.parse_args()
    end, seed, findings = time.monotonic() + found.seconds, found.seed, 0
    counts: Counter[str] = Counter()
    unlike: Counter[str] = Counter()
    while time.monotonic() < end:
        try:
            kind, ends = tried(seed, random.Random(seed))
            counts[kind] += 1
            unlike.update(ends)
        except Exception as error:
            findings += 1
            trace = traceback.extract_tb(error.__traceback__)
            print(f"seed {seed}: {type(error).__name__}: {str(error)[:300]}")
            print("".join(traceback.format_list(trace[-3:])), flush=True)
        seed += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{seed - found.seed} {what}, {findings} findings, at most {peak} MiB")
    print(dict(counts))
    print(dict(sorted(unlike.items())))
    return 1 if findings else 0


def main() -> int:
    with grounds() as all_grounds:

        def tried(seed: int, chance: random.Random) -> tuple[str, list[str]]:
            key, ends = check(all_grounds[seed % 2], chance)
            return key.split("/")[2 if key.startswith("runs/") else 0], ends

        return fuzz("broken objects", __doc__, tried)


if __name__ == "__main__":
    sys.exit(main())
