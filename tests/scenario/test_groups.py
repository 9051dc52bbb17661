"""Whole runs whose tables share shards: kills, failures of one tree, departed clients, retries."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from contracts.errors import Exit
from tests.fakes import specs
from tests.fakes.contents import of_duckdb
from tests.fakes.fleet import Fleet

pytestmark = pytest.mark.timeout(300)

DOOMED = "from tests.fakes.doomed import main; main()"
TREES, ROWS, LEAVES = 10, 3, 2


def write(fleet: Fleet, *, mode: str = "append", shard_s: float = 60.0, **options: object) -> None:
    spec = specs.spec(
        specs.tree(together=True, keyed=False, **options),
        specs.duckdb(write_mode=mode),
        specs.fleet(shard_seconds=shard_s),
    )
    (fleet.home / "spec.yml").write_text(spec)


def loaded(fleet: Fleet) -> dict[str, dict[str, int]]:
    """Table → client → rows."""
    found: dict[str, dict[str, int]] = {}
    for table, rows in of_duckdb(fleet.home / "w.duckdb").items():
        of = found.setdefault(table, {})
        for row in rows:
            of[row["client"]] = of.get(row["client"], 0) + 1
    return found


def whole(trees: int, *clients: str) -> dict[str, dict[str, int]]:
    found = {}
    for n in range(trees):
        found[f"root{n}"] = dict.fromkeys(clients, ROWS)
        found[f"root{n}_leaves"] = dict.fromkeys(clients, ROWS * LEAVES)
    return found


def plan_of(fleet: Fleet, round_: int) -> dict:
    (index,) = (fleet.home / ".sharder/stage").glob(f"runs/*/plan/{round_}/index.json")
    return orjson.loads(index.read_bytes())


def test_workers_killed_after_every_write_of_shards_of_several_tables(
    embedded: Fleet, tmp_path: Path
) -> None:
    (deaths := tmp_path / "deaths").mkdir()
    write(embedded, trees=TREES, shard_s=4)  # four groups of tables, a shard per client
    process = embedded.start(
        "sharder", "submit", "spec.yml", code=DOOMED,
        DOOMED_DEATHS=str(deaths), DOOMED_ROLES="worker", DOOMED_STRIDE="1",
    )  # fmt: skip
    out, err = process.communicate()
    assert process.returncode == 0, out + err
    assert (plan_of(embedded, 1)["version"], plan_of(embedded, 1)["shards"]) == (2, 8)
    assert len(list(deaths.iterdir())) == 8
    assert loaded(embedded) == whole(TREES, "ann", "bob")


def test_a_tree_that_fails_is_the_only_one_to_keep_its_old_rows_and_to_be_retried(
    embedded: Fleet,
) -> None:
    embedded.environment["DENIED"] = "none"
    write(embedded, mode="overwrite-delete-stale", trees=3, failing="${DENIED}", clients=["ann", "bob", "cy"])  # fmt: skip
    embedded.sharder("submit", "spec.yml", "--run-id", "first")
    assert loaded(embedded) == whole(3, "ann", "bob", "cy")

    # cy has departed; root1 has older rows of ann and bob, since it did not end ok.
    write(embedded, mode="overwrite-delete-stale", trees=3, failing="${DENIED}", text="new")
    embedded.environment["DENIED"] = "root1"
    said = embedded.sharder("submit", "spec.yml", "--run-id", "second", expect=Exit.PARTIAL).said
    assert "denied" in said
    assert loaded(embedded) == whole(3, "ann", "bob")
    texts = {
        t: {row["text"] for row in rows}
        for t, rows in of_duckdb(embedded.home / "w.duckdb").items()
        if not t.endswith("leaves")
    }
    assert texts == {"root0": {"new root0"}, "root1": {"v root1"}, "root2": {"new root2"}}
    inside = embedded.sharder("status", "second", "--json").out
    status = orjson.loads(inside.splitlines()[0])
    assert (status["shards"], status["commits"], status["receipts"]) == (1, 1, 3)
    assert [(s["table"], s["tables"]) for s in status["slowest"]] == [("root0", 3)]
    assert "root0 and 2 tables more" in embedded.sharder("status", "second").out

    embedded.environment["DENIED"] = "none"
    embedded.sharder("retry", "second")
    retried = plan_of(embedded, 2)
    assert [t["name"] for t in retried["tables"]] == ["root1"]
    assert (retried["version"], retried["shards"], retried["cells"]) == (1, 1, 4)
    root1 = of_duckdb(embedded.home / "w.duckdb")["root1"]
    assert {row["text"] for row in root1} == {"new root1"}
    assert loaded(embedded) == whole(3, "ann", "bob")


def test_a_plan_shows_which_tables_share_their_shards(embedded: Fleet) -> None:
    write(embedded, trees=2)
    assert "1 shared" in embedded.sharder("plan", "spec.yml").out
    lines = embedded.sharder("plan", "spec.yml", "--json").out.splitlines()
    assert [orjson.loads(line)["group"] for line in lines] == [["root0", "root1"]] * 2
    narrowed = embedded.sharder("plan", "spec.yml", "--json", "--table", "root1").out
    assert "group" not in orjson.loads(narrowed)
