"""The sql source against a real PostgreSQL: exact types, slices under one snapshot, failures in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pyarrow as pa
import pytest

from contracts import types
from contracts.errors import Denied, InputError, Unreachable
from contracts.table import with_cq_columns
from tests.fakes.sources import drain
from tests.suites.source import SourceSuite, context
from worker.sources.base import CellDone, Checkpoint, Rows, Work
from worker.sources.sql import open as open_source

pytestmark = pytest.mark.postgres

ALL_TYPES = """
create schema s; create type mood as enum ('sad', 'ok'); create type pair as (a int, b numeric);
create domain cents as numeric(10,2); create domain small_cents as cents check (value < 100);
create table t (
  id int8 primary key, b bool, i2 int2, i4 int4, o oid, f4 float4, f8 float8,
  n numeric, n2 numeric(12,2), wide numeric(50,10), neg numeric(3,-2), tiny numeric(3,5), huge numeric(500,3),
  dom small_cents, money money, txt text, v varchar(9), c char(4), by bytea, d date, tm time, ttz timetz,
  ts timestamp, tz timestamptz, iv interval, j json, jb jsonb, u uuid, ip inet, net cidr, mac macaddr,
  e mood, p pair, r int4range, x xml, bits bit(3),
  ai int4[], at text[], an numeric(10,2)[], ann numeric[], au uuid[], ae mood[], aip inet[], ats timestamptz[],
  grid int4[][], ap pair[], gen int4 generated always as (i4 * 2) stored
);
comment on table t is 'all types'; comment on column t.txt is 'a text';
insert into t values (1, true, -2, 3, 4294967295, 1.5, 0.1, 123456789.123456789012345678901234567890, -1.50,
  1234567890123456789012345678901234567890.0123456789, 12345, 0.00123, 1e400, 9.99, 1.5, 'ü''\\', 'v', 'c',
  '\\x00ff', '0001-01-01 BC', '23:59:59.999999', '12:00:00+02', '1999-12-31 23:59:59.123456',
  '2024-02-29 12:00:00.000001+02', '1 month 2 days 3.5 seconds', '{"a": 1.10}', '{"b": [1, null]}',
  '123e4567-e89b-12d3-a456-426614174000', '10.0.0.1', '2001:db8::/32', '08:00:2b:01:02:03', 'sad', row(1, 2.50),
  '[1,5)', '<a/>', b'101', '{1,null,3}', '{"a,b",null}', '{1.5,null}', '{1.5,2}',
  '{123e4567-e89b-12d3-a456-426614174000}', '{sad,ok}', '{10.0.0.1}', '{2024-01-01 00:00:00+00}',
  '{{1,2},{3,4}}', array[row(1, 2)::pair]);
insert into t (id) values (2);
"""


@pytest.fixture
def database(postgres_dsn: str) -> Iterator[tuple[str, psycopg.Connection[Any]]]:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        yield postgres_dsn, connection


@contextmanager
def opened(dsn: str, **spec: Any) -> Iterator[Any]:
    with closing(open_source({"connection_string": dsn, **spec}, context("db"))) as source:
        yield source


def work(source: Any, name: str, **more: Any) -> Work:
    table = next(t for t in source.tables() if t.name == name)
    clients = source.clients(table)
    ids = [
        clients.ids[i] for a, b in clients.ranges or ((0, len(clients.ids)),) for i in range(a, b)
    ]
    return Work((with_cq_columns(table),), frozenset({name}), ids, **more)


def read(dsn: str, name: str, *, cursors: dict[str, str] | None = None, **spec: Any):
    with opened(dsn, **spec) as source:
        return drain(source, work(source, name), cursors)


class TestPostgresql(SourceSuite):
    empty = frozenset({"bare"})

    @pytest.fixture
    def source(self, database):
        dsn, connection = database
        connection.execute(
            "create table t (id int primary key, note text, doc jsonb, at timestamptz default now());"
            "insert into t select i, repeat('x', 300), '{}' from generate_series(1, 500) i;"
            "create table bare (id int); create schema s; create table s.keyless as select 1 as one; analyze"
        )
        with opened(dsn, slice_rows=10) as source:
            yield source


class TestTypes:
    def test_every_type_arrives_exactly(self, database):
        dsn, connection = database
        connection.execute(ALL_TYPES.replace("\\\\", "\\"))
        with opened(dsn) as source:
            table = next(t for t in source.tables() if t.name == "t")
            result = drain(source, work(source, "t"))
        assert [d.outcome for d in result.done] == ["ok"], result.done
        assert table.description == "all types"
        assert table.column("txt").description == "a text"
        assert table.primary_key == ("id",)
        kinds = {c.name: c.type for c in table.columns}
        expected = {
            "n": pa.string(), "n2": pa.decimal128(12, 2), "wide": pa.decimal256(50, 10),
            "neg": pa.decimal128(5, 0), "tiny": pa.decimal128(5, 5), "huge": pa.string(),
            "dom": pa.decimal128(10, 2), "money": pa.string(), "o": pa.int64(), "j": types.JSON,
            "u": types.UUID, "ip": types.INET, "mac": types.MAC, "p": types.JSON, "grid": types.JSON,
            "an": pa.list_(pa.decimal128(10, 2)), "ann": pa.list_(pa.string()), "ae": pa.list_(pa.string()),
            "aip": pa.list_(types.INET), "iv": pa.month_day_nano_interval(), "ap": types.JSON,
        }  # fmt: skip
        assert {k: kinds[k] for k in expected} == expected
        rows = result.table("t")
        assert rows.schema == table.schema
        first = {n: rows.column(n)[0] for n in rows.column_names}
        values = {
            n: s.as_py() for n, s in first.items() if n not in ("d", "mac", "ip", "net", "aip")
        }
        assert values["o"] == 4294967295
        assert values["n"] == "123456789.123456789012345678901234567890"
        assert values["wide"] == Decimal("1234567890123456789012345678901234567890.0123456789")
        assert (values["neg"], values["tiny"]) == (Decimal(12300), Decimal("0.00123"))
        assert values["huge"] == "1" + "0" * 400 + ".000"
        assert values["dom"] == Decimal("9.99")
        assert values["money"] == "$1.50"
        assert values["txt"] == "ü'\\"
        assert values["c"] == "c   "
        assert values["by"] == b"\x00\xff"
        assert first["d"].cast(pa.int32()).as_py() == -719528
        assert values["tz"] == datetime(2024, 2, 29, 10, 0, 0, 1, tzinfo=UTC)
        assert tuple(values["iv"]) == (1, 2, 3_500_000_000)
        assert (values["j"], values["jb"]) == ('{"a": 1.10}', '{"b": [1, null]}')
        assert values["u"] == UUID("123e4567-e89b-12d3-a456-426614174000")
        assert first["ip"].value.as_py() == "10.0.0.1/32"
        assert first["net"].value.as_py() == "2001:db8::/32"
        assert first["mac"].value.as_py() == bytes.fromhex("08002b010203")
        assert (values["e"], values["p"], values["r"]) == ("sad", '{"a":1,"b":2.50}', "[1,5)")
        assert (values["x"], values["bits"], values["ttz"]) == ("<a/>", "101", "12:00:00+02")
        assert values["ai"] == [1, None, 3]
        assert values["at"] == ["a,b", None]
        assert values["an"] == [Decimal("1.50"), None]
        assert values["ann"] == ["1.5", "2"]
        assert values["ae"] == ["sad", "ok"]
        assert values["grid"] == "[[1,2],[3,4]]"
        assert values["gen"] == 6
        nulls = rows.slice(1).to_pylist()[0]
        assert {k for k, v in nulls.items() if v is not None} == {"id"}

    @pytest.mark.parametrize("type_", ["date", "timestamp", "timestamptz"])
    def test_infinity_fails_its_cell_or_becomes_null_as_chosen(self, database, type_):
        dsn, connection = database
        connection.execute(f"create table t (id int primary key, x {type_})")
        connection.execute(
            "insert into t values (1, 'infinity'), (2, '-infinity'), (3, '2024-01-01')"
        )
        failed = read(dsn, "t")
        assert failed.done[0].reason == "schema"
        assert "t.x: a value is infinity" in failed.done[0].message
        rows = read(dsn, "t", infinity="null").table("t").to_pylist()
        assert [r["x"] is None for r in rows] == [True, True, False]
        rows = read(dsn, "t", column_types={"t": {"x": "text"}}).table("t").to_pylist()
        assert [r["x"] for r in rows[:2]] == ["infinity", "-infinity"]

    def test_a_nan_in_a_decimal_fails_its_cell_naming_the_column(self, database):
        dsn, connection = database
        connection.execute("create table t (id int primary key, x numeric(5,2))")
        connection.execute("insert into t values (1, 'NaN')")
        (done,) = read(dsn, "t").done
        assert (done.outcome, done.reason) == ("failed", "schema")
        assert "t.x" in done.message

    def test_an_array_with_more_dimensions_than_declared_fails_its_cell_or_is_json(self, database):
        dsn, connection = database
        connection.execute("create table t (id int primary key, x int[])")
        connection.execute("insert into t values (1, '{1}'), (2, '{{1,2},{3,4}}')")
        (done,) = read(dsn, "t").done
        assert done.reason == "schema"
        assert "several dimensions" in done.message
        rows = read(dsn, "t", column_types={"t": {"x": "json"}}).table("t").to_pylist()
        assert [r["x"] for r in rows] == ["[1]", "[[1,2],[3,4]]"]

    def test_unbounded_numeric_becomes_a_decimal_if_asked_and_exact(self, database):
        dsn, connection = database
        connection.execute("create table t (id int primary key, x numeric)")
        connection.execute("insert into t values (1, 1.25)")
        asked = {"t": {"x": "decimal(10, 2)"}}
        assert read(dsn, "t", column_types=asked).table("t").to_pylist()[0]["x"] == Decimal("1.25")
        connection.execute("insert into t values (2, 1.255)")
        assert read(dsn, "t", column_types=asked).done[0].reason == "schema"


class TestTables:
    def test_schemas_views_and_partitions_are_found_by_name(self, database):
        dsn, connection = database
        connection.execute(
            "create schema sales; create table a (id int); create table sales.b (id int);"
            "create view v as select 1 as one; create table p (id int) partition by range (id);"
            "create table p1 partition of p for values from (0) to (10); insert into p values (5)"
        )
        with opened(dsn) as source:
            assert [t.name for t in source.tables()] == ["a", "p", "sales_b"]
        with opened(dsn, views=True, schemas=["public"]) as source:
            assert [t.name for t in source.tables()] == ["a", "p", "v"]
        assert read(dsn, "p").table("p").num_rows == 1
        assert read(dsn, "v", views=True).table("v").num_rows == 1

    def test_odd_names_are_quoted(self, database):
        dsn, connection = database
        connection.execute('create table "a ""b"" é;--" ("x ""y" int primary key, "select" text)')
        connection.execute("""insert into "a ""b"" é;--" values (1, 'v')""")
        rows = read(dsn, 'a "b" é;--').table('a "b" é;--')
        assert rows.to_pylist() == [{'x "y': 1, "select": "v"}]

    def test_options_that_name_no_table_or_column_are_refused_with_the_nearest(self, database):
        dsn, connection = database
        connection.execute("create table orders (id int, updated_at timestamptz)")
        with (
            opened(dsn, cursor_columns={"order": "updated_at"}) as source,
            pytest.raises(InputError, match="did you mean 'orders'"),
        ):
            source.tables()
        with (
            opened(dsn, cursor_columns={"orders": "updated"}) as source,
            pytest.raises(InputError, match="did you mean 'updated_at'"),
        ):
            source.tables()

    def test_the_columns_of_an_elt_tool_stay_behind_but_ids_live_on(self, database):
        dsn, connection = database
        connection.execute(
            "create table t (_cq_sync_time timestamp, _cq_id uuid, _cq_source_name text, a int)"
        )
        with opened(dsn) as source:
            (table,) = source.tables()
        assert [c.name for c in table.columns] == ["_cq_id", "a"]


class TestFrozenSchema:
    def test_a_column_that_changed_since_the_plan_fails_the_cell(self, database):
        dsn, connection = database
        connection.execute("create table t (id int primary key, a int, b int)")
        with opened(dsn) as source:
            planned = work(source, "t")
            connection.execute("alter table t add column c int")
            assert drain(source, planned).done[0].outcome == "ok"
            connection.execute("alter table t alter column a type text")
            done = drain(source, planned).done[0]
            assert (done.reason, "t.a is string, but the plan says int32" in done.message) == (
                "schema",
                True,
            )
            connection.execute("alter table t drop column a")
            assert "t.a is gone" in drain(source, planned).done[0].message
            connection.execute("drop table t")
            done = drain(source, planned).done[0]
            assert (done.outcome, "there is no table t" in done.message) == ("failed", True)


class TestSlices:
    def rows(self, source, planned, slices) -> list[int]:
        ids: list[int] = []
        for bounds in slices:
            result = drain(source, Work(planned.tree, planned.selected, planned.clients, bounds))
            assert [d.outcome for d in result.done] == ["ok"], result.done
            if any(r.batch.num_rows for r in result.rows):
                ids += result.table(planned.top.name).column("id").to_pylist()
        return sorted(ids)

    @pytest.mark.parametrize("key", ["id int primary key", "id int, primary key (id, note)"])
    @pytest.mark.parametrize("snapshot", [True, False])
    def test_slices_together_are_the_whole_table_once(self, database, key, snapshot):
        dsn, connection = database
        connection.execute(f"create table t ({key}, note text not null default repeat('x', 500))")
        connection.execute(
            "insert into t (id) select i * i from generate_series(1, 2000) i; analyze t"
        )
        with opened(dsn, slice_rows=10, snapshot=snapshot) as source:
            planned = work(source, "t")
            slices = source.split(planned.top, planned.clients[0], 7)
            assert len(slices) == 7
            assert ("snapshot" in slices[0]) is snapshot
            assert {s["by"] for s in slices} == {"block" if snapshot else "key"}
            assert self.rows(source, planned, slices) == [i * i for i in range(1, 2001)]

    def test_slices_of_a_submitter_that_leaves_need_no_snapshot_of_its(self, database):
        dsn, connection = database
        connection.execute("create table t (id int primary key, note text)")
        connection.execute(
            "insert into t select i, repeat('x', 300) from generate_series(1, 1000) i; analyze t"
        )
        options = {"connection_string": dsn, "slice_rows": 10}
        with closing(open_source(options, replace(context("db"), stays=False))) as leaving:
            planned = work(leaving, "t")
            slices = leaving.split(planned.top, planned.clients[0], 4)
        assert {s["by"] for s in slices} == {"key"}
        with opened(dsn, slice_rows=10) as source:
            assert self.rows(source, planned, slices) == list(range(1, 1001))

    def test_rows_inserted_changed_or_deleted_meanwhile_are_seen_as_they_were(self, database):
        dsn, connection = database
        connection.execute("create table t (id int, note text)")
        connection.execute(
            "insert into t select i, repeat('x', 300) from generate_series(1, 1000) i; analyze t"
        )
        with opened(dsn, slice_rows=10) as source:
            planned = work(source, "t")
            slices = source.split(planned.top, planned.clients[0], 4)
            connection.execute("insert into t select i from generate_series(5001, 6000) i")
            connection.execute("delete from t where id % 2 = 0; update t set note = 'new'")
            connection.execute("vacuum t")
            assert self.rows(source, planned, slices) == list(range(1, 1001))

    @pytest.mark.parametrize(
        ("type_", "value"),
        [
            ("int8", "i"),
            ("date", "date '2020-01-01' + i"),
            ("uuid", "md5(i::text)::uuid"),
            ("int2", "i - 500"),
        ],
    )
    @pytest.mark.parametrize("analyzed", [True, False])
    def test_keys_of_every_kind_with_gaps_and_nulls_are_cut(self, database, type_, value, analyzed):
        dsn, connection = database
        connection.execute(f"create table t (k {type_}, id int)")
        connection.execute(
            f"insert into t select {value}, i from generate_series(1, 1000) i where i % 10 < 5"
        )
        connection.execute("insert into t select null, i from generate_series(2001, 2010) i")
        connection.execute("update pg_class set reltuples = 510 where relname = 't'")
        if analyzed:
            connection.execute("analyze t")
        with opened(dsn, slice_rows=10, slice_columns={"t": "k"}) as source:
            planned = work(source, "t")
            slices = source.split(planned.top, planned.clients[0], 5)
            assert len(slices) == 5
            wanted = [i for i in range(1, 1001) if i % 10 < 5] + list(range(2001, 2011))
            assert self.rows(source, planned, slices) == wanted

    def test_a_snapshot_that_is_gone_fails_the_cell_and_says_so(self, database):
        dsn, connection = database
        connection.execute("create table t (id int primary key)")
        connection.execute("insert into t select generate_series(1, 5000); analyze t")
        with opened(dsn, slice_rows=10) as source:
            planned = work(source, "t")
            bounds = source.split(planned.top, planned.clients[0], 2)[0]
        with opened(dsn) as worker:
            (done,) = drain(
                worker, Work(planned.tree, planned.selected, planned.clients, bounds)
            ).done
        assert done.outcome == "failed"
        assert "the snapshot of this run is gone" in done.message

    def test_a_table_that_may_not_be_read_is_not_cut_and_the_snapshot_of_others_stays(
        self, postgres, database
    ):
        dsn, connection = database
        for name in ("a", "b; c", "secret"):
            connection.execute(f'create table "{name}" (id int primary key)')
            connection.execute(f'insert into "{name}" select generate_series(1, 2000)')
        role = dsn.rpartition("/")[2]
        connection.execute(f"analyze; create role r{role} login password 'pw-of-reader'")
        connection.execute(f'grant select on a, "b; c" to r{role}')
        try:
            reader = dsn.replace(f"{postgres.user}:{postgres.password}", f"r{role}:pw-of-reader")
            with opened(reader, slice_rows=10) as source:
                planned = {n: work(source, n) for n in ("a", "secret", "b; c")}
                cut = {n: source.split(w.top, w.clients[0], 3) for n, w in planned.items()}
                assert cut["secret"] == []
                for name in ("a", "b; c"):
                    assert self.rows(source, planned[name], cut[name]) == list(range(1, 2001))
        finally:
            connection.execute(f"drop owned by r{role}; drop role r{role}")

    def test_small_tables_and_tables_without_a_fit_key_are_not_cut(self, database):
        dsn, connection = database
        connection.execute(
            "create table small (id int primary key); create table keyless (name text)"
        )
        connection.execute(
            "insert into keyless select 'a' from generate_series(1, 1000) i; analyze"
        )
        with opened(dsn, slice_rows=10, snapshot=False) as source:
            for table in source.tables():
                assert source.split(table, source.clients(table).ids[0], 4) == []

    def test_the_size_of_a_cell_follows_the_catalogue(self, database):
        dsn, connection = database
        connection.execute(
            "create table t (id int); insert into t select generate_series(1, 90000); analyze"
        )
        with opened(dsn) as source:
            (table,) = source.tables()
            assert 0.05 < source.size(table, source.clients(table).ids[0]) < 5


class TestIncremental:
    KEY = "db/t/"

    def cursor(self, dsn: str) -> str:
        return f"db/t/{dsn.rpartition('/')[2]}"

    def setup_rows(self, connection, *, key: str = "primary key") -> None:
        connection.execute(f"create table t (id int {key}, at timestamptz)")
        connection.execute(
            "insert into t select i, timestamptz '2024-01-01 00:00:00Z' + i * interval '1 second' from generate_series(1, 10) i"
        )

    def test_the_second_run_reads_what_is_new_and_the_boundary_again(self, database):
        dsn, connection = database
        self.setup_rows(connection)
        spec = {"cursor_columns": {"t": "at"}}
        first = read(dsn, "t", **spec)
        state = dict(first.done[0].cursor)
        assert state == {self.cursor(dsn): "2024-01-01 00:00:10.000000Z"}
        connection.execute(
            "insert into t values (11, '2024-01-01 00:00:10Z'), (12, '2024-01-01 00:00:11Z'), (13, null)"
        )
        second = read(dsn, "t", cursors=state, **spec)
        assert sorted(second.table("t").column("id").to_pylist()) == [10, 11, 12, 13]
        assert second.done[0].cursor[self.cursor(dsn)] == "2024-01-01 00:00:11.000000Z"

    def test_without_a_key_the_newest_value_is_held_back_so_nothing_is_lost_or_doubled(
        self, database
    ):
        dsn, connection = database
        self.setup_rows(connection, key="")
        spec = {"cursor_columns": {"t": "at"}}
        first = read(dsn, "t", **spec)
        assert first.table("t").num_rows == 9
        connection.execute(
            "insert into t values (11, '2024-01-01 00:00:10Z'), (12, '2024-01-01 00:00:11Z')"
        )
        second = read(dsn, "t", cursors=dict(first.done[0].cursor), **spec)
        assert sorted(second.table("t").column("id").to_pylist()) == [10, 11]
        connection.execute("insert into t values (13, null)")
        (done,) = read(dsn, "t", **spec).done
        assert "the cursor column has nulls" in done.message

    def test_read_once_leaves_the_boundary_out(self, database):
        dsn, connection = database
        self.setup_rows(connection)
        spec = {"cursor_columns": {"t": "id"}, "cursor_boundary": "once"}
        state = dict(read(dsn, "t", **spec).done[0].cursor)
        connection.execute("insert into t values (11, null)")
        assert read(dsn, "t", cursors=state, **spec).table("t").column("id").to_pylist() == [11]

    def test_a_cursor_never_goes_back(self, database):
        dsn, connection = database
        self.setup_rows(connection)
        spec = {"cursor_columns": {"t": "id"}}
        state = dict(read(dsn, "t", **spec).done[0].cursor)
        connection.execute("delete from t where id > 5")
        again = read(dsn, "t", cursors=state, **spec)
        assert (again.rows, dict(again.done[0].cursor)) == ([], state)

    def test_slices_share_the_cursor(self, database):
        dsn, connection = database
        self.setup_rows(connection)
        connection.execute(
            "insert into t select i, now() from generate_series(11, 5000) i; analyze t"
        )
        with opened(dsn, slice_rows=10, cursor_columns={"t": "id"}) as source:
            planned = work(source, "t")
            cursors = set()
            rows = 0
            for bounds in source.split(planned.top, planned.clients[0], 3):
                connection.execute("insert into t select max(id) + 1, now() from t")
                result = drain(
                    source, Work(planned.tree, planned.selected, planned.clients, bounds)
                )
                cursors.add(result.done[0].cursor[self.cursor(dsn)])
                rows += sum(r.batch.num_rows for r in result.rows)
        assert (cursors, rows) == ({"5000"}, 5000)

    def test_checkpoints_come_in_the_order_of_the_cursor_where_an_index_gives_it(self, database):
        dsn, connection = database
        self.setup_rows(connection)
        connection.execute("create index on t (at)")
        with opened(dsn, cursor_columns={"t": "at"}, checkpoint_rows=4, batch_rows=2) as source:
            events = list(source.read(work(source, "t"), {}))
        seen: list[datetime] = []
        for event in events:
            if isinstance(event, Rows):
                seen += event.batch.column("at").to_pylist()
            elif isinstance(event, Checkpoint):
                kept = datetime.fromisoformat(event.cursor[self.cursor(dsn)])
                assert max(seen) == kept
        assert sum(isinstance(e, Checkpoint) for e in events) == 2
        assert isinstance(events[-1], CellDone)


class TestFailures:
    def test_a_wrong_password_is_denied_and_not_repeated(self, postgres):
        with (
            opened(postgres.dsn(password="wrong-horse")) as source,
            pytest.raises(Denied, match="authentication failed") as caught,
        ):
            source.tables()
        assert "wrong-horse" not in str(caught.value)

    def test_a_host_that_does_not_answer_is_unreachable(self):
        waits: list[float] = []
        source = open_source(
            {"connection_string": "postgresql://u:secret-word@127.0.0.1:1/x"},
            context("db", sleep=waits.append),
        )
        with pytest.raises(Unreachable, match="Connection refused"):
            source.tables()
        assert waits == [2.0, 4.0]

    def test_a_table_that_may_not_be_read_fails_its_cell_only(self, postgres, database):
        dsn, connection = database
        connection.execute("create table secret (id int); create table open (id int)")
        connection.execute("insert into open values (1)")
        role = dsn.rpartition("/")[2]
        connection.execute(
            f"create role r{role} login password 'pw-of-reader'; grant select on open to r{role}"
        )
        try:
            reader = dsn.replace(f"{postgres.user}:{postgres.password}", f"r{role}:pw-of-reader")
            assert read(reader, "open").done[0].outcome == "ok"
            (done,) = read(reader, "secret").done
            assert (done.outcome, done.reason) == ("failed", "denied")
            assert "permission denied for table secret" in done.message
        finally:
            connection.execute(f"drop owned by r{role}; drop role r{role}")

    def test_a_statement_that_takes_too_long_times_out(self, database):
        dsn, connection = database
        connection.execute(
            "create view slow as select pg_sleep(20)::text as x from generate_series(1, 3)"
        )
        (done,) = read(dsn, "slow", views=True, statement_timeout="100ms").done
        assert (done.outcome, done.reason) == ("failed", "timeout")

    def test_an_error_in_the_middle_fails_the_cell(self, database):
        dsn, connection = database
        connection.execute(
            "create view v as select 1 / (i - 90000) as x from generate_series(1, 100000) i"
        )
        result = read(dsn, "v", views=True, batch_bytes=10_000)
        assert result.rows
        assert (result.done[0].outcome, "division by zero" in result.done[0].message) == (
            "failed",
            True,
        )


class TestSeveralDatabases:
    def test_each_database_is_a_client_and_one_that_is_down_fails_alone(self, postgres):
        first, second = postgres.create(), postgres.create()
        try:
            for dsn, more in ((first, ""), (second, ", extra text")):
                with psycopg.connect(dsn, autocommit=True) as connection:
                    connection.execute(f"create table t (id int primary key{more})")
                    connection.execute("insert into t values (1)")
            with psycopg.connect(second, autocommit=True) as connection:
                connection.execute("create table only_here (id int)")
            spec = {
                "databases": [
                    {"name": "one", "connection_string": first},
                    {"name": "two", "connection_string": second},
                    {"name": "down", "connection_string": "postgresql://u@127.0.0.1:1/x"},
                ]
            }
            with closing(open_source(spec, context("db"))) as source:
                tables = {t.name: t for t in source.tables()}
                clients = source.clients(tables["only_here"])
                assert (clients.ids, clients.ranges) == (("one", "two", "down"), ((1, 2), (2, 3)))
                assert clients.whole
                result = drain(source, work(source, "t"))
            assert [(d.client, d.outcome) for d in result.done] == [
                ("one", "ok"),
                ("two", "ok"),
                ("down", "failed"),
            ]
            assert "Connection refused" in result.done[2].message
            assert [r.batch.schema.names for r in result.rows] == [["id"], ["id", "extra"]]
        finally:
            postgres.drop(first)
            postgres.drop(second)
