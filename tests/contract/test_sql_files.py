"""The sql source against SQLite and DuckDB files, and against a driver that it knows nothing about."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pyarrow as pa
import pytest

from contracts import types
from contracts.errors import NotFound
from contracts.table import with_cq_columns
from tests.fakes.sources import Drained, drain
from tests.suites.source import SourceSuite, context
from worker.sources.base import Work
from worker.sources.sql import open as open_source


def read(url: str, name: str, cursors: dict[str, str] | None = None, **spec: Any) -> Drained:
    with closing(open_source({"connection_string": url, **spec}, context("db"))) as source:
        return drain(source, work(source, name), cursors)


def work(source: Any, name: str) -> Work:
    table = next(t for t in source.tables() if t.name == name)
    return Work((with_cq_columns(table),), frozenset({name}), source.clients(table).ids)


def sliced(source: Any, name: str, n: int) -> tuple[int, list[int]]:
    """(number of slices, all ids)."""
    planned = work(source, name)
    slices = source.split(planned.top, planned.clients[0], n)
    ids: list[int] = []
    for bounds in slices:
        result = drain(source, Work(planned.tree, planned.selected, planned.clients, bounds))
        assert [d.outcome for d in result.done] == ["ok"], result.done
        ids += [i for r in result.rows for i in r.batch.column("id").to_pylist()]
    return len(slices), sorted(ids)


class TestSqliteSuite(SourceSuite):
    empty = frozenset({"bare"})

    @pytest.fixture
    def source(self, tmp_path):
        with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
            connection.execute("create table t (id integer primary key, v text)")
            connection.executemany(
                "insert into t values (?, ?)", [(i * 3, f"v{i}") for i in range(500)]
            )
            connection.execute("create table bare (id int)")
            connection.commit()
        spec = {"connection_string": f"sqlite:///{tmp_path}/a.db", "slice_rows": 10}
        with closing(open_source(spec, context())) as source:
            yield source


class TestDuckdbSuite(SourceSuite):
    empty = frozenset({"bare"})

    @pytest.fixture
    def source(self, tmp_path):
        with duckdb.connect(tmp_path / "a.duckdb") as connection:
            connection.execute("create table t (id int primary key, v json, l int[])")
            connection.execute("insert into t select i, '{}', [i] from range(500) r(i)")
            connection.execute("create table bare (id int)")
        spec = {"connection_string": f"duckdb:///{tmp_path}/a.duckdb", "slice_rows": 10}
        with closing(open_source(spec, context())) as source:
            yield source


class TestSqlite:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "a b%.db"

    def write(self, path: Path, *statements: str) -> None:
        with closing(sqlite3.connect(path)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    def test_declared_types_arrive_even_after_a_thousand_nulls(self, path):
        self.write(
            path,
            "create table t (id integer primary key, b boolean, r real, s varchar(9), bl blob, n decimal(10,2),"
            " at datetime, j json, g int generated always as (id * 2) stored)",
            "with recursive i(n) as (values (1) union all select n + 1 from i where n < 1500)"
            " insert into t (id) select n from i",
            "insert into t (id, b, r, s, bl, n, at, j) values (4611686018427387903, 1, 0.1, 'ü', x'00ff', 1.25,"
            """ '2024-01-01 10:00:00', '{"a": 1}')""",
        )
        result = read(f"sqlite:///{path}", "t", batch_rows=700)
        assert result.done[0].outcome == "ok", result.done
        table = result.table("t")
        assert table.schema.types == [
            pa.int64(), pa.bool_(), pa.float64(), pa.string(), pa.binary(), pa.string(), pa.string(),
            types.JSON, pa.int64(),
        ]  # fmt: skip
        assert table.num_rows == 1501
        assert max(r.batch.num_rows for r in result.rows) <= 700
        last = {k: v for k, v in table.slice(1500).to_pylist()[0].items() if k != "g"}
        assert last == {
            "id": 4611686018427387903, "b": True, "r": 0.1, "s": "ü", "bl": b"\x00\xff", "n": "1.25",
            "at": "2024-01-01 10:00:00", "j": '{"a": 1}',
        }  # fmt: skip

    def test_text_becomes_dates_and_decimals_if_asked(self, path):
        self.write(
            path,
            "create table t (id integer primary key, n decimal(10,2), d date, at datetime)",
            "insert into t values (1, 1.25, '2024-02-29', '2024-01-01 10:00:00')",
        )
        asked = {"t": {"n": "decimal(10,2)", "d": "date", "at": "timestamp"}}
        (row,) = read(str(path), "t", column_types=asked).table("t").to_pylist()
        assert row == {
            "id": 1,
            "n": Decimal("1.25"),
            "d": date(2024, 2, 29),
            "at": datetime.fromisoformat("2024-01-01T10:00:00"),
        }

    @pytest.mark.parametrize("value", ["'words'", "1.5"])
    def test_a_value_of_another_type_than_declared_fails_its_cell(self, path, value):
        self.write(
            path,
            "create table t (id integer primary key, n int)",
            f"insert into t values (1, 7), (2, {value})",
        )
        (done,) = read(str(path), "t").done
        assert (done.outcome, done.reason) == ("failed", "schema")

    def test_a_boolean_that_is_neither_fails_its_cell(self, path):
        self.write(path, "create table t (b boolean)", "insert into t values (2)")
        (done,) = read(str(path), "t").done
        assert "t.b: a value is neither 0 nor 1" in done.message

    def test_empty_tables_and_views(self, path):
        self.write(path, "create table t (id int)", "create view v as select id from t")
        result = read(str(path), "v", views=True)
        assert (result.rows, [d.outcome for d in result.done]) == ([], ["ok"])

    def test_slices_are_the_whole_table_with_gaps_and_nulls(self, path):
        self.write(
            path,
            "create table t (id int, k int)",
            "with recursive i(n) as (values (1) union all select n + 1 from i where n < 1000)"
            " insert into t select n, case when n % 9 = 0 then null else n * n end from i",
        )
        with closing(
            open_source(
                {"connection_string": str(path), "slice_rows": 10, "slice_columns": {"t": "k"}},
                context(),
            )
        ) as source:
            assert sliced(source, "t", 6) == (6, list(range(1, 1001)))

    def test_incremental_with_checkpoints(self, path):
        self.write(
            path,
            "create table t (id integer primary key, at text)",
            "with recursive i(n) as (values (1) union all select n + 1 from i where n < 100)"
            " insert into t select 101 - n, 'x' || n from i",
        )
        spec = {"cursor_columns": {"t": "id"}, "batch_rows": 7, "checkpoint_rows": 14}
        first = read(str(path), "t", **spec)
        assert first.table("t").column("id").to_pylist() == list(range(1, 101))
        assert [next(iter(c.cursor.values())) for c in first.checkpoints] == [
            "20",
            "34",
            "48",
            "62",
            "76",
            "90",
        ]
        assert first.done[0].cursor == {"db/t/a b%": "100"}
        self.write(path, "insert into t values (200, null)")
        second = read(str(path), "t", {"db/t/a b%": "100"}, **spec)
        assert second.table("t").column("id").to_pylist() == [100, 200]

    def test_a_file_that_is_not_there_is_not_created(self, tmp_path):
        with pytest.raises(NotFound, match="there is no SQLite file"):
            read(f"sqlite:///{tmp_path}/nope.db", "t")
        assert list(tmp_path.iterdir()) == []


class TestDuckdb:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "a.duckdb"

    def write(self, path: Path, *statements: str) -> None:
        with duckdb.connect(path) as connection:
            for statement in statements:
                connection.execute(statement)

    def test_every_type_arrives_exactly(self, path):
        self.write(
            path,
            "create type mood as enum ('a', 'b')",
            "create table t (id int primary key, h hugeint, uh uhugeint, d decimal(38,9), j json, u uuid, ts timestamp,"
            " ns timestamp_ns, tz timestamptz, dt date, tm time, iv interval, bl blob, bits bit, e mood, l int[],"
            " a int[2], s struct(a int, b uuid), m map(varchar, int), un union(n int, t varchar), u8 utinyint,"
            " u64 ubigint, f float, big bignum, lh hugeint[], lj json[], bo bool)",
            "insert into t values (1, -170141183460469231731687303715884105728,"
            " 340282366920938463463374607431768211455, 12345678901234567890123456789.123456789,"
            """ '{"a": 1}', '123e4567-e89b-12d3-a456-426614174000', '2024-01-01 00:00:00.000001',"""
            " '2024-01-01 00:00:00.000000001', '2024-01-01 02:00:00+02', '2024-02-29', '23:59:59.999999',"
            r" interval '1 month 2 days', '\x00\xff'::blob, '101'::bit, 'a', [1, null], [1, 2],"
            " {'a': 1, 'b': '123e4567-e89b-12d3-a456-426614174000'}, map {'k': 1}, 5, 255,"
            " 18446744073709551615, 0.5, 123456789012345678901234567890123456789012345678901234567890::bignum,"
            " [170141183460469231731687303715884105727], ['{}'], true)",
            "insert into t (id) values (2)",
            "comment on table t is 'all'; comment on column t.j is 'doc'",
        )
        with closing(
            open_source({"connection_string": f"duckdb:///{path}"}, context("db"))
        ) as source:
            (table,) = source.tables()
            result = drain(source, work(source, "t"))
        assert result.done[0].outcome == "ok", result.done
        assert (table.description, table.column("j").description) == ("all", "doc")
        assert table.primary_key == ("id",)
        rows = result.table("t")
        assert rows.schema == table.schema
        for column in table.columns:
            assert types.decode(types.encode(column.type)) == column.type
        row = rows.slice(0, 1).drop_columns(["ns"]).to_pylist()[0]
        assert row["h"] == Decimal(-(2**127))
        assert row["uh"] == Decimal(2**128 - 1)
        assert row["d"] == Decimal("12345678901234567890123456789.123456789")
        assert row["u"] == UUID("123e4567-e89b-12d3-a456-426614174000")
        assert (row["j"], row["bits"], row["e"], row["un"]) == ('{"a": 1}', "101", "a", '{"n":5}')
        assert (row["l"], row["a"], row["m"], row["u64"]) == (
            [1, None],
            [1, 2],
            [("k", 1)],
            2**64 - 1,
        )
        assert row["big"] == "123456789012345678901234567890123456789012345678901234567890"
        assert row["lh"] == "[170141183460469231731687303715884105727]"
        assert table.column("tz").type == types.TIMESTAMP
        assert table.column("u").type == types.UUID
        assert table.column("lj").type == pa.list_(types.JSON)

    def test_infinity_fails_its_cell_or_becomes_null(self, path):
        self.write(
            path,
            "create table t (x timestamp, d date)",
            "insert into t values ('infinity', '-infinity')",
        )
        assert read(str(path), "t").done[0].reason == "schema"
        assert read(str(path), "t", infinity="null").table("t").to_pylist() == [
            {"x": None, "d": None}
        ]

    def test_skewed_keys_are_cut_where_the_rows_are(self, path):
        self.write(
            path,
            "create table t (id int, k uuid)",
            "insert into t select i, case when i % 10 = 0 then null else md5(i::text)::uuid end from range(1, 2001) r(i)",
            "create table s (id bigint primary key)",
            "insert into s select case when i < 1900 then i else i * 1000000000 end from range(1, 2001) r(i)",
        )
        spec = {"connection_string": str(path), "slice_rows": 10, "slice_columns": {"t": "k"}}
        with closing(open_source(spec, context())) as source:
            assert sliced(source, "t", 5) == (5, list(range(1, 2001)))
            planned = work(source, "s")
            counts = []
            for bounds in source.split(planned.top, "a", 4):
                result = drain(
                    source, Work(planned.tree, planned.selected, planned.clients, bounds)
                )
                counts.append(sum(r.batch.num_rows for r in result.rows))
        assert counts == [500] * 4

    def test_schemas_views_and_cursor(self, path):
        self.write(
            path,
            "create schema x; create table x.t (id int primary key, stamp timestamptz)",
            "insert into x.t select i, timestamptz '2024-01-01 00:00:00+00' + i * interval '1 hour' from range(5) r(i)",
            "create view v as select id from x.t",
        )
        spec = {"cursor_columns": {"x_t": "stamp"}}
        first = read(str(path), "x_t", **spec)
        state = dict(first.done[0].cursor)
        assert state == {"db/x_t/a": "2024-01-01 04:00:00.000000Z"}
        assert read(str(path), "x_t", state, **spec).table("x_t").column("id").to_pylist() == [4]
        assert read(str(path), "v", views=True).table("v").num_rows == 5


class TestAnyDriver:
    """The driver manager with SQLite's library by its path: nothing of our own SQLite engine is used."""

    def test_tables_are_found_and_read_through_the_driver_alone(self, tmp_path):
        import adbc_driver_sqlite

        path = tmp_path / "any.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("create table t (id integer primary key, s text)")
            connection.executemany("insert into t values (?, ?)", [(i, f"v{i}") for i in range(10)])
            connection.commit()
        result = read(
            str(path), "t", driver=adbc_driver_sqlite._driver_path(), cursor_columns={"t": "id"}
        )
        assert result.done[0].outcome == "ok", result.done
        assert result.done[0].cursor == {"db/t/any": "9"}
        assert result.table("t").num_rows == 10
