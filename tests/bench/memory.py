"""Peak memory of a worker and of a loader, for N and for three times N rows, each in a process of its own.

`python -m tests.bench.memory JOB ARGUMENTS…` is one such process.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from contracts.stage import Stage
from contracts.store import open_store
from tests.bench.pairs import Figure, Result, peak_mb
from tests.bench.scale import Scale

MOST_MB = 350
GROWTH = 1.1


def dict_pages(place: str, records: str) -> None:
    """Pages are made one by one, as an API gives them."""
    from tests.bench.dicts import TABLE, batch_of, record
    from tests.bench.runs import work

    starts = range(0, int(records), 1000)
    work(
        place,
        (TABLE,),
        lambda _work: (
            (TABLE.name, batch_of([record(i) for i in range(s, s + 1000)])) for s in starts
        ),
    )


def many_tables(place: str, pages: str) -> None:
    """A tree of 30 tables for 200 clients, a page of 50 rows of each table in turn."""
    from dataclasses import replace

    from tests.bench.dicts import TABLE, batch_of, record
    from tests.bench.runs import work

    top = replace(TABLE, name="t0")
    tables = [top, *(replace(TABLE, name=f"t{n}", parent="t0") for n in range(1, 30))]

    def batches(_work: object) -> Iterator[tuple[str, object]]:
        for page in range(int(pages)):
            batch = batch_of([record(page * 50 + i) for i in range(50)])
            for table in tables:
                yield table.name, batch

    work(place, tables, batches, clients=[f"{n:012d}" for n in range(200)])  # type: ignore[arg-type]


def sql_table(place: str, dsn: str, table: str) -> None:
    from tests.bench.sql_to_parquet import ours, planned

    ours(*planned(dsn, table, Path(place)))


def load_run(place: str, run: str) -> None:
    from tests.bench.to_duckdb import loaded

    loaded(Stage(open_store(place)), run)


JOBS: dict[str, Callable[..., None]] = {
    "dict_pages": dict_pages, "many_tables": many_tables, "sql_table": sql_table, "load_run": load_run,
}  # fmt: skip


def figures(what: str, one: float, three: float, detail: str) -> Iterator[Result]:
    yield Figure(f"{what}: peak memory", three, "MB", MOST_MB, detail=detail)
    yield Figure(f"{what}: three times the rows", three / one, "×", GROWTH, f"{one:.0f} MB", detail)


def bench(scale: Scale) -> Iterator[Result]:
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        peak = partial(peak_mb, "tests.bench.memory")
        n = scale.records * 3  # past the point where every buffer has been full once
        sizes = [peak("dict_pages", str(place / f"d{k}"), str(n * k)) for k in (1, 3)]
        yield from figures("worker, dict pages", *sizes, f"{n:,} and {3 * n:,} records")
        n = max(1, scale.records // 12_500)
        sizes = [peak("many_tables", str(place / f"m{k}"), str(n * k)) for k in (1, 3)]
        yield from figures(
            "worker, 30 tables × 200 clients", *sizes, f"{n * 300_000:,} and {n * 900_000:,} rows"
        )
        yield from loaders(scale, place, peak)
        yield from sql_worker(scale, place, peak)


def sql_worker(scale: Scale, place: Path, peak: Callable[..., float]) -> Iterator[Result]:
    from tests.bench.sql_to_parquet import seed
    from tests.fakes.servers import Postgres

    with Postgres() as server:
        dsn = server.create()
        sizes = []
        for k in (1, 3):
            seed(dsn, f"rows_{k}", k * scale.sql_rows)
            sizes.append(peak("sql_table", str(place / f"s{k}"), dsn, f"rows_{k}"))
    yield from figures("worker, SQL", *sizes, f"{scale.sql_rows:,} and {3 * scale.sql_rows:,} rows")


def loaders(scale: Scale, place: Path, peak: Callable[..., float]) -> Iterator[Result]:
    """Loads of parts and three times as many parts: a first load, then one in which every row changed."""
    from tests.bench.runs import SECOND, changed, destination, item_run
    from tests.bench.to_duckdb import forget
    from tests.fakes.runs import RUN
    from tests.fakes.servers import Postgres

    with Postgres() as server:
        found: dict[str, list[float]] = {}
        for k in (1, 3):
            stage = place / f"parts{k}"
            first = item_run(stage, k * scale.parts, scale.part_rows)
            later = changed(stage, k * scale.parts, scale.part_rows)
            for name in ("duckdb", "postgresql"):
                target = server.create() if name == "postgresql" else str(place / f"{k}.duckdb")
                for run, of in ((RUN, first), (SECOND, later)):
                    destination(
                        of, f"cloudquery/{name}", {"connection_string": target}, "overwrite", run
                    )
                for run, what in ((RUN, "first load"), (SECOND, "all rows changed")):
                    forget(first, run)
                    found.setdefault(f"loader, {name}, {what}", []).append(
                        peak("load_run", str(stage), run)
                    )
    detail = f"{scale.parts} and {3 * scale.parts} parts of {scale.part_rows:,} rows"
    for what, (one, three) in found.items():
        yield from figures(what, one, three, detail)


if __name__ == "__main__":
    JOBS[sys.argv[1]](*sys.argv[2:])
