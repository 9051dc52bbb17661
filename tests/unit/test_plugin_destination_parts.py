"""What of a destination plugin is decided without one: cursors, types, the size of messages, which plugin is meant."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from contracts import types
from contracts.errors import InputError
from contracts.spec import Destination, Transformer
from loader import builtin
from loader.convert import convert
from loader.warehouses import registry
from loader.warehouses.plugin import state
from loader.warehouses.plugin.dialect import DIALECT, arrow
from loader.warehouses.plugin.state import Entry
from loader.warehouses.plugin.stream import BYTES, ROWS, cut

NAMES = ("duckdb", "postgresql")


def destination(path: str, registry: str = "cloudquery", **more: object) -> Destination:
    return Destination.model_validate({"name": "d", "path": path, "registry": registry, **more})


# Cursors


def test_the_highest_version_of_a_key_is_in_force():
    one, two = (
        pa.RecordBatch.from_pydict({"key": k, "value": v, "version": n})
        for k, v, n in ((["a", "b"], ["1", "x"], [2, 0]), (["a", "a"], ["0", "2"], [1, 3]))
    )
    assert state.read([one, two]) == {"a": Entry(3, "2"), "b": Entry(0, "x")}


def test_a_table_of_an_older_plugin_has_no_versions():
    batch = pa.RecordBatch.from_pydict({"key": ["a"], "value": ["1"]})
    assert state.read([batch]) == {"a": Entry(0, "1")}


def test_only_what_changed_is_written_with_the_next_version():
    found = {"a": Entry(3, "1"), "b": Entry(1, "2")}
    assert state.changed(found, {"a": "1", "b": "3", "c": "4"}) == {
        "b": Entry(2, "3"), "c": Entry(1, "4"),
    }  # fmt: skip
    assert state.changed(found, {"a": "1"}) == {}


def test_a_batch_of_cursors_has_the_columns_of_the_state_table():
    batch = state.batch("cq_state", {"a": Entry(3, "1")})
    assert batch.to_pylist() == [{"key": "a", "value": "1", "version": 3}]
    assert batch.schema.field("version").type == pa.uint64()


# Types


@pytest.mark.parametrize(
    ("given", "wire"),
    [
        (pa.dictionary(pa.int8(), pa.string()), pa.string()),
        (pa.string_view(), pa.string()),
        (pa.binary_view(), pa.binary()),
        (pa.list_view(pa.string_view()), pa.list_(pa.string())),
        (pa.large_list(pa.int64()), pa.list_(pa.int64())),
        (pa.struct([("a", pa.string_view())]), pa.struct([("a", pa.string())])),
        (pa.map_(pa.string(), pa.binary_view()), pa.map_(pa.string(), pa.binary())),
        (pa.decimal64(10, 2), pa.decimal128(10, 2)),
        (types.UUID, types.UUID),
        (types.JSON, types.JSON),
        (types.INET, types.INET),
        (pa.timestamp("ns", "UTC"), pa.timestamp("ns", "UTC")),
        (pa.float16(), pa.float16()),
    ],
    ids=str,
)
def test_layouts_that_plugins_lack_travel_as_plain_types_and_all_else_as_it_is(given, wire):
    assert arrow(given) == wire
    assert types.decode(json.loads(DIALECT.map_type(given).sql)) == wire
    if not isinstance(given, pa.BaseExtensionType):
        assert convert(pa.nulls(2, given), wire).type == wire


# Messages


def test_messages_are_cut_by_rows_and_by_bytes():
    small = pa.RecordBatch.from_pydict({"a": pa.array(range(25_000), pa.int64())})
    assert [b.num_rows for b in cut(small)] == [ROWS, ROWS, 5_000]
    wide = pa.RecordBatch.from_pydict({"a": ["x" * (BYTES // 4)] * 10})
    assert {b.num_rows for b in cut(wide)} == {3, 1}
    huge = pa.RecordBatch.from_pydict({"a": ["x" * (BYTES * 2)] * 2})
    assert [b.num_rows for b in cut(huge)] == [1, 1]
    assert [*cut(small.slice(0, 0))] == []


# Which plugin


@pytest.mark.parametrize("path", ["cloudquery/duckdb", "duckdb", "sharder/duckdb"])
def test_what_is_built_in_stays_the_first_choice(path):
    assert builtin.builtin(destination(path, version="v1.0.0"), NAMES, "destination") == "duckdb"
    assert builtin.builtin(destination(path, "github"), NAMES, "destination") == "duckdb"


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/opt/duckdb", "local"),
        ("python -m mine", "local"),
        ("localhost:7777", "grpc"),
        ("ghcr.io/x/duckdb:v1", "docker"),
        ("acme/duckdb", "cloudquery"),
    ],
)
def test_another_registry_or_team_means_a_program(path, where):
    assert builtin.is_program(destination(path, where), NAMES)
    assert builtin.builtin(destination(path, where), NAMES, "destination") == ""


def test_a_plugin_of_the_hub_is_one_with_a_version():
    assert builtin.is_program(destination("cloudquery/clickhouse", version="v7.0.0"), NAMES)
    with pytest.raises(InputError, match="no destination plugin 'postgres'") as caught:
        builtin.builtin(destination("cloudquery/postgres"), NAMES, "destination")
    assert "did you mean 'postgresql'" in caught.value.hint
    assert "needs its `version`" in caught.value.hint


def test_the_python_registry_is_for_sources():
    with pytest.raises(InputError, match="`registry: python` is for sources"):
        builtin.builtin(destination("mine:Plugin", "python"), NAMES, "destination")
    t = Transformer.model_validate({"name": "t", "path": "mine:T", "registry": "python"})
    with pytest.raises(InputError, match="transformer 't' is none"):
        builtin.builtin(t, NAMES, "transformer")


def test_what_a_plugin_promises_depends_on_the_write_mode():
    given = [
        registry.traits(destination("/x", "local", write_mode=m)) for m in ("append", "overwrite")
    ]
    assert [t.guarantee for t in given] == ["at-least-once", "keyed-idempotent"]
    assert all(t.merges and not t.lands and not t.fenced and not t.shared for t in given)
