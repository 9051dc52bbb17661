"""Any value of any type finds its place in every format, or is refused; none is lost on the way."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given

from contracts import types
from contracts.stagefile.encoders import (
    CsvDialect,
    CsvEncoder,
    Encoder,
    JsonEncoder,
    ParquetDialect,
    ParquetEncoder,
)
from contracts.stagefile.sink import Sink
from loader.convert import convert
from loader.dialect import Dialect
from loader.warehouses.files import dialects
from tests.fakes.arrays import arrays


class Memory:
    """An upload into memory."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes | memoryview) -> int:
        self.data += bytes(data)
        return len(data)

    def close(self) -> None: ...

    def abort(self) -> None: ...


def encoded(array: pa.Array, d: Dialect) -> bytes:
    type_ = d.map_type(array.type).arrow
    batch = pa.record_batch(
        {"n": pa.array(range(len(array)), pa.int64()), "c": convert(array, type_)}
    )
    upload = Memory()
    sink = Sink(upload)
    encoder: Encoder
    match d.name:
        case "csv file":
            encoder = CsvEncoder(sink, batch.schema, CsvDialect(exact=False))
        case "json file":
            encoder = JsonEncoder(sink, batch.schema)
        case _:
            encoder = ParquetEncoder(sink, batch.schema, ParquetDialect(codec="snappy", level=None))
    encoder.write([batch])
    encoder.close()
    sink.pass_on()
    return upload.data


@given(arrays(rows=4))
def test_every_array_is_written_as_csv(array):
    data = encoded(array, dialects.CSV)
    table = pyarrow.csv.read_csv(
        io.BytesIO(data),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={"c": pa.string()}, strings_can_be_null=True, null_values=[""],
            quoted_strings_can_be_null=False,
        ),
    )  # fmt: skip
    assert table["c"].is_null().to_pylist() == array.is_null().to_pylist()


@given(arrays(rows=4))
def test_every_array_is_written_as_json(array):
    lines = encoded(array, dialects.JSON).decode().split("\n")
    assert lines.pop() == ""
    nulls = [json.loads(line)["c"] is None for line in lines]
    if array.type != types.JSON:  # a JSON text may be `null` itself
        assert nulls == array.is_null().to_pylist()


@given(arrays(rows=4))
def test_every_array_is_written_as_parquet(array):
    table = pq.read_table(io.BytesIO(encoded(array, dialects.PARQUET)))
    assert table["c"].is_null().to_pylist() == array.is_null().to_pylist()
    assert not isinstance(table.schema.field("c").type, pa.BaseExtensionType)


def test_nanoseconds_are_refused_by_versions_of_parquet_that_have_none():
    kind = dialects.PARQUET_COARSE.map_type(pa.timestamp("ns")).arrow
    assert convert(pa.array([1000], pa.timestamp("ns")), kind).to_pylist()
    with pytest.raises(pa.ArrowInvalid):
        convert(pa.array([1001], pa.timestamp("ns")), kind)


@pytest.mark.parametrize("text", ['{"a": 12345678901234567890123}', "[\n1,\r\n2]", '"x"'])
def test_json_stands_in_the_line_as_it_is(text):
    column = pa.ExtensionArray.from_storage(types.JSON, pa.array([text]))
    (line,) = encoded(column, dialects.JSON).splitlines()
    assert line == b'{"n":0,"c":' + text.replace("\n", " ").replace("\r", " ").encode() + b"}"


def test_a_text_that_is_no_json_is_a_text():
    column = pa.ExtensionArray.from_storage(types.JSON, pa.array(["{no"]))
    assert json.loads(encoded(column, dialects.JSON)) == {"n": 0, "c": "{no"}
