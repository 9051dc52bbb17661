"""`--shard 1/2` and `--shard 2/2` as two real submits side by side: together they are the unsharded run."""

from __future__ import annotations

import select
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.errors import Exit
from tests.fakes import specs
from tests.fakes.contents import differences, of_duckdb, of_postgresql
from tests.fakes.fleet import Ended, Fleet, ended, kill

pytestmark = pytest.mark.timeout(180)

TREES = 5


def write(place: Path, warehouse: specs.Document, *, gate: str = "", name: str = "spec.yml") -> str:
    source = specs.tree(trees=TREES, clients=["ann", "bob", "eve"], gate=gate)
    (place / name).write_text(specs.spec(source, warehouse))
    return name


def until(condition: Callable[[], object]) -> None:
    """Poll real processes; the test's own timeout ends what never happens."""
    while not condition():
        select.select([], [], [], 0.005)


def at_work(gate: Path) -> set[str]:
    """The tables that some shard is reading now."""
    return {p.name.split(".")[0] for p in gate.iterdir() if p.name != "open"}


def refused(done: Ended, run: str) -> None:
    assert done.code == Exit.LEASE, done.said
    assert f"run {run}" in done.err


@pytest.mark.postgres
def test_two_at_once_load_what_one_would(
    embedded: Fleet, tmp_path: Path, postgres_dsn: str
) -> None:
    embedded.environment[specs.DSN] = postgres_dsn
    gate = tmp_path / "gate"
    gate.mkdir()
    spec = write(tmp_path, specs.postgresql(), gate=str(gate))
    words = ("submit", spec, "--workers", "1", "--run-id", "nightly")
    both = [embedded.start("sharder", *words, "--shard", f"{n}/2") for n in (1, 2)]
    until(lambda: {"root0", "root1"} <= at_work(gate))  # dealt: 0, 2, 4 and 1, 3
    refused(embedded.run("submit", spec), "nightly-")
    refused(embedded.run("submit", spec, "--shard", "1/3"), "nightly-")
    refused(embedded.run("submit", spec, "--shard", "1/2"), "nightly-1-of-2")
    refused(embedded.run("submit", spec, "--shard", "2/2", "--run-id", "other"), "nightly-")
    (gate / "open").touch()
    for n, process in enumerate(both, 1):
        done = ended(process)
        assert done.code == 0, done.said
        assert f"run nightly-{n}-of-2: {3 if n == 1 else 2} tables" in done.out
    embedded.sharder("submit", write(tmp_path, specs.duckdb(), name="whole.yml"))
    assert differences(of_postgresql(postgres_dsn), of_duckdb(tmp_path / "w.duckdb")) == []
    leases = tmp_path / ".sharder/stage/leases"
    assert not [p for p in leases.rglob("*") if p.is_file()]


def test_one_after_the_other_into_a_file_that_one_process_can_open(
    embedded: Fleet, tmp_path: Path
) -> None:
    spec = write(tmp_path, specs.duckdb())
    for n in (1, 2, 3):
        embedded.sharder("sync", spec, "--shard", f"{n}/3")
    embedded.sharder("submit", write(tmp_path, specs.duckdb("./whole.duckdb"), name="whole.yml"))
    parts, whole = (of_duckdb(tmp_path / name) for name in ("w.duckdb", "whole.duckdb"))
    assert differences(parts, whole) == []


def test_a_shard_that_died_is_not_given_up_by_the_others_and_goes_on_by_its_id(
    embedded: Fleet, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    gate.mkdir()
    spec = write(tmp_path, specs.duckdb(), gate=str(gate))
    words = ("submit", spec, "--workers", "1", "--run-id", "nightly")
    first = embedded.start("sharder", *words, "--shard", "1/2")
    until(lambda: at_work(gate))
    kill(first)
    (gate / "open").touch()
    done = embedded.sharder(*words, "--shard", "2/2")
    assert "left open" not in done.err
    assert "interrupted" in embedded.sharder("status", "nightly-1-of-2").out
    embedded.sharder(*words, "--shard", "1/2")
    whole = write(tmp_path, specs.duckdb("./whole.duckdb"), name="whole.yml")
    embedded.sharder("submit", whole, "--stage", str(tmp_path / "elsewhere"))
    parts, expected = (of_duckdb(tmp_path / name) for name in ("w.duckdb", "whole.duckdb"))
    assert differences(parts, expected) == []


def test_a_whole_run_finishes_what_a_dead_shard_left_open(embedded: Fleet, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.mkdir()
    spec = write(tmp_path, specs.duckdb(), gate=str(gate))
    first = embedded.start(
        "sharder", "submit", spec, "--workers", "1", "--run-id", "x", "--shard", "1/2"
    )
    until(lambda: at_work(gate))
    kill(first)
    (gate / "open").touch()
    done = embedded.sharder("submit", spec)
    assert "run x-1-of-2 of trees was left open" in done.err
    assert len(of_duckdb(tmp_path / "w.duckdb")) == 2 * TREES
