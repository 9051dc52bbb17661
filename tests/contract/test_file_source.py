"""The file source: formats, places, slices, and files that do not agree with the plan."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts import types
from contracts.errors import Denied, InputError, NotFound, Permanent
from contracts.table import with_cq_columns
from tests.fakes.sources import Drained, drain
from tests.suites.source import SourceSuite, context
from worker.sources.base import Work
from worker.sources.file import open as open_source


@contextmanager
def opened(**spec: Any) -> Iterator[Any]:
    with closing(open_source(spec, context("files"))) as source:
        yield source


def work(source: Any, name: str = "", **more: Any) -> Work:
    table = next(t for t in source.tables() if not name or t.name == name)
    return Work(
        (with_cq_columns(table),), frozenset({table.name}), source.clients(table).ids, **more
    )


def read(name: str = "", **spec: Any) -> Drained:
    with opened(**spec) as source:
        planned = work(source, name)
        found = drain(source, planned)
        assert len(found.done) == len(planned.clients)
        return found


def rows(name: str = "", **spec: Any) -> list[dict[str, Any]]:
    found = read(name, **spec)
    assert {d.outcome for d in found.done} <= {"ok"}, found.done
    return [row for r in found.rows for row in r.batch.to_pylist()]


def slices(source: Any, n: int) -> tuple[list[Any], list[dict[str, Any]]]:
    planned = work(source)
    (client,) = planned.clients
    bounds = source.split(planned.top, client, n)
    found = []
    for b in bounds:
        result = drain(source, Work(planned.tree, planned.selected, planned.clients, b))
        assert [d.outcome for d in result.done] == ["ok"], result.done
        found += [row for r in result.rows for row in r.batch.to_pylist()]
    return bounds, found


class TestFile(SourceSuite):
    @pytest.fixture
    def source(self, tmp_path):
        numbers = pa.table({"id": range(3000)})
        pq.write_table(numbers, tmp_path / "1.parquet", row_group_size=500)
        pq.write_table(numbers.slice(0, 10), tmp_path / "2.parquet")
        (tmp_path / "a.csv").write_text("id,v\n" + "".join(f"{i},v\n" for i in range(1000)))
        (tmp_path / "a.jsonl").write_text(
            "".join(f'{{"id": {i}, "o": [{i}]}}\n' for i in range(1000))
        )
        tables = [
            {"name": "numbers", "path": "*.parquet", "primary_key": ["id"]},
            {"name": "rows", "path": "a.csv", "csv": {"newlines_in_values": False}},
            {"name": "lines", "path": "a.jsonl", "primary_key": ["id"]},
        ]
        with opened(base=str(tmp_path), tables=tables, slice_bytes=1024) as source:
            yield source


class TestParquet:
    TABLE = pa.table(
        {
            "id": pa.array([1, 2], pa.int32()),
            "d": pa.array([Decimal("1.50"), None], pa.decimal128(10, 2)),
            "cat": pa.array(["a", None]).dictionary_encode(),
            "u": pa.ExtensionArray.from_storage(
                types.UUID, pa.array([b"0123456789abcdef", None], pa.binary(16))
            ),
            "at": pa.array(
                [datetime(2024, 1, 1, tzinfo=UTC), None], pa.timestamp("ms", "Europe/Berlin")
            ),
            "s": pa.array([{"x": [1, 2]}, None], pa.struct([("x", pa.list_(pa.int8()))])),
            "none": pa.nulls(2),
        }
    )

    def test_types_are_those_of_the_file_without_dictionaries(self, tmp_path):
        pq.write_table(self.TABLE, tmp_path / "a.parquet")
        found = read(path=str(tmp_path / "a.parquet")).rows[0].batch
        expected = {
            "id": pa.int32(),
            "cat": pa.string(),
            "u": types.UUID,
            "at": pa.timestamp("ms", "UTC"),
            "none": pa.string(),
        }
        assert {n: found.schema.field(n).type for n in expected} == expected
        assert found.to_pylist()[0]["s"] == {"x": [1, 2]}
        assert found.to_pylist()[1] == {
            "id": 2,
            **dict.fromkeys(("d", "cat", "u", "at", "s", "none")),
        }

    def test_columns_that_only_some_files_have_are_null_elsewhere_and_integers_widen(
        self, tmp_path
    ):
        pq.write_table(pa.table({"id": pa.array([1], pa.int32())}), tmp_path / "1.parquet")
        pq.write_table(
            pa.table({"id": pa.array([1 << 40], pa.int64()), "new": ["x"]}), tmp_path / "2.parquet"
        )
        found = read(path=str(tmp_path / "*.parquet"))
        assert found.table("files" if False else found.rows[0].table).to_pylist() == [
            {"id": 1, "new": None}, {"id": 1 << 40, "new": "x"},
        ]  # fmt: skip

    def test_a_large_file_is_cut_by_row_groups(self, tmp_path):
        pq.write_table(pa.table({"id": range(10_000)}), tmp_path / "a.parquet", row_group_size=700)
        with opened(path=str(tmp_path / "a.parquet"), slice_bytes=1024) as source:
            bounds, found = slices(source, 4)
        assert len(bounds) == 4
        assert [r["id"] for r in found] == list(range(10_000))

    def test_a_file_that_was_replaced_since_it_was_cut_fails(self, tmp_path):
        path = tmp_path / "a.parquet"
        pq.write_table(pa.table({"id": range(10_000)}), path, row_group_size=700)
        with opened(path=str(path), slice_bytes=1024) as source:
            planned = work(source)
            bounds = source.split(planned.top, planned.clients[0], 2)[1]
            pq.write_table(pa.table({"id": range(10_000)}), path, row_group_size=1000)
            (done,) = drain(
                source, Work(planned.tree, planned.selected, planned.clients, bounds)
            ).done
        assert "has changed since it was cut" in done.message

    def test_batches_are_bounded_in_bytes(self, tmp_path):
        pq.write_table(
            pa.table({"t": ["x" * 1000] * 20_000}),
            tmp_path / "a.parquet",
            use_dictionary=False,
            compression="none",
        )
        found = read(path=str(tmp_path / "a.parquet"), batch_bytes="1MiB")
        assert max(r.batch.nbytes for r in found.rows) < 3 << 20


class TestCsv:
    def test_types_are_inferred_without_losing_zeros_digits_or_empty_strings(self, tmp_path):
        (tmp_path / "a.csv").write_text(
            'id,zip,big,f,money,b,d,at,txt,none\n1,007,12345678901234567890,1.5,0.10,true,2024-02-29,2024-01-01 10:00:00.5,"a\nb",\n'
            '2,12345,1,-2e3,,false,,,"",\n'
        )
        found = read(path=str(tmp_path / "a.csv")).rows[0].batch
        assert {f.name: str(f.type) for f in found.schema} == {
            "id": "int64", "zip": "string", "big": "string", "f": "double", "money": "double", "b": "bool",
            "d": "date32[day]", "at": "timestamp[us]", "txt": "string", "none": "string",
        }  # fmt: skip
        first, second = found.to_pylist()
        assert (first["zip"], first["big"], first["txt"]) == ("007", "12345678901234567890", "a\nb")
        assert (second["txt"], second["none"], second["money"]) == ("", None, None)

    def test_chosen_types_are_kept_exactly(self, tmp_path):
        (tmp_path / "a.csv").write_text(
            'id,n,w,j,u,at,t\n1,1.10,12345678901234567890123456789012345678901234.5,"{""a"": 1}",'
            "123e4567-e89b-12d3-a456-426614174000,2024-01-01 10:00:00+02:00,10:00:00.5\n"
        )
        columns = {
            "n": "decimal(10,2)",
            "w": "decimal(50,1)",
            "j": "json",
            "u": "uuid",
            "at": "timestamptz",
            "t": "time",
        }
        (row,) = rows(path=str(tmp_path / "a.csv"), columns=columns)
        assert row == {
            "id": 1, "n": Decimal("1.10"), "w": Decimal("12345678901234567890123456789012345678901234.5"),
            "j": '{"a": 1}', "u": UUID("123e4567-e89b-12d3-a456-426614174000"),
            "at": datetime(2024, 1, 1, 8, tzinfo=UTC), "t": time(10, 0, 0, 500_000),
        }  # fmt: skip

    def test_a_dialect_without_header(self, tmp_path):
        (tmp_path / "a.txt").write_bytes("# title\n1;'ü;x';NA\n".encode("latin1"))
        (row,) = rows(
            path=str(tmp_path / "a.txt"), format="csv", columns={"id": "int64", "s": "text", "n": "text"},
            csv={"delimiter": ";", "quote": "'", "header": False, "skip_rows": 1, "null_values": ["NA"], "encoding": "latin1"},
        )  # fmt: skip
        assert row == {"id": 1, "s": "ü;x", "n": None}

    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (
                "id,n\n1,2\nx,3\n",
                "column id: Row #3: CSV conversion error to int64: invalid value 'x'",
            ),
            ("id,n,more\n1,2,3\n", "the column more was not planned"),
            ("other,thing\n1,2\n", "the column other was not planned"),
            ("id,n\n1\n", "Expected 2 columns, got 1"),
        ],
    )
    def test_a_file_that_disagrees_fails_its_own_cell_naming_file_and_column(
        self, tmp_path, content, says
    ):
        (tmp_path / "1.csv").write_text("id,n\n1,2\n")
        with opened(path=str(tmp_path / "*.csv")) as source:
            source.tables()
            (tmp_path / "2.csv").write_text(content)
            with opened(path=str(tmp_path / "*.csv"), sample_files=1) as later:
                clients = later.clients(source.tables()[0]).ids
            table = source.tables()[0]
            found = drain(source, Work((with_cq_columns(table),), frozenset({table.name}), clients))
        assert [(d.outcome, d.reason) for d in found.done] == [("ok", None), ("failed", "schema")]
        assert "2.csv" in found.done[1].message
        assert says in found.done[1].message

    def test_empty_files_and_files_with_only_a_header_have_no_rows(self, tmp_path):
        (tmp_path / "1.csv").write_text("id\n1\n")
        (tmp_path / "2.csv").write_text("id\n")
        (tmp_path / "3.csv").write_text("")
        assert rows(path=str(tmp_path / "*.csv")) == [{"id": 1}]

    @pytest.mark.parametrize("header", [True, False])
    def test_a_large_file_is_cut_only_if_line_breaks_end_rows(self, tmp_path, header):
        body = "".join(f"{i},v{i}\n" for i in range(5000))
        (tmp_path / "a.csv").write_text(("id,v\n" if header else "") + body)
        spec: dict[str, Any] = {
            "path": str(tmp_path / "a.csv"),
            "slice_bytes": 1024,
            "batch_bytes": 2048,
        }
        if not header:
            spec["columns"] = {"id": "int64", "v": "text"}
        with opened(**spec, csv={"header": header}) as source:
            assert slices(source, 5) == ([], [])
        with opened(**spec, csv={"header": header, "newlines_in_values": False}) as source:
            bounds, found = slices(source, 5)
        assert len(bounds) == 5
        assert found == [{"id": i, "v": f"v{i}"} for i in range(5000)]


class TestJsonLines:
    def write(self, path: Path, *documents: Any) -> None:
        path.write_text(
            "\n".join(d if isinstance(d, str) else json.dumps(d) for d in documents) + "\n"
        )

    def test_flat_values_are_typed_and_nested_or_mixed_ones_are_json_digit_for_digit(
        self, tmp_path
    ):
        self.write(
            tmp_path / "a.jsonl",
            '{"id": 1, "f": 1.5, "s": "2024-01-01", "o": {"n": 1.2345678901234567890123, "big": 123456789012345678901234, "l": [1, "ü"]}, "mix": 1, "b": true, "none": null}',
            "",
            '{"id": 2, "f": 2, "mix": "x", "o": null, "huge": 123456789012345678901234}',
        )
        found = read(path=str(tmp_path / "a.jsonl")).rows[0].batch
        assert {f.name: str(types.encode(f.type)) for f in found.schema} == {
            "id": "int64", "f": "double", "s": "string", "o": "json", "mix": "json", "b": "bool", "none": "string", "huge": "json",
        }  # fmt: skip
        first, second = found.to_pylist()
        assert (
            first["o"]
            == '{"n":1.2345678901234567890123,"big":123456789012345678901234,"l":[1,"ü"]}'
        )
        assert (first["s"], first["mix"], second["mix"]) == ("2024-01-01", "1", '"x"')
        assert (second["huge"], second["o"], second["f"]) == ("123456789012345678901234", None, 2.0)

    def test_chosen_types_are_kept_exactly(self, tmp_path):
        self.write(
            tmp_path / "a.json",
            '{"n": 1.10, "d": "2024-02-29", "at": "2024-01-01T10:00:00Z", "x": {"a": 1}}',
        )
        columns = {"n": "decimal(10,2)", "d": "date", "at": "timestamptz"}
        (row,) = rows(path=str(tmp_path / "a.json"), columns=columns)
        assert row == {
            "n": Decimal("1.10"),
            "d": date(2024, 2, 29),
            "at": datetime(2024, 1, 1, 10, tzinfo=UTC),
            "x": '{"a":1}',
        }

    @pytest.mark.parametrize(
        ("line", "says"),
        [
            ('{"id": 1.5}', "column id"),
            ('{"id": "x"}', "column id"),
            ('{"id": 99999999999999999999}', "column id"),
            ('{"id": 3, "extra": 1}', "the column extra was not planned"),
            ('{"id": 3', "a line that is not JSON"),
            ("[1]", "a line that is not a JSON object"),
        ],
    )
    def test_a_line_that_disagrees_fails_its_cell_naming_file_and_column(
        self, tmp_path, line, says
    ):
        self.write(tmp_path / "1.jsonl", {"id": 1})
        with opened(path=str(tmp_path / "*.jsonl")) as source:
            planned = work(source)
            self.write(tmp_path / "1.jsonl", {"id": 1}, line)
            (done,) = drain(source, planned).done
        assert (done.outcome, done.reason) == ("failed", "schema")
        assert "1.jsonl" in done.message
        assert says in done.message

    def test_extra_columns_can_be_ignored(self, tmp_path):
        self.write(tmp_path / "a.jsonl", {"id": 1, "x": 2})
        spec = {"columns": {"id": "int64"}, "only_columns": True}
        assert rows(path=str(tmp_path / "a.jsonl"), **spec) == [{"id": 1}]

    def test_a_large_file_is_cut_by_lines(self, tmp_path):
        self.write(tmp_path / "a.jsonl", *({"id": i, "t": "x" * (i % 50)} for i in range(3000)))
        with opened(path=str(tmp_path / "a.jsonl"), slice_bytes=1024, batch_bytes=1024) as source:
            bounds, found = slices(source, 7)
            (tmp_path / "a.jsonl").write_text("{}\n")
            planned = Work(
                (with_cq_columns(source.tables()[0]),),
                frozenset(),
                [str(tmp_path / "a.jsonl")],
                bounds[1],
            )
            (done,) = drain(source, planned).done
        assert len(bounds) == 7
        assert [r["id"] for r in found] == list(range(3000))
        assert "has changed since it was cut" in done.message


class TestCompression:
    @pytest.mark.parametrize("suffix", [".gz", ".bz2", ".zst"])
    @pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
    def test_compressed_text_is_read_by_its_suffix(self, tmp_path, name, suffix):
        body = "id\n1\n2\n" if name == "a.csv" else '{"id": 1}\n{"id": 2}\n'
        pack = {
            ".gz": gzip.compress,
            ".bz2": bz2.compress,
            ".zst": lambda b: pa.compress(b, "zstd", asbytes=True),
        }[suffix]
        (tmp_path / (name + suffix)).write_bytes(pack(body.encode()))
        assert rows(path=str(tmp_path / "*")) == [{"id": 1}, {"id": 2}]

    def test_gzip_files_of_several_members_are_read_to_the_end(self, tmp_path):
        (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"id\n1\n") + gzip.compress(b"2\n"))
        assert rows(path=str(tmp_path / "a.csv.gz")) == [{"id": 1}, {"id": 2}]

    @pytest.mark.parametrize("name", ["a.csv.gz", "a.jsonl.gz"])
    def test_a_file_that_was_cut_off_fails_its_cell(self, tmp_path, name):
        line = '{"id": 1}\n' if "json" in name else "1\n"
        whole = gzip.compress(("id\n" * ("csv" in name) + line * 50_000).encode())
        path = tmp_path / name
        path.write_bytes(whole)
        with opened(path=str(path)) as source:
            planned = work(source)
            path.write_bytes(whole[: len(whole) // 2])
            found = drain(source, planned)
        assert [d.outcome for d in found.done] == ["failed"]


class TestPlaces:
    def test_tables_clients_and_keys(self, tmp_path):
        for name in ("users/1.csv", "users/2.csv", "orders/o.jsonl"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("id\n1\n" if "csv" in name else '{"id": 1}\n')
        (tmp_path / "users" / "README.md").write_text("not data")
        spec = {
            "base": str(tmp_path),
            "tables": [
                {"name": "users", "path": "users", "primary_key": ["id"]},
                {"name": "orders", "path": "**/*.jsonl"},
            ],
        }
        with opened(**spec) as source:
            users, orders = source.tables()
            assert users.primary_key == ("id",)
            assert not users.column("id").nullable
            clients = source.clients(users)
            assert (clients.ids, clients.whole) == (("users/1.csv", "users/2.csv"), True)
            assert source.clients(orders).ids == ("orders/o.jsonl",)
            assert source.size(users, "users/1.csv") > 0
        assert rows("users", **spec) == [{"id": 1}, {"id": 1}]

    def test_relative_paths_stay_relative(self, tmp_path, monkeypatch):
        (tmp_path / "d").mkdir()
        (tmp_path / "d" / "a.csv").write_text("id\n1\n")
        monkeypatch.chdir(tmp_path)
        for spec in ({"path": "d/*.csv"}, {"path": "./d/a.csv"}):
            with opened(**spec) as source:
                (table,) = source.tables()
                assert source.clients(table).ids == ("d/a.csv",)
        with opened(path="*.csv", base="d") as source:
            assert source.clients(source.tables()[0]).ids == ("a.csv",)

    @pytest.mark.parametrize("path", ["../x.csv", "/etc/passwd", "a/../../x.csv", "s3://b/k.csv"])
    def test_paths_cannot_leave_the_base(self, tmp_path, path):
        with (
            opened(
                path=path, base=str(tmp_path), columns={"id": "int64"}, only_columns=True
            ) as source,
            pytest.raises(InputError, match="does not stay below the base"),
        ):
            source._places.list(source._options.all_tables[0])

    def test_links_cannot_leave_the_base_either(self, tmp_path):
        (tmp_path / "in").mkdir()
        (tmp_path / "out.csv").write_text("id\n1\n")
        (tmp_path / "in" / "a.csv").symlink_to(tmp_path / "out.csv")
        with (
            opened(path="a.csv", base=str(tmp_path / "in")) as source,
            pytest.raises(Permanent, match="leads outside of the base"),
        ):
            source.tables()

    def test_no_file_and_a_file_that_went_away(self, tmp_path):
        with (
            opened(path=str(tmp_path / "*.csv")) as source,
            pytest.raises(InputError, match="no file matches"),
        ):
            source.tables()
        with opened(
            path=str(tmp_path / "*.csv"), columns={"id": "int64"}, only_columns=True
        ) as source:
            clients = source.clients(source.tables()[0])
            assert (clients.ids, clients.whole, clients.why_not) == ((), False, "no file matches")
        with opened(
            path=str(tmp_path / "nope.csv"), columns={"id": "int64"}, only_columns=True
        ) as source:
            clients = source.clients(source.tables()[0])
            assert not clients.whole
            assert "does not exist" in clients.why_not
        (tmp_path / "a.csv").write_text("id\n1\n")
        with opened(path=str(tmp_path / "a.csv")) as source:
            planned = work(source)
            (tmp_path / "a.csv").unlink()
            (done,) = drain(source, planned).done
        assert (done.outcome, "a.csv does not exist" in done.message) == ("failed", True)

    def test_a_file_that_may_not_be_read_is_denied(self, tmp_path):
        from worker.sources.file.places import failure

        assert isinstance(failure(PermissionError(13, "no"), "x"), Denied)
        assert isinstance(failure(FileNotFoundError(2, "no"), "x"), NotFound)

    def test_a_directory_that_cannot_be_listed_is_not_an_empty_one(self, tmp_path):
        with opened(
            path=str(tmp_path / "gone" / "*.csv"), columns={"id": "int64"}, only_columns=True
        ) as source:
            clients = source.clients(source.tables()[0])
        assert (clients.ids, clients.whole) == ((), False)
        assert "does not exist" in clients.why_not

    def test_memory_file_system(self):
        import fsspec

        fs = fsspec.filesystem("memory")
        fs.pipe("/m1/a.csv", b"id\n1\n")
        try:
            with opened(path="memory://m1/*.csv") as source:
                assert source.clients(source.tables()[0]).ids == ("memory://m1/a.csv",)
            assert rows(path="memory://m1/*.csv") == [{"id": 1}]
        finally:
            fs.rm("/m1", recursive=True)

    def test_a_scheme_without_its_package_says_so(self):
        with (
            opened(path="nosuch://x/a.csv") as source,
            pytest.raises(InputError, match="nosuch://"),
        ):
            source.tables()


@pytest.mark.s3
class TestS3:
    def put(self, s3: Any, bucket: str, key: str, body: bytes) -> None:
        import boto3

        boto3.client("s3", endpoint_url=s3.endpoint).put_object(Bucket=bucket, Key=key, Body=body)

    def test_objects_are_listed_read_and_cut(self, s3):
        bucket = s3.create()
        sink = io.BytesIO()
        pq.write_table(pa.table({"id": range(5000)}), sink, row_group_size=500)
        self.put(s3, bucket, "x/y/1.parquet", sink.getvalue())
        self.put(s3, bucket, "x/y/1.csv.gz", gzip.compress(b"id\n7\n"))
        with opened(path=f"s3://{bucket}/x/**/*.parquet", slice_bytes=1024) as source:
            assert source.clients(source.tables()[0]).ids == (f"s3://{bucket}/x/y/1.parquet",)
            bounds, found = slices(source, 3)
        assert (len(bounds), [r["id"] for r in found]) == (3, list(range(5000)))
        assert rows(base=f"s3://{bucket}/x", path="y/*.csv.gz") == [{"id": 7}]
        assert rows(
            path=f"s3://{bucket}/x/y/1.csv.gz", endpoint_url=os.environ["AWS_ENDPOINT_URL"]
        ) == [{"id": 7}]

    def test_a_bucket_that_is_not_there(self, s3):
        with opened(
            path="s3://plain-nosuch/*.csv", columns={"id": "int64"}, only_columns=True
        ) as source:
            clients = source.clients(source.tables()[0])
        assert (clients.ids, clients.whole) == ((), False)
