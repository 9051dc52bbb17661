"""One run of a real fleet while everything under it is killed, suspended, flushed and cut off at random.

First a quiet run, then the stormy one, into PostgreSQL; and the same two specs embedded into DuckDB, which is the
oracle. Programs reach Redis, the S3 server and PostgreSQL only through proxies that misbehave. Throughout a
reader looks at the target tables: it must see the first run's state or the second's, and nothing between.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import redis

from contracts import layout
from contracts.errors import SharderError
from contracts.fleet import CeleryQueue
from contracts.queue import Message
from contracts.stage import Stage
from contracts.store import open_store
from tests.chaos.steady import slowness
from tests.fakes import specs
from tests.fakes.contents import differences, of_duckdb, of_postgresql
from tests.fakes.fleet import Fleet, kill
from tests.fakes.proxy import CALM, Faults, Proxy
from tests.fakes.servers import ROOT, Postgres, Redis

RUN = "storm"
OLD = {"rows": 4, "leaves": 2, "text": "old"}
NEW = {"rows": 3, "leaves": 3, "text": "new"}
WEATHER = Faults(delay=0.03, cut=0.004, truncate=0.004, drop_reply=0.008)


@dataclass(frozen=True)
class Climate:
    """What a seed decides."""

    seed: int
    trees: int = 30
    clients: int = 10
    storm_s: float = 60.0
    calm_within_s: float = 420.0
    modes: tuple[str, ...] = ("overwrite-delete-stale", "overwrite", "append")

    @property
    def write_mode(self) -> str:
        return self.modes[self.seed % len(self.modes)]

    @property
    def persistent(self) -> bool:
        """Whether Redis writes what it has to disk, as a production instance may or may not."""
        return bool(self.seed // len(self.modes) % 2)


@dataclass
class Log:
    """What was done to the fleet, and what came of it."""

    climate: Climate
    did: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    messages_lost: int = 0
    shards: int = 0
    attempts: int = 0
    looks: int = 0
    seconds: float = 0.0
    slowness: float = 1.0
    wrong: list[str] = field(default_factory=list)

    def line(self) -> str:
        c = self.climate
        kills = sum(n for what, n in self.did.items() if what.startswith("kill"))
        return (
            f"seed {c.seed} ({c.write_mode}, Redis {'with' if c.persistent else 'without'} persistence): "
            f"{self.shards} shards, {kills} kills, {dict(self.did)}, network {dict(self.faults)}, "
            f"{self.messages_lost} messages lost by the broker, {self.attempts - self.shards} shards attempted again, "
            f"{self.looks} looks of the reader, {self.seconds:.0f} s (machine {self.slowness:.1f} times as slow as its CPUs): {'; '.join(self.wrong) or 'equal to the oracle'}"
        )


class DiskS3:
    """tests/fakes/disk_s3.py: killed and started again, it has the same objects."""

    environment: Mapping[str, str] = {
        "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip

    def __init__(self, home: Path) -> None:
        self._home, self.port = home, 0
        (home / "stage" / "o").mkdir(parents=True)

    def start(self) -> None:
        """On another port than before: the old one may still be closing."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.disk_s3", str(self._home), "0"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self.process.stdout
        self.port = int(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


class Reader(threading.Thread):
    """Polls pairs of parent and child table; what it saw that no run ever published is kept."""

    def __init__(self, dsn: str, published: Mapping[str, set[str]]) -> None:
        super().__init__(name="reader", daemon=True)
        self._dsn, self._published = dsn, published
        self._ended = threading.Event()
        self.looks = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        while not self._ended.is_set():
            # The warehouse is restarted, too.
            with suppress(psycopg.OperationalError), psycopg.connect(self._dsn) as warehouse:
                while not self._ended.wait(0.01):
                    self._look(warehouse)
            self._ended.wait(0.2)

    def _look(self, warehouse: psycopg.Connection[Any]) -> None:
        for top, states in self._published.items():
            seen = str(warehouse.execute(state_of(top).encode()).fetchall())
            warehouse.rollback()
            self.looks += 1
            if seen not in states:
                self.wrong.append(f"a reader of {top} saw {seen}")

    def stop(self) -> None:
        self._ended.set()
        self.join()


def state_of(top: str) -> str:
    """One statement over a parent and its child: what a reader sees of a publish."""
    return (
        f"SELECT 'roots', text, count(*) FROM {top} GROUP BY 2 UNION ALL "
        f"SELECT 'leaves', '', count(*) FROM {top}_leaves ORDER BY 1, 2"
    )


class Storm:
    """The fleet of one seed."""

    def __init__(self, home: Path, climate: Climate, postgres: Postgres) -> None:
        self._home, self._climate, self._postgres = home, climate, postgres
        self._random = random.Random(climate.seed)
        self.log = Log(climate)

    def blow(self) -> Log:
        """The whole scenario; the log says what was wrong."""
        began = time.monotonic()
        with ExitStack() as stack:
            self._open(stack)
            published = self._oracle()
            self._write(OLD)
            self._staff()
            self._fleet.sharder("submit", "spec.yml", "--run-id", "quiet")
            self._write(NEW)
            reader = Reader(self._dsn, published)
            reader.start()
            self.log.slowness = slowness()
            try:
                code = self._stormy()
            finally:
                reader.stop()
            self.log.looks, self.log.wrong = reader.looks, self.log.wrong + reader.wrong[:5]
            self._judge(code)
        self.log.seconds = time.monotonic() - began
        return self.log

    def _open(self, stack: ExitStack) -> None:
        options = ("--appendonly", "yes") if self._climate.persistent else ()
        self._redis = stack.enter_context(Redis(options=options))
        self._s3 = DiskS3(self._home / "s3")
        self._s3.start()
        stack.callback(lambda: self._s3.kill())
        self._dsn = self._postgres.create()
        seed = self._climate.seed
        self._broker = stack.enter_context(Proxy(self._redis.port, seed))
        self._store = stack.enter_context(Proxy(self._s3.port, seed + 1))
        self._warehouse = stack.enter_context(Proxy(self._postgres.port, seed + 2))
        environment = {
            **DiskS3.environment,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._store.port}",
            "SHARDER_BROKER": f"redis://127.0.0.1:{self._broker.port}/0",
            "SHARDER_STAGE": "s3://stage/elt",
            specs.DSN: re.sub(r":\d+/", f":{self._warehouse.port}/", self._dsn),
        }
        (self._home / "fleet").mkdir()
        self._fleet = stack.enter_context(Fleet(self._home / "fleet", environment))
        self._staffed: dict[str, list[subprocess.Popen[str]]] = {"worker": [], "loader": []}

    def _spec(
        self, options: Mapping[str, Any], destination: specs.Document, delay_s: float = 0.8
    ) -> str:
        clients = [f"c{n:02d}" for n in range(self._climate.clients)]
        tree = specs.tree(trees=self._climate.trees, clients=clients, delay_s=delay_s, **options)
        # So small a shard holds one client; so many attempts are never used up.
        return specs.spec(tree, destination, specs.fleet(shard_seconds=0.001, attempts=500))

    def _write(self, options: Mapping[str, Any]) -> None:
        to = specs.postgresql(write_mode=self._climate.write_mode)
        (self._fleet.home / "spec.yml").write_text(self._spec(options, to))

    def _oracle(self) -> dict[str, set[str]]:
        """Both runs, embedded and undisturbed; the states that a reader may see, by table."""
        home = self._home / "oracle"
        home.mkdir()
        published: dict[str, set[str]] = {f"root{n}": set() for n in range(self._climate.trees)}
        to = specs.duckdb(write_mode=self._climate.write_mode)
        for options in (OLD, NEW):
            (home / "spec.yml").write_text(self._spec(options, to, delay_s=0.0))
            Fleet(home).sharder("submit", "spec.yml")
            with duckdb.connect(str(home / "w.duckdb"), read_only=True) as warehouse:
                for top, states in published.items():
                    states.add(str(warehouse.execute(state_of(top)).fetchall()))
        return published

    def _staff(self) -> None:
        for _ in range(3):
            self._hire("worker")
        for _ in range(2):
            self._hire("loader")

    def _hire(self, program: Any) -> None:
        words = ("run", "--concurrency", "2") if program == "worker" else ("run",)
        self._staffed[program].append(self._fleet.start(program, *words))

    def _stormy(self) -> int:
        """Until a submitter ends by itself; its exit code."""
        submitter = self._fleet.start("sharder", "submit", "spec.yml", "--run-id", RUN)
        began = time.monotonic()
        # A machine that is busy with something else needs longer to start again what was killed.
        pace = min(4.0, self.log.slowness)
        healed = False
        while submitter.poll() is None:
            age_s = time.monotonic() - began
            if age_s > self._climate.calm_within_s * pace:
                self.log.wrong.append("it did not end")
                return -1
            if age_s < self._climate.storm_s * pace:
                submitter = self._strike(submitter)
            elif not healed:
                healed = True
                self._heal()
            self._rest(0.3 * pace, 1.2 * pace)
            if submitter.poll() not in (None, 0):
                out, err = submitter.communicate()
                if submitter.returncode in {3, 4, 5} and "another run" not in err + out and healed:
                    self.log.wrong.append(
                        f"it ended with {submitter.returncode}: {(err + out)[-300:]}"
                    )
                    return submitter.returncode
                # Killed, or it gave up because nothing answered: whoever submits again goes on.
                submitter = self._fleet.start("sharder", "submit", "spec.yml", "--run-id", RUN)
        self._heal()
        submitter.communicate()
        return submitter.returncode

    def _rest(self, least_s: float, most_s: float) -> None:
        threading.Event().wait(self._random.uniform(least_s, most_s))

    def _strike(self, submitter: subprocess.Popen[str]) -> subprocess.Popen[str]:
        blows: dict[str, tuple[float, Callable[[], object]]] = {
            "kill worker node": (4, lambda: self._kill("worker")),
            "kill loader": (3, lambda: self._kill("loader")),
            "kill submitter": (1.5, lambda: kill(submitter)),
            "kill Redis": (1.5, self._kill_redis),
            "flush Redis": (1, self._flush),
            "kill S3": (1.5, self._kill_s3),
            "restart PostgreSQL": (1, self._restart_postgres),
            "suspend": (2, self._suspend),
            "deliver again": (4, self._duplicate),
            "bad network": (4, self._weather),
        }
        names = list(blows)
        (name,) = self._random.choices(names, [blows[n][0] for n in names])
        self.log.did[name] += 1
        blows[name][1]()
        return submitter

    def _kill(self, program: str) -> None:
        staff = self._staffed[program]
        kill(staff.pop(self._random.randrange(len(staff))))
        self._hire(program)

    def _waiting(self) -> int:
        with suppress(redis.RedisError), redis.Redis(port=self._redis.port) as client:
            return int(client.llen("shards")) + int(client.llen("loads"))  # type: ignore[arg-type]
        return 0

    def _kill_redis(self) -> None:
        before = self._waiting()
        self._redis.kill()
        self._rest(0.1, 3)
        self._redis.start()
        self._broker.upstream = self._redis.port
        self._broker.close()
        self.log.messages_lost += max(0, before - self._waiting())

    def _flush(self) -> None:
        self.log.messages_lost += self._waiting()
        with redis.Redis(port=self._redis.port) as client:
            client.flushall()

    def _kill_s3(self) -> None:
        self._store.shutting(True)
        self._s3.kill()
        self._rest(0.1, 4)
        self._s3.start()
        self._store.upstream = self._s3.port
        self._store.shutting(False)

    def _restart_postgres(self) -> None:
        self._warehouse.shutting(True)
        self._postgres.process.send_signal(signal.SIGQUIT)
        self._postgres.process.wait()
        self._postgres.start()
        self._warehouse.upstream = self._postgres.port
        self._warehouse.shutting(False)

    def _suspend(self) -> None:
        """A machine that sleeps and wakes up: its leases and heartbeats are long gone by then."""
        staff = self._staffed[self._random.choice(["worker", "loader"])]
        asleep = self._random.choice(staff)
        os.killpg(asleep.pid, signal.SIGSTOP)
        threading.Timer(self._random.uniform(1, 40), _wake, [asleep]).start()

    def _duplicate(self) -> None:
        """The same messages once more, whatever has become of them."""
        with suppress(SharderError), self._direct() as stage:
            rounds = stage.rounds(RUN)
            if not rounds:
                return
            plan = stage.plan(RUN, rounds[-1])
            shards = self._random.sample(range(plan.shards), min(60, plan.shards))
            found = [Message("shard", RUN, shard=layout.shard_id(1, n)) for n in shards]
            found += [
                Message("load", RUN, "", "w", t.source, t.name, 1)
                for t in self._random.sample(plan.tables, 3)
                if all(stage.committed(RUN, s) for s in t.shard_ids(1))
            ]
            queue = CeleryQueue(self._redis.url)
            queue.put(found)
            queue.close()

    def _weather(self) -> None:
        proxies = (self._broker, self._store, self._warehouse)
        self._random.choice(proxies).faults = WEATHER
        self._random.choice(proxies).faults = CALM

    def _heal(self) -> None:
        for proxy in (self._broker, self._store, self._warehouse):
            proxy.faults = CALM
        for staff in self._staffed.values():
            for process in staff:
                _wake(process)

    @contextmanager
    def _direct(self) -> Iterator[Stage]:
        """The stage, past the proxy."""
        given = {**DiskS3.environment, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._s3.port}"}
        before = {k: os.environ.get(k) for k in given}
        os.environ.update(given)
        try:
            yield Stage(open_store("s3://stage/elt"))
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})

    def _judge(self, code: int) -> None:
        log = self.log
        for proxy in (self._broker, self._store, self._warehouse):
            log.faults += proxy.counts
        if code:
            log.wrong.append(f"exit code {code}\n{self._fleet.logs()[-2000:]}")
        log.wrong += differences(
            of_duckdb(self._home / "oracle" / "w.duckdb"), of_postgresql(self._dsn)
        )[:5]
        with self._direct() as stage:
            plan = stage.plan(RUN, 1)
            log.shards = plan.shards
            prefix = f"{layout.run_prefix(RUN)}attempts/"
            log.attempts = sum("load" not in e.key for e in stage.store.list(prefix))
            commits = sum(1 for _ in stage.store.list(layout.commits(RUN)))
            if commits != plan.shards:
                log.wrong.append(f"{commits} commits of {plan.shards} shards")
        with psycopg.connect(self._dsn) as warehouse:
            rows = warehouse.execute(
                "SELECT table_name, count(*) FROM sharder_loads WHERE run = %s GROUP BY 1 HAVING count(*) <> 1",
                (RUN,),
            ).fetchall()
            log.wrong += [f"{table} was recorded {n} times" for table, n in rows]


def _wake(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGCONT)
