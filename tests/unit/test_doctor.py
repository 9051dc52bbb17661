"""`sharder doctor`: what is well is said, what is wrong comes with what mends it, and the exit code follows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from contracts import layout
from contracts.cursors import Server
from contracts.errors import Exit
from contracts.stage import Stage
from contracts.store import open_store
from sharder import holding, lease, status
from sharder.cli import main
from sharder.doctor import Finding, examine, exit_code
from sharder.doctor.here import fits, python
from sharder.doctor.stage import skew
from sharder.doctor.warehouse import warehouse
from sharder.summary import release
from sharder.tested import Seen
from sharder.wishes import Wishes
from tests.fakes.plans import plan
from tests.fakes.servers import S3, Redis

SPEC = """kind: source
spec:
  name: files
  path: file
  tables: ["*"]
  destinations: [warehouse]
  spec: {tables: [{name: t, path: "./*.csv"}]}
---
kind: destination
spec:
  name: warehouse
  path: cloudquery/duckdb
  spec: {connection_string: ./w.duckdb}
"""
Look = Callable[..., dict[str, Finding]]


@pytest.fixture
def look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Look:
    """Check → its worst finding."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))

    def once(*paths: str, **wishes: str) -> dict[str, Finding]:
        found = examine(
            paths, Wishes(**{"stage": "./stage", **wishes}), os.environ, lambda _s: None, patience_s=20
        )  # fmt: skip
        order = ["ok", "warning", "failure"]
        return {f.check: f for f in sorted(found, key=lambda f: order.index(f.level))}

    return once


def test_a_laptop_is_well_with_nothing_installed(look: Look) -> None:
    found = look()
    assert {f.level for f in found.values()} == {"ok"}
    assert {"python", "libraries", "disk", "stage", "listing", "clock of the stage"} <= set(found)
    assert "embedded" in found["broker"].says


def test_an_open_run_without_a_holder_comes_with_the_command_that_ends_it(
    look: Look, tmp_path: Path
) -> None:
    at = Stage(open_store(str(tmp_path / "stage")))
    found = plan(2)
    at.write_plan(found, [])
    assert look()["runs"].mend == "sharder resume r"
    held = holding.Leases(at.store, "r", status.pairs(found))
    held.take()
    assert look()["runs"].level == "ok"
    held.release()


def test_a_run_of_a_newer_release_is_a_warning_and_no_end(look: Look, tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "stage"))
    store.put(layout.plan_index("newer", 1), b'{"version": 99}')
    assert "run newer cannot be read" in look()["runs"].says


def test_expired_leases_and_leftovers_are_told(look: Look, tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "stage"))
    renewed = datetime.now(UTC) - timedelta(hours=1)
    dead = lease.Lease(run="x", source="s", destination="d", host="h", pid=1, renewed=renewed)
    store.put(layout.lease("s", "d"), dead.to_bytes())
    (tmp_path / "stage" / ".tmp" / "old").write_bytes(b"12")
    found = look()
    assert "s into d (run x)" in found["leases"].says
    # A write sweeps files of a day; what is left is younger.
    assert found["leftovers"].level == "ok"


def test_a_stage_that_cannot_be_written_is_a_failure_and_the_rest_is_looked_at(look: Look) -> None:
    found = look(stage="/proc/nope")
    assert found["stage"].level == "failure"
    assert exit_code(list(found.values())) == Exit.OUTSIDE
    assert "broker" in found


@pytest.mark.s3
def test_a_bucket_that_ignores_conditions_is_a_failure(look: Look, s3: S3) -> None:
    assert "create only" in look(stage=f"s3://{s3.create('deaf')}/x")["stage"].says
    found = look(stage=f"s3://{s3.create()}/x")
    assert {f.level for f in found.values()} == {"ok"}, found


def test_a_broker_that_does_not_answer_is_a_failure(look: Look) -> None:
    found = look(broker="redis://127.0.0.1:1/0")
    assert found["broker"].level == "failure"
    assert found["broker"].mend


@pytest.fixture
def small_redis() -> Iterator[Redis]:
    with Redis(options=("--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru")) as server:
        yield server


@pytest.mark.redis
def test_a_broker_that_drops_messages_when_full_is_a_failure(
    look: Look, small_redis: Redis
) -> None:
    found = look(broker=small_redis.url)
    assert "allkeys-lru" in found["broker's memory"].says
    assert "noeviction" in found["broker's memory"].mend


@pytest.mark.redis
def test_a_fleet_tells_who_is_there_and_what_waits(look: Look, redis_url: str) -> None:
    import redis

    found = look(broker=redis_url)
    assert found["broker"].level == "ok"
    assert found["clock of the broker"].level == "ok"
    assert (found["workers"].level, found["workers"].mend) == ("warning", "start one: worker run")
    with redis.from_url(redis_url) as client:
        client.set("sharder:worker:shards:h:1:0.0.1", 2)
        client.rpush("loads", "x")
    found = look(broker=redis_url)
    assert found["workers"].says == "2 processes on 1 host (h)"
    assert (found["loaders"].level, found["loaders"].says) == (
        "failure",
        "none is alive, and 1 wait",
    )
    assert f"other releases than {release()}: 1 of 0.0.1" in found["releases"].says


def test_sources_and_destinations_of_a_spec_are_asked(look: Look, tmp_path: Path) -> None:
    (tmp_path / "spec.yml").write_text(SPEC)
    (tmp_path / "a.csv").write_text("a\n1\n")
    found = look("spec.yml")
    assert found["source files"].level == "ok"
    assert "ready to load" in found["destination warehouse"].says
    assert found["version of warehouse"].says.startswith("DuckDB ")
    assert found["clock of warehouse"].level == "ok"


def test_a_wrong_spec_alone_is_exit_code_2(look: Look, tmp_path: Path) -> None:
    (tmp_path / "spec.yml").write_text("kind: [")
    found = look("spec.yml")
    assert found["spec"].level == "failure"
    assert exit_code(list(found.values())) == Exit.INPUT


def test_the_command_prints_a_line_per_check_and_its_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--json"])
    lines = [orjson.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert ended.value.code == 0
    assert all(line.keys() == {"check", "level", "says", "mend"} for line in lines)
    with pytest.raises(SystemExit):
        main(["doctor"])
    assert capfd.readouterr().out.splitlines()[-1] == "all is well"


@pytest.mark.parametrize(
    ("found", "wanted", "fit"),
    [
        ("3.11.7", ">=3.11,<3.14", True), ("3.14.0", ">=3.11,<3.14", False), ("3.10.9", ">=3.11", False),
        ("5.6.3", ">=5.6.3", True), ("5.6.3+local", ">=5.6.4", False), ("22", ">=22", True), ("1", "", True),
    ],
)  # fmt: skip
def test_versions_are_compared_as_numbers(found: str, wanted: str, fit: bool) -> None:
    assert fits(found, wanted) is fit


def test_this_very_python_is_supported() -> None:
    assert [f.level for f in python()] == ["ok"]


@pytest.mark.parametrize(
    ("theirs", "level"), [(100.0, "ok"), (103.0, "ok"), (110.0, "warning"), (80.0, "warning"), (500.0, "failure")]
)  # fmt: skip
def test_a_clock_is_off_by_what_the_answer_itself_did_not_take(theirs: float, level: str) -> None:
    assert skew("clock", theirs, 99.0, 101.0).level == level


def seen(version: str, ahead_s: float = 0.0, oldest: str = "13") -> Seen:
    server = Server(name="PostgreSQL", version=version, now_s=1000.0 + ahead_s, oldest=oldest)
    return Seen(server, after_s=1000.5, before_s=999.5)


@pytest.mark.parametrize(
    ("version", "level"),
    [("17.2 (Debian 17.2-1)", "ok"), ("13.0", "ok"), ("12.22", "warning"), ("9.6", "warning")],
)
def test_a_warehouse_older_than_what_is_tested_is_a_warning(version: str, level: str) -> None:
    found, _ = warehouse("w", seen(version))
    assert (found.check, found.level, bool(found.mend)) == (
        "version of w", level, level != "ok",
    )  # fmt: skip
    assert version in found.says


@pytest.mark.parametrize(
    ("ahead_s", "level", "says"),
    [
        (0.0, "ok", "agrees with ours"),
        (30.0, "warning", "30 s ahead of ours"),
        (-7200.0, "failure", "behind ours"),
    ],
)
def test_a_warehouse_whose_clock_is_off_is_told(ahead_s: float, level: str, says: str) -> None:
    _, found = warehouse("w", seen("17.2", ahead_s))
    assert (found.check, found.level) == ("clock of w", level)
    assert says in found.says
    assert ("NTP" in found.mend) is (level != "ok")


def test_a_lease_that_cannot_be_read_is_told(look: Look, tmp_path: Path) -> None:
    open_store(str(tmp_path / "stage")).put(layout.lease("s", "d"), b'{"version": 99}')
    found = look()["leases"]
    assert (found.level, "format version 99" in found.says) == ("warning", True)
    assert "upgrade" in found.mend
