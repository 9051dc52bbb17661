"""64 Parquet parts → DuckDB: the loader against one raw insert of the same files, and against dlt.

Each job opens the database file, and ends when it is checkpointed and closed.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from contracts import layout
from contracts.stage import Stage
from loader.cache import Warehouses
from loader.load import load
from tests.bench.pairs import Result, compare
from tests.bench.runs import ITEMS, SECOND, changed, destination, item_run, load_message, part_paths
from tests.bench.scale import Scale
from tests.fakes.runs import RUN
from tests.fakes.stage import StillHeart


def loaded(stage: Stage, run: str = RUN) -> int:
    """One load over a warehouse that is opened for it and closed; the rows published."""
    warehouses = Warehouses()
    receipt = load(
        load_message(ITEMS.name, run),
        stage=stage,
        heart=StillHeart(),
        environment={},
        warehouses=warehouses,
    )
    warehouses.close()
    assert receipt is not None
    assert receipt.outcome == "ok", receipt.error
    return receipt.published


def forget(stage: Stage, run: str) -> None:
    """The load was never done, as far as the stage knows."""
    keys = [
        e.key
        for p in (layout.loads(run), f"{layout.run_prefix(run)}attempts/")
        for e in stage.store.list(p)
    ]
    stage.store.delete([k for k in keys if "/loads/" in k or "01-" not in k])


def remove(*files: Path) -> None:
    for file in files:
        file.unlink(missing_ok=True)
        Path(f"{file}.wal").unlink(missing_ok=True)


def raw_insert(file: Path, paths: list[Path]) -> None:
    import duckdb

    connection = duckdb.connect(str(file), config={"preserve_insertion_order": "false"})
    names = ", ".join(f"'{p}'" for p in paths)
    connection.execute(f"CREATE TABLE items AS SELECT * FROM read_parquet([{names}]) LIMIT 0")
    connection.execute(f"INSERT INTO items SELECT * FROM read_parquet([{names}])")
    connection.execute("CHECKPOINT")
    connection.close()


def content(file: Path, table: str = "items") -> Any:
    """Rows and an order-free hash of the columns that both sides have in one form."""
    import duckdb

    with duckdb.connect(str(file), read_only=True) as connection:
        return connection.execute(
            f'SELECT count(*), sum(hash(id, arn, kind, note, size, share, "on", tags, ref, _cq_id)) FROM {table}'
        ).fetchone()


def bench(scale: Scale) -> Iterator[Result]:
    rows = scale.parts * scale.part_rows
    detail = f"{rows:,} rows in {scale.parts} parts; checkpoint included"
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        stage = item_run(place / "stage", scale.parts, scale.part_rows)
        paths = part_paths(stage)
        ours, raw = place / "ours.duckdb", place / "raw.duckdb"

        def anew() -> None:
            remove(ours, raw)
            forget(stage, RUN)

        destination(stage, "cloudquery/duckdb", {"connection_string": str(ours)}, "append")
        hand = partial(raw_insert, raw, paths)
        anew()
        assert loaded(stage) == rows
        hand()
        assert content(ours) == content(raw)
        system = partial(loaded, stage)
        yield compare("parts → DuckDB, append", system, hand, against="one raw insert, order off",
                      aim=0.85, rounds=scale.rounds, before=anew, detail=detail)  # fmt: skip
        from tests.bench import with_dlt

        if with_dlt.installed():
            with_dlt.parts_to_duckdb(place / "dlt", paths)
            assert with_dlt.rows_in_duckdb(place / "dlt") == rows
            destination(stage, "cloudquery/duckdb", {"connection_string": str(ours)}, "append")
            yield compare("parts → DuckDB, append", system, partial(with_dlt.parts_to_duckdb, place / "dlt", paths),
                          against="dlt, from Arrow", aim=2.5, rounds=scale.slow_rounds, before=anew, detail=detail)  # fmt: skip
        yield from upsert(scale, place, stage, ours, hand, anew, detail)


def upsert(
    scale: Scale, place: Path, stage: Stage, ours: Path, hand: Any, anew: Any, detail: str
) -> Iterator[Result]:
    later = changed(place / "stage", scale.parts, scale.part_rows)
    base = place / "base.duckdb"
    for run in (RUN, SECOND):
        destination(stage, "cloudquery/duckdb", {"connection_string": str(ours)}, "overwrite", run)
    anew()
    loaded(stage)
    shutil.copy(ours, base)

    def filled() -> None:
        anew()
        forget(later, SECOND)
        shutil.copy(base, ours)

    yield compare("parts → DuckDB, upsert of changed rows", lambda: loaded(later, SECOND), hand,
                  against="one raw insert, order off", aim=1 / 3, rounds=scale.rounds, before=filled, detail=detail)  # fmt: skip
