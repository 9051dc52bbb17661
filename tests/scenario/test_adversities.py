"""What happens around a fleet that does its work: each adversity costs time, and no row, and readers never see half.

Before each a quiet run publishes `old` rows; the run that meets the adversity publishes `new` ones over them.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
import redis

from contracts import layout
from contracts.errors import Exit
from contracts.stage import Stage
from contracts.store import open_store
from contracts.summary import Summary
from tests.chaos.storm import DiskS3, Reader, state_of
from tests.fakes import specs
from tests.fakes.contents import of_postgresql
from tests.fakes.fleet import Fleet, ended, kill, until
from tests.fakes.servers import Postgres

pytestmark = [pytest.mark.redis, pytest.mark.postgres, pytest.mark.timeout(200)]

CLIENTS = ("ann", "bob", "cid")
ROWS, LEAVES = 3, 2
RUN = "stormy"


def state(text: str, clients: int = len(CLIENTS)) -> str:
    """What a reader of `root0` and its leaves sees (tests/chaos/storm.py)."""
    rows = clients * ROWS
    return str([("leaves", "", rows * LEAVES), ("roots", f"{text} root0", rows)])


class Stand:
    """A fleet around Redis, a stage and PostgreSQL."""

    def __init__(self, fleet: Fleet, stage_url: str, dsn: str, gate: Path) -> None:
        self.fleet, self.dsn, self.gate = fleet, dsn, gate
        self.stage = Stage(open_store(stage_url))

    def staff(self) -> None:
        self.fleet.start("worker", "run", "--concurrency", "2")
        self.fleet.start("loader", "run")

    def write(
        self, text: str, *, mode: str = "overwrite-delete-stale", attempts: int = 3, **options: Any
    ) -> None:
        options = {"clients": CLIENTS, "rows": ROWS, "leaves": LEAVES, "text": text, **options}
        tree, to = specs.tree(**options), specs.postgresql(write_mode=mode)
        # So small a shard holds one client.
        fleet = specs.fleet(shard_seconds=0.001, attempts=attempts)
        (self.fleet.home / "spec.yml").write_text(specs.spec(tree, to, fleet))

    def settle(self) -> None:
        """The quiet run."""
        self.write("old")
        self.fleet.sharder("submit", "spec.yml", "--run-id", "quiet")

    def submit(self, run: str = RUN, **more: str) -> subprocess.Popen[str]:
        return self.fleet.start("sharder", "submit", "spec.yml", "--run-id", run, **more)

    def at_work(self, shards: int = 2) -> None:
        """Until so many shards wait at the gate."""
        until(lambda: len(list(self.gate.iterdir())) >= shards)

    def open_gate(self) -> None:
        (self.gate / "open").touch()

    def summary(self, run: str = RUN, round_: int = 1) -> Summary:
        found = self.stage.summary(run, round_)
        assert found, self.fleet.logs()
        return found

    def ends(self, submit: subprocess.Popen[str], code: Exit = Exit.OK) -> str:
        done = ended(submit)
        assert done.code == code, done.said + self.fleet.logs()
        assert "Traceback" not in done.said
        return done.said

    @contextmanager
    def read(self, *states: str) -> Iterator[None]:
        """Somebody reads all the time; at the end the last of the states is what there is."""
        reader = Reader(self.dsn, {"root0": set(states)})
        reader.start()
        try:
            yield
        finally:
            reader.stop()
        assert reader.wrong == []
        assert reader.looks
        assert self.seen() == states[-1]

    def seen(self) -> str:
        with psycopg.connect(self.dsn) as warehouse:
            return str(warehouse.execute(state_of("root0").encode()).fetchall())

    def attempts(self, run: str = RUN) -> int:
        """Started attempts at shards."""
        keys = (e.key for e in self.stage.store.list(f"{layout.run_prefix(run)}attempts/"))
        return sum("load" not in key for key in keys)


@pytest.fixture
def stand(tmp_path: Path, redis_url: str, postgres_dsn: str) -> Iterator[Stand]:
    yield from _stand(tmp_path, redis_url, str(tmp_path / "stage"), postgres_dsn)


def _stand(home: Path, broker: str, stage: str, dsn: str, **more: str) -> Iterator[Stand]:
    (home / "gate").mkdir()
    environment = {"SHARDER_BROKER": broker, "SHARDER_STAGE": stage, specs.DSN: dsn, **more}
    with Fleet(home, environment) as fleet:
        yield Stand(fleet, stage, dsn, home / "gate")


OLD, NEW = state("old"), state("new")


def test_redis_flushed_in_mid_run(stand: Stand, redis_url: str) -> None:
    stand.staff()
    stand.settle()
    stand.write("new", gate=str(stand.gate))
    with stand.read(OLD, NEW):
        submit = stand.submit()
        stand.at_work()
        with redis.from_url(redis_url) as broker:
            broker.flushall()
        stand.open_gate()
        stand.ends(submit)


@pytest.mark.slow
def test_redis_full_in_mid_run(stand: Stand, redis_url: str) -> None:
    """Celery's own main process would not survive a refused acknowledgement."""
    stand.staff()
    staff = list(stand.fleet.processes)
    stand.settle()
    stand.write("new", gate=str(stand.gate))
    with stand.read(OLD, NEW), redis.from_url(redis_url) as broker:
        submit = stand.submit()
        stand.at_work()
        broker.config_set("maxmemory", 1)
        try:
            stand.open_gate()
            until(lambda: len(list(stand.stage.committed_shards(RUN))) >= 2)
            until(lambda: stand.fleet.logs().count("step=ack") >= 2)
        finally:
            broker.config_set("maxmemory", 0)
        stand.ends(submit)
    assert [p.poll() for p in staff] == [None] * 2


@pytest.fixture
def on_s3(
    tmp_path: Path, redis_url: str, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Stand, Path]]:
    """A fleet whose stage is a server that can be told to refuse everything: by a file."""
    server = DiskS3(tmp_path / "s3")
    server.start()
    more = {**DiskS3.environment, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.port}"}
    for name, value in more.items():
        monkeypatch.setenv(name, value)
    try:
        for stand in _stand(tmp_path, redis_url, "s3://stage/elt", postgres_dsn, **more):
            yield stand, tmp_path / "s3" / "busy"
    finally:
        server.kill()


def test_a_stage_that_answers_503_for_a_while(on_s3: tuple[Stand, Path]) -> None:
    stand, busy = on_s3
    stand.staff()
    stand.settle()
    stand.write("new", gate=str(stand.gate))
    with stand.read(OLD, NEW):
        submit = stand.submit()
        stand.at_work()
        busy.touch()
        stand.open_gate()
        until(lambda: busy.stat().st_size > 60)
        busy.unlink()
        stand.ends(submit)


LONG = 60_000  # rows of each client: a part of some 300 kB


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", place], capture_output=True
    ).returncode:
        pytest.skip("no disk can be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.parametrize("full", ["stage", "warehouse"])
def test_a_full_disk_fails_with_its_reason_and_what_was_not_loaded_is_retried(
    embedded: Fleet, disk: Path, full: str
) -> None:
    file = (disk if full == "warehouse" else embedded.home) / "w.duckdb"
    embedded.environment["SHARDER_STAGE"] = str(
        (disk if full == "stage" else embedded.home) / "stage"
    )

    def write(text: str, rows: int) -> None:
        tree = specs.tree(rows=rows, leaves=1, text=text)
        (embedded.home / "spec.yml").write_text(specs.spec(tree, specs.duckdb(str(file))))

    def seen() -> list[tuple[str, int]]:
        with duckdb.connect(str(file)) as warehouse:
            return warehouse.execute("SELECT text, count(*) FROM root0 GROUP BY 1").fetchall()

    write("old", 2)
    embedded.sharder("submit", "spec.yml")
    write("new", LONG)
    done = embedded.sharder("submit", "spec.yml", "--run-id", "full", expect=Exit.OUTSIDE)
    assert "no space left on device" in done.said.lower(), done.said
    subprocess.run(["mount", "-o", "remount,size=100m", disk], check=True)
    assert seen() == [("old root0", 4)]
    embedded.sharder("retry", "full")
    assert seen() == [("new root0", 2 * LONG)]


def test_clocks_that_are_an_hour_apart_and_jump_back(stand: Stand) -> None:
    """A worker an hour behind; a submitter an hour ahead, and the next one an hour behind."""
    stand.fleet.start("worker", "run", "--concurrency", "2", SKEW_HOURS="-1")
    stand.fleet.start("loader", "run")
    stand.write("old")
    stand.ends(stand.submit("ahead", SKEW_HOURS="1"))
    stand.write("new", clients=CLIENTS[:2], gate=str(stand.gate))
    with stand.read(OLD, state("new", 2)):
        submit = stand.submit(SKEW_HOURS="-1")
        stand.at_work()
        stand.open_gate()
        stand.ends(submit)
    first, second = stand.stage.plan("ahead", 1), stand.stage.plan(RUN, 1)
    assert second.created < first.created
    assert second.sync_time > first.sync_time
    assert stand.attempts() == 2


def test_postgresql_restarting_between_two_statements_of_a_publish(
    tmp_path: Path, redis_url: str
) -> None:
    with Postgres() as server:
        dsn = server.create()
        for stand in _stand(tmp_path, redis_url, str(tmp_path / "stage"), dsn):
            stand.staff()
            stand.settle()
            stand.write("new")
            with stand.read(OLD, NEW):
                submit = stand.submit()
                with held(dsn, "root0_leaves"):
                    server.process.send_signal(signal.SIGQUIT)
                    server.process.wait()
                server.start()
                stand.ends(submit)


@contextmanager
def held(dsn: str, table: str) -> Iterator[None]:
    """A lock on the table, until a loader waits for it in the middle of its publish; readers may read."""
    with psycopg.connect(dsn) as holder, psycopg.connect(dsn, autocommit=True) as look:
        holder.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE".encode())
        query = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'sharder' AND wait_event_type = 'Lock'"
        until(lambda: look.execute(query.encode()).fetchall())
        yield
        if not holder.broken and not look.broken:
            try:
                holder.rollback()
            except psycopg.OperationalError:
                holder.close()  # the server was ended
                look.close()


@pytest.mark.slow
def test_a_shard_that_kills_its_worker_fails_alone_and_the_others_are_loaded(stand: Stand) -> None:
    stand.staff()
    stand.settle()
    stand.write("new", attempts=2, poison="bob", mode="overwrite")
    said = stand.ends(stand.submit(), Exit.PARTIAL)
    assert "2 attempts started and none of them ended" in said
    (problem,) = {(p.reason, tuple(p.clients)) for p in stand.summary().problems}
    assert problem == ("lost", ("bob",))
    found = {(row["_cq_client_id"], row["text"]) for row in of_postgresql(stand.dsn)["root0"]}
    assert found == {("ann", "new root0"), ("bob", "old root0"), ("cid", "new root0")}
    assert stand.attempts() == len(CLIENTS) + 1


# An hour, scaled: every timeout is a second or two.
SCALED = """
from dataclasses import replace
import contracts.fleet.names as names
import contracts.fleet.transport as transport
names.BEAT_EXPIRY_S = 2
transport.OPTIONS.update(visibility_timeout=1, unacked_restore_interval=1, unacked_restore_limit=1)
import contracts.fleet.heart as heart
heart.BEAT_EXPIRY_S = 2
"""
SCALED_WORKER = (
    f"{SCALED}import worker.pulse; worker.pulse.BEAT_S = 0.2\nfrom worker.cli import main; main()"
)
SCALED_SHARDER = f"""{SCALED}
import sharder.flight as flight, sharder.holding as holding, sharder.lease as lease
lease.EXPIRES_S, holding.RENEW_S = 2.0, 0.2
flight.FLEET = replace(flight.FLEET, silent_s=2.0, gone_s=2.0)
from sharder.cli import main; main()
"""


@pytest.mark.slow
def test_a_shard_that_is_longer_than_every_timeout_is_executed_once(stand: Stand) -> None:
    for _ in range(2):
        stand.fleet.start("worker", "run", "--concurrency", "2", code=SCALED_WORKER)
    stand.fleet.start("loader", "run")
    stand.settle()
    stand.write("new", gate=str(stand.gate), clients=CLIENTS[:1])
    with stand.read(OLD, state("new", 1)):
        words = ("submit", "spec.yml", "--run-id", RUN)
        submit = stand.fleet.start("sharder", *words, code=SCALED_SHARDER)
        stand.at_work(1)
        # Handed out again by the broker, and turned away. (Who turns it away acknowledges the one message
        # that both have, so that it need not come a third time.)
        until(lambda: "shard_is_worked_on" in stand.fleet.logs())
        stand.open_gate()
        stand.ends(submit)
    assert stand.attempts() == 1


def test_two_submitters_of_one_run_at_once_load_it_once(stand: Stand) -> None:
    stand.staff()
    stand.write("new", mode="append")
    submitters = [stand.submit(), stand.submit()]
    codes = sorted(ended(s).code for s in submitters)
    assert codes in ([Exit.OK, Exit.OK], [Exit.OK, Exit.LEASE])
    assert stand.seen() == NEW


def test_a_second_run_of_a_source_is_refused_before_it_extracts(stand: Stand) -> None:
    stand.staff()
    stand.settle()
    stand.write("new", gate=str(stand.gate))
    with stand.read(OLD, NEW):
        first = stand.submit()
        stand.at_work()
        second = ended(stand.submit("second"))
        assert second.code == Exit.LEASE
        assert RUN in second.err
        assert stand.stage.rounds("second") == []
        stand.open_gate()
        stand.ends(first)


@pytest.mark.slow
def test_a_loader_suspended_in_its_publish_holds_nobody_up_and_wakes_up_too_late(
    stand: Stand,
) -> None:
    stand.fleet.start("worker", "run", "--concurrency", "2")
    sleeper = stand.fleet.start("loader", "run")
    stand.settle()
    stand.write("new")
    with stand.read(OLD, NEW):
        submit = stand.submit()
        with held(stand.dsn, "root0_leaves"):
            os.killpg(sleeper.pid, signal.SIGSTOP)
            other = stand.fleet.start("loader", "run")
        stand.ends(submit)
        kill(other)
        said = stand.fleet.logs().count("event=loaded")
        os.killpg(sleeper.pid, signal.SIGCONT)
        until(lambda: stand.fleet.logs().count("event=loaded") > said)
    with psycopg.connect(stand.dsn) as warehouse:
        query = "SELECT table_name, count(*) FROM sharder_loads WHERE run = 'stormy' GROUP BY 1"
        assert sorted(warehouse.execute(query)) == [("root0", 1), ("root0_leaves", 1)]
    assert stand.summary().attempts_lost == 1
