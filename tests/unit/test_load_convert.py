"""Batches in an engine's types: every Arrow type has a place in every dialect, and nothing is cut."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from hypothesis import given

from contracts import types
from loader.convert import convert, duration_text
from loader.warehouses import registry
from tests.fakes.arrays import arrays


@given(arrays())
def test_every_array_is_converted_for_every_engine_or_refused_by_arrow(array):
    for name in registry.names():
        target = registry.dialect(name).map_type(array.type).arrow
        try:
            converted = convert(array, target)
        except pa.ArrowInvalid:
            continue  # a value without a place: the load fails with the column's name
        converted.validate(full=True)
        assert converted.type == target
        if array.type != pa.null():
            assert converted.is_null().to_pylist() == array.is_null().to_pylist()


@pytest.mark.parametrize(
    ("count", "unit", "text"),
    [(1500, "ms", "PT1.5S"), (-1, "ns", "PT-0.000000001S"), (0, "s", "PT0S"), (60, "s", "PT60S")],
)
def test_a_duration_is_seconds_in_iso_8601(count, unit, text):
    assert duration_text((count, unit)) == text


def texts(value, type_) -> list:
    return [json.loads(t) for t in convert(pa.array(value, type_), pa.string()).to_pylist()]


def test_a_struct_is_an_object_with_its_fields_in_json_terms():
    type_ = pa.struct([
        ("n", pa.float64()), ("b", pa.binary()), ("t", pa.timestamp("ns", "UTC")), ("d", pa.duration("ns")),
        ("j", pa.list_(pa.decimal128(5, 2))),
    ])  # fmt: skip
    value = {"n": float("nan"), "b": b"\x00", "t": 1, "d": 1, "j": ["1.50", None]}
    assert texts([{**value, "j": [pa.scalar("1.50").cast(pa.decimal128(5, 2)).as_py(), None]}], type_) == [
        {"n": "nan", "b": "AA==", "t": "1970-01-01 00:00:00.000000001Z", "d": "PT0.000000001S", "j": ["1.50", None]}
    ]  # fmt: skip


def test_a_map_is_an_object_unless_its_keys_are_not_text_or_repeat():
    assert texts([[("a", 1)], []], pa.map_(pa.string(), pa.int8())) == [{"a": 1}, {}]
    assert texts([[(1, 2)]], pa.map_(pa.int8(), pa.int8())) == [[[1, 2]]]
    assert texts([[("a", 1), ("a", 2)]], pa.map_(pa.string(), pa.int8())) == [[["a", 1], ["a", 2]]]


def test_json_inside_a_list_stays_json():
    inner = pa.ExtensionArray.from_storage(types.JSON, pa.array(['{"a": 1}', None]))
    array = pa.ListArray.from_arrays(pa.array([0, 2], pa.int32()), inner)
    assert convert(array, pa.string()).to_pylist() == ['[{"a":1},null]']


def test_a_zoned_timestamp_becomes_utc_and_one_out_of_range_is_refused():
    array = pa.array([0], pa.timestamp("s", "+05:00"))
    assert convert(array, pa.timestamp("us")).cast(pa.int64()).to_pylist() == [0]
    with pytest.raises(pa.ArrowInvalid):
        convert(pa.array([2**62], pa.timestamp("s", "UTC")), pa.timestamp("us"))
