"""`python -m tests.chaos.soak --minutes 20`: runs back to back on one fleet, and whether anything grows.

Redis, an S3 server, two workers of two processes, a loader and PostgreSQL live throughout, and a `sharder watch`
that takes every second run. After each run old ones are removed, and then everything is counted while
nothing happens. `tests/chaos/steady.py` judges the figures.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import psycopg
import redis

from tests.chaos.steady import FEWEST, judge, paced, seconds_of_fixed_work, table
from tests.chaos.storm import DiskS3
from tests.fakes import specs
from tests.fakes.fleet import Fleet, until
from tests.fakes.servers import Postgres, Redis

TREES, CLIENTS = 4, 5  # 20 shards
KEEP = "1s"  # of closed runs: the stage holds the last one or two
MODES = ("overwrite-delete-stale", "append", "overwrite")
CONNECTIONS = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sharder'"  # of all databases
)
LANDINGS = (
    r"SELECT count(*) FROM pg_tables WHERE schemaname = 'sharder' AND tablename LIKE 'load\_%'"
)
WARM = 6  # runs that are not counted: imports, caches, first connections


class Soak:
    """The fleet, and what was seen of it after each run."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.series: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self.fixed: list[tuple[float, float]] = []  # seconds of what always takes the same
        self.runs = 0

    def last(self, minutes: float) -> None:
        """Run after run until the time is over."""
        with ExitStack() as stack:
            self._open(stack)
            began = time.monotonic()
            while time.monotonic() - began < 60 * minutes:
                at = time.monotonic()
                self._once()
                if self.runs > WARM:
                    now = time.monotonic()
                    self.series["a run's seconds"].append((now - began, now - at))
                    for name, value in self._look():
                        self.series[name].append((now - began, value))
                    self.fixed.append((now - began, seconds_of_fixed_work()))

    def _open(self, stack: ExitStack) -> None:
        self._redis = stack.enter_context(Redis())
        self._postgres = stack.enter_context(Postgres())
        # A table of one write mode has other keys than that of another: each has a database.
        self._dsns = {mode: self._postgres.create() for mode in MODES}
        self._s3 = DiskS3(self._home / "s3")
        self._s3.start()
        stack.callback(self._s3.kill)
        environment = {
            **DiskS3.environment,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._s3.port}",
            "SHARDER_BROKER": self._redis.url,
            "SHARDER_STAGE": "s3://stage/elt",
            **{variable(mode): dsn for mode, dsn in self._dsns.items()},
        }
        (self._home / "fleet").mkdir()
        self._fleet = stack.enter_context(Fleet(self._home / "fleet", environment))
        self._staff = {
            "worker 1": self._fleet.start("worker", "run", "--concurrency", "2"),
            "worker 2": self._fleet.start("worker", "run", "--concurrency", "2"),
            "loader": self._fleet.start("loader", "run"),
            "watch": self._watch(),
        }
        until(lambda: list((self._home / "s3" / "stage" / "o").rglob("watch.json")))

    def _watch(self) -> subprocess.Popen[str]:
        """Its words are read by nobody, so they must not fill a pipe."""
        code = "import os,sys; f=os.open('watch.log', os.O_CREAT|os.O_WRONLY|os.O_APPEND); "
        code += "os.dup2(f, 1); os.dup2(f, 2); from sharder.cli import main; main()"
        return self._fleet.start("sharder", "watch", code=code)

    def _once(self) -> None:
        """One run, by turns in each write mode, attached or detached; then old runs go."""
        self.runs += 1
        clients = [f"c{n:02}" for n in range(CLIENTS)]
        tree = specs.tree(trees=TREES, clients=clients, rows=200)
        mode = MODES[self.runs % len(MODES)]
        to = specs.postgresql(f"${{{variable(mode)}}}", write_mode=mode)
        text = specs.spec(tree, to, specs.fleet(shard_seconds=0.001, keep=KEEP))
        (self._fleet.home / "spec.yml").write_text(text)
        run = f"soak-{self.runs:05}"
        if self.runs % 2:
            self._fleet.sharder("submit", "spec.yml", "--run-id", run)
        else:
            self._fleet.sharder("submit", "spec.yml", "--run-id", run, "--detach")
            closed = self._home / "s3" / "stage" / "o" / "elt" / "runs" / run / "closed"
            until(lambda: closed.exists() and any(closed.iterdir()))
        self._truncate(self._dsns[mode])
        self._fleet.sharder("gc", "--keep", KEEP)

    def _truncate(self, dsn: str) -> None:
        """Appended rows are the user's to keep; here they would only fill the disk."""
        with psycopg.connect(dsn) as warehouse:
            for n in range(TREES):
                warehouse.execute(f"TRUNCATE root{n}, root{n}_leaves".encode())
            warehouse.execute("DELETE FROM sharder_loads")
            warehouse.execute("DELETE FROM sharder_cells")

    def _look(self) -> Iterator[tuple[str, float]]:
        for name, process in self._staff.items():
            parent, children = process.pid, descendants(process.pid)
            yield from ((f"{name}, parent {what}", n) for what, n in facts(parent).items())
            if children:
                each = [facts(pid) for pid in children]
                for what in ("rss", "threads", "fds"):
                    yield f"{name}, children {what}", sum(f.get(what, 0) for f in each)
        with redis.Redis.from_url(self._redis.url) as client:
            yield "Redis keys", float(client.dbsize())  # type: ignore[arg-type]
            yield "Redis memory", float(client.info("memory")["used_memory"])  # type: ignore[index]
        top = self._home / "s3" / "stage"
        yield "stage objects", float(sum(p.is_file() for p in (top / "o").rglob("*")))
        uploads = top / "u"
        yield "unfinished uploads objects", float(sum(1 for _ in uploads.glob("*")))
        yield "PostgreSQL connections", max(self._numbers(CONNECTIONS))
        yield "PostgreSQL landings", sum(self._numbers(LANDINGS))

    def _numbers(self, query: str) -> Iterator[float]:
        for dsn in self._dsns.values():
            with psycopg.connect(dsn) as warehouse:
                ((number,),) = warehouse.execute(query.encode()).fetchall()
                yield float(number)


def variable(mode: str) -> str:
    """Where the programs of the fleet find the database of a write mode."""
    return f"DSN_{mode.replace('-', '_').upper()}"


def facts(pid: int) -> Mapping[str, float]:
    """What one process holds; nothing if it has just ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        held = {line.split(":")[0]: line.split(":")[1].split() for line in lines}
        return {
            "rss": int(held["VmRSS"][0]) * 1024.0,
            "threads": float(held["Threads"][0]),
            "fds": float(sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())),
        }
    except (FileNotFoundError, ProcessLookupError, KeyError):
        return {}


def descendants(pid: int) -> list[int]:
    """Children and theirs."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *descendants(int(child))]
    except FileNotFoundError:
        return found
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    minutes = parser.parse_args().minutes
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left running
    with tempfile.TemporaryDirectory(prefix="sharder-soak-") as home:
        soak = Soak(Path(home))
        soak.last(minutes)
    if soak.runs < WARM + FEWEST:
        print(
            f"{soak.runs} runs in {minutes:g} minutes are too few to judge; at least {WARM + FEWEST}"
        )
        return 1
    series = dict(soak.series)
    series["a run's seconds"] = paced(series["a run's seconds"], soak.fixed)
    verdicts = [judge(name, points) for name, points in series.items()]
    growing = [v.name for v in verdicts if v.grows]
    print(table(verdicts))
    wall = (judge("a run's seconds", soak.series["a run's seconds"]), judge("seconds", soak.fixed))
    for what, v in zip(("a run by the clock", "what never changes"), wall, strict=True):
        print(f"{what}: {v.first:.1f} s, and {v.last:.1f} s in the last third")
    print(f"{soak.runs} runs in {minutes:g} minutes: {', '.join(growing) or 'nothing'} grows")
    return int(bool(growing))


if __name__ == "__main__":
    sys.exit(main())
