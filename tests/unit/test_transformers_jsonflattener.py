"""`cloudquery/jsonflattener`: JSON columns whose types are declared, one level, as columns."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import UUID

import pyarrow as pa
import pytest

from contracts import types
from contracts.table import Column, Table, from_json, to_json
from loader.transformers.jsonflattener import typed
from tests.fakes.transforms import AT, after, batch, flattener, one

DECLARED = {
    "at": "timestamp[us, tz=UTC]", "name": "utf8", "on": "bool", "n": "int64", "x": "float64",
    "id": "uuid", "raw": "binary", "deep": {"a": "utf8"}, "list": ["utf8"], "what": "any",
}  # fmt: skip


def declared(name: str = "details", schema: object = None) -> Column:
    return Column(name, types.JSON, type_schema=json.dumps(schema or DECLARED))


def test_a_column_per_key_comes_last_ordered_by_column_and_key():
    table = Table("t", (declared("z", {"b": "utf8", "a": "int64"}), declared("y", {"c": "bool"})))
    shown = flattener().show(table, AT)
    assert [c.name for c in shown.table.columns] == ["z", "y", "y__c", "z__a", "z__b"]
    found = after(shown, batch(table, ['{"a":1,"b":"x"}', None], ['{"c":true}', "[]"]))
    assert found == {
        "z": ['{"a":1,"b":"x"}', None], "y": ['{"c":true}', "[]"],
        "y__c": [True, None], "z__a": [1, None], "z__b": ["x", None],
    }  # fmt: skip


def test_values_have_the_declared_types_and_one_level_only():
    table = Table("t", (declared(),))
    value = {
        "at": "2021-06-10 07:30:00", "name": "v", "on": True, "n": 4, "x": 1,
        "id": str(UUID(int=7)), "raw": "aa", "deep": {"a": {"b": 1}}, "list": ["a"], "what": None,
        "undeclared": 1,
    }  # fmt: skip
    found = after(flattener().show(table, AT), batch(table, [json.dumps(value)]))
    assert {k.removeprefix("details__"): v[0] for k, v in found.items() if "__" in k} == {
        "at": datetime(2021, 6, 10, 7, 30, tzinfo=UTC), "name": "v", "on": True, "n": 4, "x": 1.0,
        "id": UUID(int=7), "raw": '"aa"', "deep": '{"a":{"b":1}}', "list": '["a"]', "what": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("type_", "values", "left"),
    [
        (pa.string(), ["a", 1, None, ["a"]], ["a", None, None, None]),
        (pa.int64(), [1, True, 1.0, 2**63, "1"], [1, None, None, None, None]),
        (pa.float64(), [1, 1.5, True, "1", 2**60], [1.0, 1.5, None, None, None]),
        (pa.bool_(), [True, 1, "true"], [True, None, None]),
    ],
    ids=str,
)
def test_what_is_not_of_the_declared_type_is_null(type_, values, left):
    assert typed(values, type_).to_pylist() == left


def test_times_are_read_with_and_without_zone_and_fraction():
    noon = datetime(2026, 1, 2, 12, tzinfo=UTC)
    texts = [
        "2026-01-02T12:00:00Z", "2026-01-02 12:00:00", "2026-01-02T13:00:00+01:00",
        "2026-01-02T12:00:00.000000999Z", "no time", None, 5,
    ]  # fmt: skip
    assert typed(texts, types.TIMESTAMP).to_pylist() == [noon] * 4 + [None] * 3


def test_uuids_that_are_none_are_null():
    assert typed([str(UUID(int=1)), "x", 1], types.UUID).to_pylist() == [UUID(int=1), None, None]


def test_two_keys_that_differ_in_case_get_two_names():
    table = Table("t", (declared("j", {"A": "utf8", "a": "utf8"}), Column("j__a_", pa.int64())))
    names = [c.name for c in flattener().show(table, AT).table.columns]
    assert names == ["j", "j__a_", "j__A", "j__a__"]


@pytest.mark.parametrize("schema", ["", "[1]", "{", "{}", '["utf8"]'])
def test_a_column_without_declared_keys_stays_as_it_is_and_that_is_said(schema):
    table = one("j", types.JSON, type_schema=schema)
    shown = flattener().show(table, AT)
    assert (shown.table, shown.batch) == (table, None)
    assert "stay as they are" in shown.warnings[0]


def test_a_table_without_json_is_nothing_to_talk_about():
    assert flattener().show(one("n", pa.int64()), AT).warnings == ()


def test_only_the_tables_that_are_meant_are_expanded():
    table = Table("t", (declared(),))
    assert flattener("x*").show(table, AT).table == table
    assert len(flattener("t").show(table, AT).table.columns) > 1


def test_a_declaration_outlives_the_plan():
    table = Table("t", (declared(), Column("s", pa.string(), sensitive=True)))
    assert from_json(to_json(table)) == table


def test_tables_of_aws_declare_what_is_in_their_structures():
    from worker.sources.aws import locked

    table = locked.tables()["aws_ec2_instances"].table
    shown = flattener().show(table, AT)
    assert shown.table.column("state__Name").type == pa.string()
    assert shown.table.column("state__Code").type == pa.int64()
    assert "tags__Key" not in shown.table
