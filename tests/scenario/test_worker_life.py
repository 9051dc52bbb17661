"""Sources that block, grow, die and leave threads: the run ends, and says of each what it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from contracts.commit import Cell
from contracts.errors import Exit
from contracts.stage import Stage
from contracts.store.local import LocalStore
from tests.fakes import specs
from tests.fakes.contents import of_duckdb
from tests.fakes.fleet import Fleet

pytestmark = pytest.mark.timeout(240)

WAYS = ("fine", "blocks", "grows", "killed")
RUN = "life"


def write(home: Path, *ways: str) -> None:
    sources = [
        specs.source(name, {"ways": found}, plugin="hog")
        for name, found in (
            ("hog", [w for w in ways if w != "blocks"]),
            ("slow", [w for w in ways if w == "blocks"]),
        )
        if found
    ]
    limits = specs.fleet(
        attempts=2, sources={"slow": {"timeout": "1s"}} if "blocks" in ways else {}
    )
    (home / "spec.yml").write_text(specs.spec(*sources, specs.duckdb(), limits))


def verdicts(stage: Path) -> Mapping[str, Cell]:
    """Table → how its only cell ended."""
    read = Stage(LocalStore(stage))
    found = {}
    for shard in read.committed_shards(RUN):
        commit = read.commit(RUN, shard)
        (cell,) = (commit.verdict,) if commit.verdict else commit.cells
        found[cell.table] = cell
    return found


def check(found: Mapping[str, Cell]) -> None:
    assert found["fine"].outcome == "ok"
    assert {t: c.reason for t, c in found.items()} == {
        "fine": None, "blocks": "timeout", "grows": "memory", "killed": "lost",
    }  # fmt: skip
    # Where it hung, by file and function.
    assert "hog.py" in found["blocks"].message
    assert "MiB of memory and may have" in found["grows"].message
    assert "probably for lack of memory" in found["killed"].message
    for table in ("blocks", "grows", "killed"):
        assert "2 attempts started and none of them ended" in found[table].message


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[Path]:
    """Where the programs have their temporary files."""
    path = tmp_path / "tmp"
    path.mkdir()
    yield path
    assert list(path.iterdir()) == []


LIMITS = {"SHARDER_WORKER_MEMORY": "512MiB", "SHARDER_TEST_GRACE_S": "0.5"}


def test_embedded_every_attempt_ends_and_the_run_tells_why(
    embedded: Fleet, temporary: Path
) -> None:
    write(embedded.home, *WAYS, "threads")
    embedded.environment |= {**LIMITS, "TMPDIR": str(temporary)}
    words = ("submit", "spec.yml", "--run-id", RUN, "--log-console")
    done = embedded.sharder(*words, expect=Exit.PARTIAL)
    found = dict(verdicts(embedded.home / ".sharder/stage"))
    assert found.pop("threads").reason == "failed"
    assert "event=threads_left source=hog" in done.said
    check(found)
    assert "was killed in the middle of" in done.said
    contents = of_duckdb(embedded.home / "w.duckdb")
    assert len(contents["fine"]) == 2
    assert not contents.get("blocks")


@pytest.mark.redis
@pytest.mark.slow
def test_on_a_fleet_it_is_the_same(tmp_path: Path, redis_url: str, temporary: Path) -> None:
    environment = {
        **LIMITS, "SHARDER_BROKER": redis_url, "SHARDER_STAGE": str(tmp_path / "stage"),
        "TMPDIR": str(temporary),
    }  # fmt: skip
    write(tmp_path, *WAYS)
    with Fleet(tmp_path, environment) as fleet:
        programs = [
            fleet.start("worker", "run", "--concurrency", "2", "--log-format", "json"),
            fleet.start("loader", "run"),
        ]
        fleet.sharder("submit", "spec.yml", "--run-id", RUN, expect=Exit.PARTIAL)
        check(verdicts(tmp_path / "stage"))
        assert '"event":"process_killed"' in (tmp_path / "worker.log").read_text()
        for program in programs:
            program.terminate()
            assert program.wait() == Exit.OK
