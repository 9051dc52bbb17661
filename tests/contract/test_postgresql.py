"""PostgreSQL keeps the warehouse contract; and what is its own: logins, names, NUL, our schema."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from psycopg.types.string import TextLoader

from contracts import types
from contracts.errors import Denied, InputError, Permanent, Unreachable
from loader.shape import PhysicalColumn, PhysicalTable
from loader.warehouses.base import Rows
from loader.warehouses.postgresql import open as open_postgresql
from loader.warehouses.postgresql_types import holds, map_type, wire
from tests.suites.warehouse import WarehouseSuite

pytestmark = pytest.mark.postgres


class PostgresPlace:
    path = "cloudquery/postgresql"

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.spec = {"connection_string": dsn}

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        # As the loader does: our schema is not where the user's tables are.
        with psycopg.connect(self.dsn, options="-csearch_path=public") as connection:
            connection.adapters.register_loader("inet", TextLoader)
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def beside(self, warehouse: Any) -> Iterator[Callable[[str], list[tuple[Any, ...]]]]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute("SET search_path = public; SET lock_timeout = '50ms'")

            def read(sql: str) -> list[tuple[Any, ...]]:
                try:
                    return connection.execute(sql).fetchall()
                except psycopg.errors.LockNotAvailable:
                    return []  # a reader waits while a table is swapped; it sees nothing half

            yield read


@pytest.fixture
def warehouse(postgres_dsn):
    w = open_postgresql({"connection_string": postgres_dsn})
    yield w
    w.close()


class TestPostgreSQL(WarehouseSuite):
    @pytest.fixture
    def place(self, postgres_dsn: str) -> PostgresPlace:
        return PostgresPlace(postgres_dsn)

    @pytest.mark.parametrize("format_", ["parquet", "csv"])
    @pytest.mark.parametrize("type_", [pa.time64("ns"), pa.timestamp("ns")], ids=str)
    def test_nanoseconds_are_not_lost(self, place, start, format_, type_):
        """PostgreSQL has none: a value that needs them is refused, and the column is named."""
        assert "column 'c'" in self._typed(start, format_, type_, [123_456_789, None]).load().error

    @pytest.mark.parametrize("type_", [pa.time64("ns"), pa.timestamp("ns")], ids=str)
    def test_whole_microseconds_arrive_whatever_the_unit(self, place, start, type_):
        assert self._typed(start, "parquet", type_, [123_456_000, None]).load().error == ""
        assert place.rows("SELECT to_char(c, 'US') FROM items WHERE c IS NOT NULL") == [("123456",)]


class TestLogin:
    def test_a_wrong_password_is_denied_and_not_repeated(self, postgres):
        with pytest.raises(Denied, match="refused the login") as caught:
            open_postgresql({"connection_string": postgres.dsn(password="not-the-one")})
        assert "not-the-one" not in str(caught.value)

    def test_a_token_of_aws_takes_the_place_of_the_password(self, postgres, monkeypatch):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
        dsn = f"{postgres.dsn()}?sslmode=disable"
        open_postgresql({"connection_string": dsn}).close()
        with pytest.raises(Denied, match="refused the login") as caught:
            open_postgresql({"connection_string": dsn, "aws_iam_auth": {"region": "eu-west-1"}})
        assert "X-Amz" not in str(caught.value)

    def test_a_token_of_aws_needs_an_encrypted_connection(self, postgres, monkeypatch):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
        options = {"connection_string": postgres.dsn(), "aws_iam_auth": {"region": "eu-west-1"}}
        with pytest.raises(Unreachable, match="does not support SSL"):
            open_postgresql(options)

    def test_a_database_that_does_not_exist_is_named(self, postgres):
        with pytest.raises(Permanent, match='database "nowhere" does not exist'):
            open_postgresql({"connection_string": postgres.dsn("nowhere")})

    def test_a_server_that_does_not_answer_is_named_without_the_password(self):
        with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1/db does not answer") as caught:
            open_postgresql({"connection_string": "postgresql://u:hunter22@127.0.0.1:1/db"})
        assert "hunter22" not in str(caught.value)

    def test_a_text_that_is_no_connection_string_is_the_users_mistake(self):
        with pytest.raises(InputError, match="neither a URL nor a list") as caught:
            open_postgresql({"connection_string": "hunter22 is here"})
        assert "hunter22" not in str(caught.value)


class TestColumns:
    def test_tables_of_the_user_are_not_in_our_schema(self, warehouse):
        warehouse.prepare()
        assert warehouse.query("SELECT current_schema()") == [("public",)]

    def test_performance_indexes_are_made_where_they_are_asked_for(self, postgres_dsn):
        from loader.migrate import CreateTable

        spec = {"connection_string": postgres_dsn, "create_performance_indexes": True}
        shape = PhysicalTable(
            "t",
            (
                PhysicalColumn("_cq_source_name", "text"),
                PhysicalColumn("_cq_sync_time", "timestamp without time zone"),
            ),
        )
        w = open_postgresql(spec)
        w.apply([CreateTable(shape)])
        w.apply([CreateTable(shape)])
        assert w.query("SELECT count(*) FROM pg_indexes WHERE tablename = 't'") == [(1,)]
        w.close()

    def test_nul_characters_are_removed_from_texts_and_lists_of_texts(self, warehouse):
        warehouse.prepare()
        batch = pa.RecordBatch.from_pydict({"s": ["a\0b", None], "l": [["\0c", None], None]})
        columns = (PhysicalColumn("s", "text"), PhysicalColumn("l", "text[]"))
        landing = PhysicalTable("landing", columns, schema="sharder")
        assert warehouse.copy(landing, Rows(batch.schema, lambda: iter([batch]))) == 2
        assert warehouse.query("SELECT s, l FROM sharder.landing") == [
            ("ab", ["c", None]),
            (None, None),
        ]

    def test_what_has_no_binary_form_lands_as_text_and_is_cast(self, warehouse):
        warehouse.prepare()
        batch = pa.RecordBatch.from_pydict({"net": ["10.0.0.0/8", "::1/128", None]})
        landing = PhysicalTable("landing", (PhysicalColumn("net", "inet"),), schema="sharder")
        warehouse.copy(landing, Rows(batch.schema, lambda: iter([batch])))
        assert warehouse.query("SELECT host(net), masklen(net) FROM sharder.landing") == [
            ("10.0.0.0", 8), ("::1", 128), (None, None),
        ]  # fmt: skip
        warehouse.drop_landings("landing")
        assert warehouse.query("SELECT * FROM pg_views WHERE schemaname = 'sharder'") == []

    def test_column_types_are_cloudquerys(self):
        expected = {
            pa.bool_(): "boolean", pa.int8(): "smallint", pa.int16(): "smallint", pa.int32(): "integer",
            pa.int64(): "bigint", pa.uint8(): "smallint", pa.uint16(): "integer", pa.uint32(): "bigint",
            pa.uint64(): "numeric(20,0)", pa.float32(): "real", pa.float64(): "double precision",
            pa.decimal128(20, 3): "numeric(20,3)", pa.string(): "text", pa.binary(): "bytea",
            types.TIMESTAMP: "timestamp without time zone", pa.date32(): "date",
            pa.time64("us"): "time without time zone", types.UUID: "uuid", types.JSON: "jsonb",
            types.INET: "inet", types.MAC: "macaddr", pa.list_(pa.int64()): "bigint[]",
            pa.struct([("a", pa.int8())]): "text", pa.map_(pa.string(), pa.int8()): "text",
            pa.duration("us"): "text",
        }  # fmt: skip
        assert {t: map_type(t).sql for t in expected} == expected

    @pytest.mark.parametrize(
        ("wide", "narrow", "answer"),
        [
            ("bigint", "integer", True), ("integer", "bigint", False), ("numeric", "bigint", True),
            ("numeric(20,0)", "bigint", True), ("numeric(10,2)", "bigint", False),
            ("numeric(12,3)", "numeric(10,2)", True), ("numeric(10,3)", "numeric(10,2)", False),
            ("double precision", "real", True), ("double precision", "bigint", False),
            ("text", "character varying(30)", True), ("text", "bigint", False), ("bigint[]", "integer[]", True),
            ("date", "date", True), ("date", "timestamp without time zone", False),
        ],
    )  # fmt: skip
    def test_a_type_holds_another_only_if_every_value_has_a_place(self, wide, narrow, answer):
        assert holds(wide, narrow) is answer

    def test_the_wire_type_is_the_columns_wherever_the_binary_forms_agree(self):
        assert wire(pa.binary(16), "uuid") == "uuid"
        assert wire(pa.string(), "inet") == "text"
        assert wire(pa.list_(pa.string()), "uuid[]") == "text[]"
        assert wire(pa.decimal128(10, 2), "numeric(10,2)") == "numeric(10,2)"
