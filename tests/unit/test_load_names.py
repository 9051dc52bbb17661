"""Names and shapes that a destination wants: quoting, cutting, keys, sync groups."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from contracts.errors import InputError
from contracts.spec import Destination
from contracts.table import Column
from loader import sql
from loader.shape import PhysicalTable
from loader.sql import key_comment, key_of_comment
from loader.target import sync_group, target
from loader.warehouses.duckdb import DIALECT
from tests.fakes.stage import NOW, table

SHORT = replace(DIALECT, identifier_bytes=20, case_sensitive=True)


def destination(**outer: object) -> Destination:
    return Destination.model_validate({"name": "w", "path": "cloudquery/duckdb", **outer})


def test_quotes_in_names_are_doubled():
    assert DIALECT.quote('a"b') == '"a""b"'
    assert DIALECT.literal("a'b") == "'a''b'"


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_names_that_no_engine_can_hold_are_refused(name):
    with pytest.raises(InputError, match="NUL"):
        DIALECT.quote(name)


def test_a_nul_in_a_constant_is_refused():
    with pytest.raises(InputError, match="NUL"):
        DIALECT.literal("\0")


def test_long_names_are_cut_at_a_character_and_end_in_a_hash():
    cut = SHORT.name_of("ü" * 30)
    assert len(cut.encode()) <= 20
    assert cut.startswith("üüüüü_")
    assert SHORT.name_of("x" * 20) == "x" * 20
    assert SHORT.name_of("x" * 21) != SHORT.name_of("x" * 22)


def test_names_that_an_engine_takes_for_one_are_kept_apart():
    first, second = DIALECT.names_of(("Name", "name"))
    assert first == "Name"
    assert second.startswith("name_")
    assert SHORT.names_of(("Name", "name")) == ("Name", "name")


@pytest.mark.parametrize("key", [("id",), ('a"b', "c,d", "[]"), ("ü",)])
def test_a_recorded_key_is_read_back(key):
    assert key_of_comment(key_comment(key)) == key


@pytest.mark.parametrize("comment", [None, "", "the key of success", "key [broken"])
def test_somebody_elses_comment_names_no_key(comment):
    assert key_of_comment(comment) == ()


def wanted(**outer: object) -> PhysicalTable:
    return target(DIALECT, table(), destination(**outer), "run-1", NOW).shape


def test_append_strips_the_key_and_keeps_what_may_not_be_null():
    shape = wanted(write_mode="append")
    assert shape.key == ()
    assert not shape.column("id").nullable


def test_overwrite_takes_the_sources_key_or_cq_id():
    assert wanted().key == ("id",)
    assert wanted(pk_mode="cq-id-only").key == ("_cq_id",)
    keyless = table("items", Column("v", pa.string()))
    assert target(DIALECT, keyless, destination(), "r", NOW).shape.key == ("_cq_id",)


def test_a_sync_group_is_a_column_behind_the_source_name_and_part_of_the_key():
    shape = wanted(write_mode="overwrite", sync_group_id="g")
    assert shape.names[:3] == ("_cq_sync_time", "_cq_source_name", "_cq_sync_group_id")
    assert shape.key == ("_cq_sync_group_id", "id")
    assert wanted(write_mode="append", sync_group_id="g").key == ()


def test_placeholders_of_a_sync_group_are_filled_from_the_run():
    text = "{{YEAR}}-{{MONTH}}-{{DAY}}T{{HOUR}}:{{MINUTE}} {{SYNC_ID}}"
    assert sync_group(text, "run-1", NOW) == "2026-01-01T00:00 run-1"


LANDING = PhysicalTable("l", wanted().columns, schema="sharder")


@pytest.mark.parametrize("form", ["merge", "delete-insert", "on-conflict"])
def test_every_form_of_an_upsert_counts_what_it_writes_once(form):
    d = replace(DIALECT, merge=form)
    statements = sql.merge(d, wanted(), LANDING, repeated=False)
    assert [s.counts for s in statements if s.counts] == ["published"]
    assert all('"sharder"."l"' in s.text for s in statements)


@pytest.mark.parametrize("form", ["merge", "on-conflict"])
def test_an_upsert_of_nothing_but_keys_updates_nothing(form):
    d = replace(DIALECT, merge=form)
    only = PhysicalTable("t", LANDING.columns[:1], (LANDING.columns[0].name,))
    landing = replace(only, name="l", key=())
    (statement,) = sql.merge(d, only, landing, repeated=False)
    assert "SET" not in statement.text


def test_of_rows_that_repeat_a_key_the_first_in_a_fixed_order_is_taken():
    *_, insert = sql.merge(DIALECT, wanted(), LANDING, repeated=True)
    assert (
        'row_number() OVER (PARTITION BY "id" ORDER BY CAST("_cq_sync_time" AS VARCHAR)'
        in insert.text
    )


def test_without_other_columns_any_row_of_a_key_will_do():
    only = PhysicalTable("t", LANDING.columns[:1], (LANDING.columns[0].name,))
    *_, insert = sql.merge(DIALECT, only, replace(only, name="l", key=()), repeated=True)
    assert "ORDER BY" not in insert.text
