"""Parts and values that promise more than they hold, or hold more than they should: refused, in little memory."""

from __future__ import annotations

import gzip
import resource
import zlib
from pathlib import Path

import pyarrow as pa
import pytest

from contracts import types
from contracts.commit import Commit
from contracts.table import Column
from tests.fakes.stage import StageRun, rows, shard, table

MOST_MIB = 300


def swapped(run: StageRun, data: bytes) -> None:
    """Another content for the one part, with the commit's blessing: as a worker gone bad would write it."""
    store = run.stage.store
    (key,) = (e.key for e in store.list("") if "/commits/" in e.key)
    commit = Commit.model_validate_json(store.get(key))
    (part,) = commit.parts
    store.put(part.key, data)
    other = part.model_copy(
        update={"bytes": len(data), "checksum": f"crc32:{zlib.crc32(data):08x}"}
    )
    store.put(key, commit.model_copy(update={"parts": (other,)}).to_bytes())


LONG_FOOTER, ZEROES = "a footer as long as memory", "a gzip stream that unpacks to a gigabyte"


def bomb(name: str, whole: bytes) -> bytes:
    if name == LONG_FOOTER:
        return whole[:-8] + (0x7FFFFFF0).to_bytes(4, "little") + b"PAR1"
    return gzip.compress(bytes(1 << 20)) * 1000


@pytest.mark.parametrize("name", [LONG_FOOTER, ZEROES])
@pytest.mark.parametrize("format_", ["parquet", "csv"])
def test_a_part_that_is_a_bomb_is_refused_in_little_memory(
    tmp_path: Path, name: str, format_: str
) -> None:
    run = StageRun(
        tmp_path / "stage", spec={"connection_string": f"{tmp_path}/w.db"}, format_=format_
    )
    run.round([shard({"a": rows(1, 2)})])
    (key,) = (e.key for e in run.stage.store.list("") if "/data/" in e.key)
    swapped(run, bomb(name, run.stage.store.get(key)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    receipt = run.load()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
    assert receipt.outcome == "failed"
    assert key.rpartition("/")[2] in receipt.error or "part" in receipt.error
    assert grown < MOST_MIB


def test_json_nested_a_hundred_thousand_deep_is_a_value_or_an_error_of_its_load(
    tmp_path: Path,
) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    tree = table(
        "items",
        Column("id", pa.int64(), nullable=False, primary_key=True),
        Column("v", types.JSON),
    )
    run = StageRun(tmp_path / "stage", tree, spec={"connection_string": f"{tmp_path}/w.db"})
    run.round([shard({"a": ({"id": 1, "v": deep},)})])
    receipt = run.load()
    assert receipt.outcome == "ok", (
        receipt.error
    )  # JSON is a text to DuckDB until somebody asks for a part of it
