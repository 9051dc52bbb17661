"""Runs for benchmarks: a stage with a plan, worked on by the real worker, from a source that is given."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from contracts import layout, types
from contracts.queue import Message
from contracts.stage import Stage
from contracts.store import open_store
from contracts.table import Column, Table
from tests.fakes.runs import RUN, Steady, write_run
from tests.fakes.scripted import Handing, Scripted
from worker.extract import extract
from worker.sources.base import CellDone, Event, Rows, Work

CLIENT = "123456789012:eu-west-1"


class LightSource(Scripted):
    """A source that makes its batches while it is read; one client."""

    def __init__(
        self,
        tables: Sequence[Table],
        batches: Callable[[Work], Iterable[tuple[str, pa.RecordBatch]]],
    ) -> None:
        def script(work: Work, cursors: Mapping[str, str]) -> Iterator[Event]:
            del cursors
            for client in work.clients:
                for name, batch in batches(work):
                    yield Rows(name, client, batch)
                for table in work.selected:
                    yield CellDone(table, client)

        super().__init__(script, tables)


def work(
    place: Path | str,
    tables: Sequence[Table],
    batches: Callable[[Work], Iterable[tuple[str, pa.RecordBatch]]],
    *,
    clients: Sequence[str] = (CLIENT,),
    slices: int = 0,
    format_: str = "parquet",
    run: str = RUN,
) -> Stage:
    """Plan a run and do all of its shards here, as a worker does; the stage with its commits."""
    stage = Stage(open_store(str(place)))
    cuts = [{"n": n} for n in range(slices)] or None
    messages = write_run(
        stage,
        tables,
        clients,
        path="cloudquery/bench",
        spec={},
        slices=cuts,
        format_=format_,
        run=run,
    )
    source = Handing(LightSource(tables, batches))
    for message in messages:
        commit = extract(message, stage=stage, heart=Steady(), environment={}, opened=source)
        assert commit is not None
        failed = [c for c in commit.cells if c.outcome != "ok"]
        assert not failed, failed[0]
        assert commit.verdict is None, commit.verdict
    return stage


def destination(
    stage: Stage, path: str, spec: Mapping[str, Any], write_mode: str, run: str = RUN
) -> None:
    """Write the destination's document: the runs of `write_run` say that it is number 1, called w."""
    body = {"name": "w", "path": path, "write_mode": write_mode, "spec": dict(spec)}
    stage.store.put(layout.spec(run, 1), json.dumps({"kind": "destination", "spec": body}).encode())


def load_message(table: str, run: str = RUN) -> Message:
    return Message("load", run, destination="w", source="src", table=table, round=1)


# The table of the loading benchmarks: what estates are made of.

ITEMS = Table(
    "items",
    (
        Column("id", pa.int64(), nullable=False, primary_key=True),
        Column("arn", pa.string()),
        Column("kind", pa.string()),
        Column("note", pa.string()),
        Column("at", types.TIMESTAMP),
        Column("size", pa.int64()),
        Column("share", pa.float64()),
        Column("on", pa.bool_()),
        Column("tags", pa.list_(pa.string())),
        Column("doc", types.JSON),
        Column("ref", types.UUID),
    ),
)


def item_batches(
    first: int, rows: int, version: int = 0, size: int = 20_000
) -> Iterator[pa.RecordBatch]:
    """Rows first … first + rows - 1; another `version` changes every column but the key."""
    for start in range(first, first + rows, size):
        yield _items(start, min(size, first + rows - start), version)


def _items(start: int, n: int, version: int) -> pa.RecordBatch:
    ids = range(start, start + n)
    tags = pa.ListArray.from_arrays(
        pa.array(range(0, 2 * n + 1, 2), pa.int32()),
        pa.array([t for i in ids for t in (f"team:{i % 7}", "env:prod")]),
    )
    raw = b"".join((i * 2654435761 + version).to_bytes(16, "big") for i in ids)
    columns = [
        pa.array(ids, pa.int64()),
        pa.array(
            [
                f"arn:aws:ec2:eu-west-1:123456789012:instance/i-{i * 7919 % (1 << 48):017x}"
                for i in ids
            ]
        ),
        pa.array([f"kind{i % 50}" for i in ids]),
        pa.array(
            [f"note number {i} of version {version} {i * 2654435761 % (1 << 32):08x}" for i in ids]
        ),
        pa.array([(1_700_000_000 + i) * 1_000_000 + version for i in ids], pa.int64()).cast(
            types.TIMESTAMP
        ),
        pa.array([i % 1000 + version for i in ids], pa.int64()),
        pa.array([i * 1.1 + version for i in ids], pa.float64()),
        pa.array([i % 2 == version % 2 for i in ids]),
        tags,
        pa.ExtensionArray.from_storage(
            types.JSON, pa.array([f'{{"a": {i}, "b": "x{i % 10}", "v": {version}}}' for i in ids])
        ),
        pa.ExtensionArray.from_storage(
            types.UUID,
            pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), n, [None, pa.py_buffer(raw)]),
        ),
    ]
    return pa.RecordBatch.from_arrays(columns, names=[c.name for c in ITEMS.columns])


def item_run(
    place: Path | str, parts: int, part_rows: int, *, version: int = 0, run: str = RUN
) -> Stage:
    """A run of ITEMS whose worker wrote this many parts of this many rows."""

    def batches(work: Work) -> Iterator[tuple[str, pa.RecordBatch]]:
        assert work.slice is not None
        for batch in item_batches(work.slice["n"] * part_rows, part_rows, version):
            yield ITEMS.name, batch

    return work_items(place, batches, parts, run)


def work_items(place: Path | str, batches: Any, parts: int, run: str) -> Stage:
    return work(place, (ITEMS,), batches, slices=parts, run=run)


SECOND = "r2"


def changed(place: Path, parts: int, part_rows: int) -> Stage:
    """A run a day later, of which every row differs from the first one's."""
    stage = item_run(place, parts, part_rows, version=1, run=SECOND)
    plan = stage.plan(SECOND, 1)
    later = plan.model_copy(update={"sync_time": plan.sync_time + timedelta(days=1)})
    stage.store.put(layout.plan_index(SECOND, 1), later.to_bytes())
    return Stage(stage.store)


def part_paths(stage: Stage, run: str = RUN) -> list[Path]:
    """The data files of a run on a local stage, in order."""
    found = (
        stage.store.local_path(e.key) for e in stage.store.list(f"{layout.run_prefix(run)}data/")
    )
    return [path for path in found if path]


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """The process environment with these values, as it was afterwards."""
    import os

    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
