"""Rows into files: where one ends, that none is lost, and that memory and leftovers stay bounded."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import Permanent
from contracts.store.local import LocalStore
from loader.warehouses.files import athena, encodings
from loader.warehouses.files.options import FileOptions
from loader.warehouses.files.roll import Limits, Roll, cut

SCHEMA = pa.schema([("n", pa.int64())])


def batch(*values: int) -> pa.RecordBatch:
    return pa.record_batch([pa.array(values, pa.int64())], schema=SCHEMA)


def files(batches: list[pa.RecordBatch], limits: Limits) -> list[list[int]]:
    found: list[list[int]] = [[]]
    for piece, full in cut(batches, limits):
        found[-1] += piece.column(0).to_pylist()
        found += [[]] if full else []
    return [f for f in found if f]


def test_files_end_after_their_rows_whatever_the_batches():
    assert files([batch(1, 2, 3), batch(4), batch(5, 6, 7, 8)], Limits(rows=3)) == [
        [1, 2, 3], [4, 5, 6], [7, 8],
    ]  # fmt: skip


def test_files_end_before_their_bytes():
    assert files([batch(1, 2, 3, 4, 5)], Limits(bytes=16)) == [[1, 2], [3, 4], [5]]


def test_a_row_larger_than_a_file_has_one_of_its_own():
    assert files([batch(1, 2)], Limits(bytes=1)) == [[1], [2]]


def test_without_limits_there_is_one_file():
    assert files([batch(1), batch(), batch(2)], Limits()) == [[1, 2]]


@given(st.lists(st.integers(0, 9)), st.integers(0, 5), st.integers(0, 60))
def test_no_row_is_lost_or_moved(sizes, rows, size):
    numbers = iter(range(1000))
    batches = [batch(*(next(numbers) for _ in range(n))) for n in sizes]
    found = files(batches, Limits(rows, size))
    assert [n for f in found for n in f] == list(range(sum(sizes)))
    assert all(len(f) <= rows for f in found if rows)


def roll(tmp_path, format_: str = "csv", **options) -> tuple[LocalStore, Roll]:
    store = LocalStore(tmp_path)
    spec = FileOptions.model_validate({"path": "x", "format": format_, **options})
    return store, Roll(store, encodings.of(spec), SCHEMA, lambda n: f"{n}.{spec.suffix}")


def keys(store: LocalStore) -> list[str]:
    return [e.key for e in store.list("")]


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    store, writing = roll(tmp_path)

    def broken() -> Iterator[pa.RecordBatch]:
        yield batch(1, 2, 3)
        raise Permanent("no more")

    with pytest.raises(Permanent):
        writing.write(broken(), Limits(rows=2))
    writing.abort()
    assert keys(store) == ["0.csv"]
    assert not [*(tmp_path / ".tmp").iterdir()]


@pytest.mark.parametrize("format_", ["csv", "json", "parquet"])
def test_an_empty_file_is_written_if_it_is_wanted(tmp_path, format_):
    store, writing = roll(tmp_path, format_)
    writing.write([], Limits())
    writing.close(empty=True)
    assert (keys(store), writing.rows) == ([f"0.{format_}"], 0)
    data = store.get(f"0.{format_}")
    assert {"csv": data == b'"n"\n', "json": data == b"", "parquet": data[:4] == b"PAR1"}[format_]


def test_no_rows_are_no_file(tmp_path):
    store, writing = roll(tmp_path)
    writing.write([batch()], Limits())
    writing.close()
    assert keys(store) == []


def test_the_dialect_of_csv_is_an_option(tmp_path):
    store, writing = roll(tmp_path, format_spec={"skip_header": True, "delimiter": ";"})
    writing.write([batch(1, 2)], Limits())
    writing.close()
    assert store.get("0.csv") == b"1\n2\n"


def test_row_groups_of_parquet_have_their_length_and_snappy(tmp_path):
    import pyarrow.parquet as pq

    _, writing = roll(
        tmp_path, "parquet", format_spec={"max_row_group_length": 2, "version": "v1.0"}
    )
    writing.write([batch(1, 2, 3)], Limits())
    writing.close()
    metadata = pq.read_metadata(tmp_path / "0.parquet")
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [2, 1]
    assert metadata.row_group(0).column(0).compression == "SNAPPY"
    assert metadata.format_version == "1.0"


def test_the_same_rows_are_the_same_bytes(tmp_path):
    written = []
    for _ in range(2):
        store, writing = roll(tmp_path, compression="gzip")
        writing.write([batch(*range(1000))], Limits())
        writing.close()
        written.append(store.get("0.csv.gz"))
    assert written[0] == written[1]


@pytest.mark.parametrize(("text", "clean"), [
    ('{"a-b": 1, "c": {"d e": [{"f.g": null}]}}', '{"a_b":1,"c":{"d_e":[{"f_g":null}]}}'),
    ('{"a-b": 1, "a.b": 2, "a_b": 3}', '{"a_b_2":1,"a_b_3":2,"a_b":3}'),
    ('["a-b"]', '["a-b"]'),
    ("no json", "no json"),
])  # fmt: skip
def test_keys_for_athena_lose_no_value(text, clean):
    assert athena.text(text) == clean
