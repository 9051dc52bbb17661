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

GREEDY = ("grows", "batch", "thread", "native", "held")
WAYS = ("fine", "blocks", "killed", *GREEDY)
RUN = "life"


def write(
    home: Path, *ways: str, text: str = "new", calm: bool = False, to: specs.Document | None = None
) -> None:
    sources = [
        specs.source(name, {"ways": found, "calm": calm, "text": text}, plugin="hog")
        for name, found in (
            ("hog", [w for w in ways if w != "blocks"]),
            ("slow", [w for w in ways if w == "blocks"]),
        )
        if found
    ]
    limits = specs.fleet(
        attempts=2, sources={"slow": {"timeout": "1s"}} if "blocks" in ways else {}
    )
    (home / "spec.yml").write_text(specs.spec(*sources, to or specs.duckdb(), limits))


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
        "fine": None, "blocks": "timeout", "killed": "lost", **dict.fromkeys(GREEDY, "memory"),
    }  # fmt: skip
    # Where it hung, by file and function.
    assert "hog.py" in found["blocks"].message
    for way in GREEDY:
        assert "MiB of memory and may have 384 MiB" in found[way].message
        assert "raise SHARDER_WORKER_MEMORY" in found[way].message
    assert "probably for lack of memory" in found["killed"].message
    for table in found.keys() - {"fine"}:
        assert "2 attempts started and none of them ended" in found[table].message


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[Path]:
    """Where the programs have their temporary files."""
    path = tmp_path / "tmp"
    path.mkdir()
    yield path
    assert list(path.iterdir()) == []


LIMITS = {"SHARDER_WORKER_MEMORY": "384MiB", "SHARDER_TEST_GRACE_S": "0.5"}


def test_embedded_every_attempt_ends_and_the_run_tells_why(
    embedded: Fleet, temporary: Path
) -> None:
    embedded.environment |= {**LIMITS, "TMPDIR": str(temporary)}
    write(embedded.home, *WAYS, text="old", calm=True)
    embedded.sharder("submit", "spec.yml")
    write(embedded.home, *WAYS, "threads")
    words = ("submit", "spec.yml", "--run-id", RUN, "--log-console")
    done = embedded.sharder(*words, expect=Exit.PARTIAL)
    found = dict(verdicts(embedded.home / ".sharder/stage"))
    assert found.pop("threads").reason == "failed"
    assert "event=threads_left source=hog" in done.said
    check(found)
    assert "was killed in the middle of" in done.said
    contents = of_duckdb(embedded.home / "w.duckdb")
    texts = {way: [row["v"] for row in contents[way]] for way in WAYS}
    # The old rows of those that failed stay.
    old, new = b"old".hex(), b"new".hex()
    assert texts == {way: [new if way == "fine" else old, None] for way in WAYS}


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


def greedy(home: Path) -> specs.Document:
    """A destination whose loader is greedy while there is a file `greed` (tests/fakes/greedy.py)."""
    document = specs.duckdb(write_mode="overwrite")
    document["spec"] |= {"path": "cloudquery/greedy"}
    document["spec"]["spec"] |= {"greed": str(home / "greed")}
    return document


LOADS = ("fine", "grows", "killed")


def test_a_loader_that_outgrows_its_memory_fails_that_load_alone_and_retry_loads_it(
    embedded: Fleet,
) -> None:
    embedded.environment |= {**LIMITS, "SHARDER_TEST_GREEDY": "1"}
    to, greed = greedy(embedded.home), embedded.home / "greed"
    write(embedded.home, *LOADS, text="old", calm=True, to=to)
    embedded.sharder("submit", "spec.yml")
    write(embedded.home, *LOADS, calm=True, to=to)
    before = of_duckdb(embedded.home / "w.duckdb")
    greed.touch()
    embedded.sharder("submit", "spec.yml", "--run-id", RUN, expect=Exit.PARTIAL)
    read = Stage(LocalStore(embedded.home / ".sharder/stage"))
    found = {way: read.receipt(RUN, "w", "hog", way, 1) for way in LOADS}
    assert {way: r.outcome for way, r in found.items() if r} == {
        "fine": "ok", "grows": "failed", "killed": "failed",
    }  # fmt: skip
    for way, says in (
        ("grows", "MiB of memory and may have 384 MiB"),
        ("killed", "probably for lack of memory"),
    ):
        receipt = found[way]
        assert receipt
        assert says in receipt.error
        assert "2 attempts started and none of them ended" in receipt.error
    after = of_duckdb(embedded.home / "w.duckdb")
    assert {way: after[way] == before[way] for way in LOADS} == {
        "fine": False, "grows": True, "killed": True,
    }  # fmt: skip
    greed.unlink()
    embedded.sharder("retry", RUN)
    loaded = of_duckdb(embedded.home / "w.duckdb")
    assert all(loaded[way] != before[way] for way in LOADS)


def test_a_loader_that_has_no_room_for_its_own_start_says_so_before_anything_is_extracted(
    embedded: Fleet,
) -> None:
    embedded.environment |= {**LIMITS, "SHARDER_TEST_GREEDY": "1"}
    write(embedded.home, "fine", to=greedy(embedded.home))
    for name in ("greed", "prepares"):
        (embedded.home / name).touch()
    done = embedded.sharder("submit", "spec.yml", expect=Exit.OUTSIDE)
    assert "destination 'w': the process had" in done.err
    assert "may have 384 MiB" in done.err
    assert "raise SHARDER_WORKER_MEMORY" in done.err
