"""CSV in place of Parquet as the format of the stage: the same contents in the warehouse, for every type."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.fakes import specs
from tests.fakes.contents import Contents, differences, of_duckdb, of_postgresql
from tests.fakes.fleet import Fleet
from tests.fakes.servers import Postgres

pytestmark = pytest.mark.timeout(180)

TEXTS = [
    None, "", " ", '"', '""', ",", "\n", "\r\n", "\r", "\t", "\\N", "\\", "NULL", "null", "None",
    "nan", "'", "a,b", 'say "hi"', "line one\nline two", "żółć 🦆", "\u2028", "trailing\n", "=1+1", "#",
]  # fmt: skip

# Column → type and values; every column is filled up with nulls to the number of texts.
COLUMNS: Mapping[str, tuple[pa.DataType, list[Any]]] = {
    "text": (pa.string(), TEXTS),
    "large_text": (pa.large_string(), TEXTS[::-1]),
    "truth": (pa.bool_(), [True, False]),
    "int8": (pa.int8(), [-128, 127, 0]),
    "int16": (pa.int16(), [-(2**15), 2**15 - 1]),
    "int32": (pa.int32(), [-(2**31), 2**31 - 1]),
    "int64": (pa.int64(), [-(2**63), 2**63 - 1]),
    "uint8": (pa.uint8(), [255]),
    "uint32": (pa.uint32(), [2**32 - 1]),
    "uint64": (pa.uint64(), [2**64 - 1]),
    "float32": (pa.float32(), [0.1, -0.0, float("inf")]),
    "float64": (pa.float64(), [0.1, 1e308, 5e-324, float("-inf"), float("nan")]),
    "money": (pa.decimal128(38, 10), [Decimal("-1234567890123456789.0123456789"), Decimal(0)]),
    "huge": (pa.decimal256(60, 5), [Decimal(10) ** 54]),
    "binary": (pa.binary(), [b"", b"\x00", b'"\n,\xff', bytes(range(256))]),
    "fixed": (pa.binary(4), [b"\x00\xff\n,"]),
    "day": (pa.date32(), [date(1, 1, 1), date(9999, 12, 31), date(1970, 1, 1)]),
    "clock": (pa.time64("us"), [time(0), time(23, 59, 59, 999999)]),
    "seconds": (pa.timestamp("s"), [datetime.fromisoformat("2026-02-03T04:05:06")]),
    "micros": (pa.timestamp("us"), [datetime.fromisoformat(t) for t in ("0001-01-01", "9999-12-31T23:59:59.999999")]),
    "zoned": (pa.timestamp("us", tz="Asia/Kathmandu"), [datetime(2026, 2, 3, 4, 5, 6, 789012, UTC)]),
    "span": (pa.duration("us"), [timedelta(days=-1, microseconds=1), timedelta(0)]),
    "list": (pa.list_(pa.string()), [[], [None], ["", None, 'a,"b"\n'], ["{}", "\\"]]),
    "numbers": (pa.list_(pa.int64()), [[], [1, None, 3]]),
    "nested": (pa.list_(pa.list_(pa.int32())), [[[1], [], None], []]),
    "struct": (
        pa.struct([("a", pa.string()), ("b", pa.list_(pa.int64()))]),
        [{"a": "", "b": [1, None]}, {"a": None, "b": None}, {"a": 'x\n"y"', "b": []}],
    ),
    "map": (pa.map_(pa.string(), pa.int64()), [[], [("k,", 1), ("", None)]]),
    "all_null": (pa.string(), []),
}  # fmt: skip


def everything() -> pa.Table:
    rows = len(TEXTS)
    arrays = {
        name: pa.array([*values, *[None] * (rows - len(values))], type_)
        for name, (type_, values) in COLUMNS.items()
    }
    return pa.table({"id": pa.array(range(rows), pa.int64()), **arrays})


def run(place: Path, format_: str, *, warehouse: specs.Document) -> str:
    """Read the table through a stage of this format; the names of the parts."""
    home = place / format_
    home.mkdir()
    sink = io.BytesIO()
    pq.write_table(everything(), sink)
    (home / "everything.parquet").write_bytes(sink.getvalue())
    source = specs.source(
        "files", {"path": "./everything.parquet", "primary_key": ["id"]}, plugin="file"
    )
    (home / "spec.yml").write_text(specs.spec(source, warehouse, specs.fleet(format=format_)))
    with Fleet(home) as fleet:
        fleet.sharder("submit", "spec.yml")
    (part,) = home.glob(".sharder/stage/runs/*/data/**/00000.*")
    return part.name


def check(found: Callable[[str], Contents]) -> None:
    parquet, csv = found("parquet"), found("csv")
    assert not (wrong := differences(parquet, csv)), "\n".join(wrong)
    rows = {row["id"]: row for row in csv["everything"]}
    assert [rows[n]["text"] for n in range(len(TEXTS))] == TEXTS
    assert [rows[n]["binary"] for n in range(2)] == ["", "00"]
    assert [rows[n]["list"] for n in range(3)] == [[], [None], ["", None, 'a,"b"\n']]
    assert {row["all_null"] for row in rows.values()} == {None}


def test_duckdb_holds_the_same_whatever_the_format_of_the_stage(tmp_path: Path) -> None:
    parts = [run(tmp_path, f, warehouse=specs.duckdb()) for f in ("parquet", "csv")]
    assert parts == ["00000.parquet", "00000.csv"]
    check(lambda format_: of_duckdb(tmp_path / format_ / "w.duckdb"))


@pytest.mark.postgres
def test_postgresql_holds_the_same_whatever_the_format_of_the_stage(
    tmp_path: Path, postgres: Postgres
) -> None:
    dsns = {format_: postgres.create() for format_ in ("parquet", "csv")}
    for format_, dsn in dsns.items():
        run(tmp_path, format_, warehouse=specs.postgresql(dsn))
    check(lambda format_: of_postgresql(dsns[format_]))
    for dsn in dsns.values():
        postgres.drop(dsn)
