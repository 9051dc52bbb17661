"""One cell of the crash matrix: a place, an engine, a write mode; a run in which every job dies once.

Two runs of one source: the first whole, of three clients; the second, of two of them with other values, has
each worker and each loader killed (SIGKILL) in its first attempt, every job after another of its writes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.fakes import specs
from tests.fakes.contents import Contents, of_duckdb, of_postgresql
from tests.fakes.fleet import Fleet, ended

Where = Literal["embedded", "fleet"]
Engine = Literal["duckdb", "postgresql", "file"]
WriteMode = Literal["append", "overwrite", "overwrite-delete-stale"]

BEFORE, NOW = ("ann", "bob", "cy"), ("ann", "bob")
ROWS, LEAVES = 3, 2
DOOMED = "from tests.fakes.doomed import main; main()"
Rows = Counter[tuple[str, ...]]  # table, then the values


@dataclass(frozen=True)
class Cell:
    """`offset`: how many writes later than in the first pass each load dies."""

    where: Where
    engine: Engine
    mode: WriteMode
    trees: int = 7
    offset: int = 0

    def __str__(self) -> str:
        return f"{self.where} {self.engine} {self.mode} +{self.offset}"


@dataclass(frozen=True)
class Found:
    """What came of a cell: processes killed, rows that lack and rows that should not be there."""

    killed: int
    lost: Rows
    doubled: Rows


def tried(cell: Cell, fleet: Fleet, dsn: str = "") -> Found:
    """Run the cell in the fleet's home. A fleet needs its broker and stage in its environment."""
    deaths = fleet.home / "deaths"
    deaths.mkdir()
    fleet.environment[specs.DSN] = dsn
    doomed = {
        "DOOMED_DEATHS": str(deaths),
        "DOOMED_STRIDE": "6",
        "DOOMED_OFFSET": str(cell.offset),
    }
    _write(fleet, cell, BEFORE, "old")
    if cell.where == "fleet":
        _serve(fleet, cell, doomed)
    else:
        fleet.sharder("submit", "spec.yml")
        _write(fleet, cell, NOW, "new")
        done = ended(fleet.start("sharder", "submit", "spec.yml", code=DOOMED, **doomed))
        assert done.code == 0, done.said
    contents = _contents(fleet.home, cell, dsn)
    found = Counter(
        (table, *(str(row[k]) for k in ("client", "name", "number", "text") if k in row))
        for table, rows in contents.items()
        if table.startswith("root")
        for row in rows
    )
    wanted = expected(cell)
    return Found(len(list(deaths.iterdir())), wanted - found, found - wanted)


def _serve(fleet: Fleet, cell: Cell, doomed: dict[str, str]) -> None:
    """The first run by programs that live, the second by programs that die."""
    living = [fleet.start("worker", "run"), fleet.start("loader", "run")]
    fleet.sharder("submit", "spec.yml")
    for process in living:
        process.terminate()
        process.wait()
    _write(fleet, cell, NOW, "new")
    for program in ("worker", "loader"):
        code = f"from tests.fakes.doomed import serve_{program} as main; main()"
        fleet.start(program, "run", code=code, **doomed)  # type: ignore[arg-type]
    fleet.sharder("submit", "spec.yml")
    fleet.stop()  # a DuckDB file is free then


def _write(fleet: Fleet, cell: Cell, clients: tuple[str, ...], text: str) -> None:
    keyed = cell.mode != "append"
    source = specs.tree(trees=cell.trees, keyed=keyed, clients=list(clients), text=text)
    outer: dict[str, Any] = {"write_mode": cell.mode, "send_sync_summary": True}
    if cell.engine == "duckdb":
        into = specs.duckdb(**outer)
    elif cell.engine == "postgresql":
        into = specs.postgresql(**outer)
    else:
        nested = {"path": "out/{{TABLE}}/{{UUID}}.parquet", "format": "parquet"}
        body = {"name": "w", "path": "cloudquery/file", "version": "v1.0.0", **outer}
        into = {"kind": "destination", "spec": {**body, "spec": nested}}
    (fleet.home / "spec.yml").write_text(specs.spec(source, into))


def _contents(home: Path, cell: Cell, dsn: str) -> Contents:
    if cell.engine == "duckdb":
        return of_duckdb(home / "w.duckdb")
    if cell.engine == "postgresql":
        return of_postgresql(dsn)
    import pyarrow.parquet as pq

    out = home / "out"
    return {
        place.name: [row for file in place.iterdir() for row in pq.read_table(file).to_pylist()]
        for place in out.iterdir()
        if not place.name.startswith(".")  # what a killed writer had not finished
    }


def expected(cell: Cell) -> Rows:
    """What two runs without any death leave behind."""
    if cell.mode == "append":
        kept = [(c, "old") for c in BEFORE] + [(c, "new") for c in NOW]
    elif cell.mode == "overwrite":
        kept = [("cy", "old")] + [(c, "new") for c in NOW]
    else:
        kept = [(c, "new") for c in NOW]
    found: Rows = Counter()
    for tree in range(cell.trees):
        for client, text in kept:
            for n in range(ROWS):
                found[f"root{tree}", client, f"{client} {n}", f"{text} root{tree}"] += 1
                for leaf in range(LEAVES):
                    found[f"root{tree}_leaves", client, f"{client} {n}", str(leaf)] += 1
    return found
