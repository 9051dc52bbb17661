"""Whoever should not be at work is kept out, and whoever was thought dead does no harm: real processes."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts import layout
from contracts.errors import Exit
from tests.fakes import specs
from tests.fakes.contents import of_duckdb, of_postgresql
from tests.fakes.fleet import Ended, Fleet, ended, kill

pytestmark = pytest.mark.timeout(120)

CLIENTS = ("ann", "bob")
STAGE = ".sharder/stage"
# Leases that expire after two seconds.
HASTY = """
import sharder.holding as holding, sharder.lease as lease
lease.EXPIRES_S, holding.RENEW_S = 2.0, 0.2
from sharder.cli import main; main()
"""
# Leases that neither expire nor are renewed while a test goes on.
STILL = """
import sharder.holding as holding, sharder.lease as lease
lease.EXPIRES_S, holding.RENEW_S = 3600.0, 3000.0
from sharder.cli import main; main()
"""
WORDS = ("--workers", "1")


def until(condition: Callable[[], object]) -> None:
    """Poll real processes; the test's own timeout ends what never happens."""
    while not condition():
        select.select([], [], [], 0.01)


def write(
    place: Path, warehouse: specs.Document, text: str, *, gate: str = "", name: str = "spec.yml"
) -> str:
    tree = specs.tree(trees=1, rows=1, leaves=1, clients=list(CLIENTS), text=text, gate=gate)
    (place / name).write_text(specs.spec(tree, warehouse))
    return name


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    path = tmp_path / "gate"
    path.mkdir()
    return path


def arrived(gate: Path) -> list[str]:
    return [p.name for p in gate.iterdir() if p.name != "open"]


def refused(done: Ended, *said: str) -> None:
    assert done.code == Exit.LEASE, done.said
    for words in said:
        assert words in done.err


def texts(rows: dict[str, list[dict[str, object]]]) -> list[object]:
    return sorted(str(row["text"]) for row in rows["root0"])


def test_a_run_at_work_keeps_all_others_out_whatever_they_are_called_and_their_clock_says(
    embedded: Fleet, tmp_path: Path, gate: Path
) -> None:
    spec = write(tmp_path, specs.duckdb(), "first", gate=str(gate))
    first = embedded.start("sharder", "submit", spec, *WORDS, "--run-id", "first", code=STILL)
    until(lambda: arrived(gate))
    other = write(tmp_path, specs.duckdb("./other.duckdb"), "other", name="other.yml")

    def knock(**more: str) -> Ended:
        return ended(embedded.start("sharder", "submit", other, *WORDS, code=STILL, **more))

    refused(knock(), "run first is syncing source 'trees' into 'w'")
    for hours in ("3", "-3"):
        refused(knock(SKEW_HOURS=hours), "run first")
    key = tmp_path / STAGE / layout.lease("trees", "w")
    ours = key.read_bytes()
    for damaged in (b"", b"{", b'{"version": 99, "run": "first"}'):
        key.write_bytes(damaged)
        refused(
            knock(),
            "somebody may be syncing",
            layout.lease("trees", "w"),
        )
        assert "first" in embedded.sharder("runs").out
    key.write_bytes(b"no lease" + ours)
    (gate / "open").touch()
    done = ended(first)
    assert done.code == 0, done.said
    assert texts(of_duckdb(tmp_path / "w.duckdb")) == ["first root0"] * 2
    assert not (tmp_path / "other.duckdb").exists()


def test_the_same_run_id_for_something_else_is_refused_and_says_what_differs(
    embedded: Fleet, tmp_path: Path, gate: Path
) -> None:
    spec = write(tmp_path, specs.duckdb(), "first", gate=str(gate))
    words = ("submit", spec, *WORDS, "--run-id", "nightly")
    first = embedded.start("sharder", *words, "--table", "root0")
    until(lambda: arrived(gate))

    def told(*more: str, then: str) -> str:
        done = embedded.sharder(*words, *more, expect=Exit.INPUT)
        assert "run nightly is there already, and was submitted with something else" in done.err
        assert "give another --run-id" in done.err
        assert then in done.err
        return done.err

    more = ("--table", "*", "--client", "ann", "--deadline", "1h", "--no-migrate")
    said = told(*more, then="then --table root0, now --table *")
    for flag in ("--client ann", "--deadline 3600s", "--no-migrate"):
        assert f"then no {flag.split()[0]}, now {flag}" in said
    assert "sharder resume nightly" in said
    (gate / "open").touch()
    assert ended(first).code == 0
    assert "sharder status nightly" in told(then="then --table root0, now no --table")
    write(tmp_path, specs.duckdb(), "second", gate=str(gate))
    told("--table", "root0", then="source 'trees' changed")
    write(tmp_path, specs.duckdb(), "first", gate=str(gate))
    assert "nothing is run again" in embedded.sharder(*words, "--table", "root0").err
    assert texts(of_duckdb(tmp_path / "w.duckdb")) == ["first root0"] * 2


def test_of_two_who_come_after_a_killed_holder_one_gets_in(
    embedded: Fleet, tmp_path: Path, gate: Path
) -> None:
    spec = write(tmp_path, specs.duckdb(), "first", gate=str(gate))
    first = embedded.start("sharder", "submit", spec, *WORDS, "--run-id", "first")
    until(lambda: arrived(gate))
    kill(first)
    (gate / "open").touch()
    both = [ended(p) for p in [embedded.start("sharder", "submit", spec, *WORDS) for _ in "ab"]]
    codes = sorted(done.code for done in both)
    # One may also be so late that the other has ended.
    assert codes in ([Exit.OK, Exit.LEASE], [Exit.OK, Exit.OK]), [done.said for done in both]
    winner = next(done for done in both if done.code == Exit.OK)
    assert "run first of trees was left open" in "".join(done.err for done in both), winner.said
    leases = tmp_path / STAGE / "leases"
    assert not [p for p in leases.rglob("*") if p.is_file()]


@pytest.mark.postgres
def test_a_holder_suspended_beyond_its_expiry_wakes_up_and_changes_nothing(
    embedded: Fleet, tmp_path: Path, gate: Path, postgres_dsn: str
) -> None:
    embedded.environment[specs.DSN] = postgres_dsn
    spec = write(tmp_path, specs.postgresql(), "sleeper", gate=str(gate))
    words = ("submit", spec, *WORDS, "--run-id", "sleeper")
    sleeper = embedded.start("sharder", *words, code=HASTY)
    until(lambda: arrived(gate))
    os.kill(sleeper.pid, signal.SIGSTOP)
    write(tmp_path, specs.postgresql(), "successor")
    codes = []

    def got_in() -> bool:
        codes.append(ended(embedded.start("sharder", "submit", spec, *WORDS, code=HASTY)))
        return codes[-1].code != Exit.LEASE

    until(got_in)
    assert codes[-1].code == Exit.OK, codes[-1].said
    assert "run sleeper of trees was left open" in codes[-1].err
    os.kill(sleeper.pid, signal.SIGCONT)
    (gate / "open").touch()
    done = ended(sleeper)
    assert done.code == Exit.OUTSIDE, done.said
    assert "Traceback" not in done.said
    assert "given up by the later run" in done.said
    assert texts(of_postgresql(postgres_dsn)) == ["successor root0"] * 2
    assert not [p for p in (tmp_path / STAGE / "leases").rglob("*") if p.is_file()]


@pytest.mark.postgres
@pytest.mark.parametrize("mode", ["overwrite-delete-stale", "append"])
def test_an_older_run_that_publishes_after_a_newer_one_is_refused_by_the_warehouse(
    embedded: Fleet, tmp_path: Path, gate: Path, postgres_dsn: str, mode: str
) -> None:
    """Two stages know nothing of each other's leases; what is left is the fence."""
    embedded.environment[specs.DSN] = postgres_dsn
    to = specs.postgresql(write_mode=mode)
    old = write(tmp_path, to, "older", gate=str(gate), name="old.yml")
    older = embedded.start("sharder", "submit", old, *WORDS, "--run-id", "older")
    until(lambda: arrived(gate))
    new = write(tmp_path, to, "newer", name="new.yml")
    embedded.sharder("submit", new, *WORDS, "--run-id", "newer", "--stage", "./elsewhere")
    (gate / "open").touch()
    done = ended(older)
    assert done.code == Exit.OUTSIDE, done.said
    assert "newer" in done.said
    assert texts(of_postgresql(postgres_dsn)) == ["newer root0"] * 2
    again = embedded.sharder("retry", "older", *WORDS, expect=Exit.OUTSIDE)
    assert "newer" in again.said
    assert texts(of_postgresql(postgres_dsn)) == ["newer root0"] * 2
