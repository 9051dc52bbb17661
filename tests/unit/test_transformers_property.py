"""For any table and any rows the schema side and the batch side of every transformation agree."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InputError, Permanent
from contracts.stagefile.text import is_json, to_text
from contracts.table import Column, Table
from loader.transformers.base import Transformer
from loader.transformers.basic.options import KINDS
from loader.transformers.chain import Chain
from tests.fakes.arrays import arrays, flat_types, same
from tests.fakes.transforms import AT, basic, flattener

_NAMES = ("a", "b", "_cq_id", "j.x", "new")
_columns = st.lists(st.sampled_from(_NAMES), min_size=1, max_size=3)


@st.composite
def tables(draw: Any) -> tuple[Table, pa.RecordBatch]:
    """A table of any types, and rows of it."""
    size = draw(st.integers(0, 4))
    names = draw(st.lists(st.sampled_from(_NAMES[:4]), min_size=1, max_size=4, unique=True))
    found = [draw(arrays(rows=size)) for _ in names]
    columns = tuple(
        Column(
            name, array.type, primary_key=draw(st.booleans()), sensitive=draw(st.booleans()),
            type_schema=draw(st.sampled_from(["", json.dumps({"x": "utf8", "y": "int64"})])),
        )
        for name, array in zip(names, found, strict=True)
    )  # fmt: skip
    table = Table(draw(st.sampled_from(["t", "u"])), columns)
    return table, pa.RecordBatch.from_arrays(found, schema=table.schema)


@st.composite
def transformations(draw: Any) -> dict[str, Any]:
    kind = draw(st.sampled_from(list(KINDS)))
    needs = KINDS[kind]
    fields = {
        "columns": _columns,
        "name": st.sampled_from(_NAMES),
        "value": st.sampled_from(["a", "new", "1", "true", "{}", "2026-01-01"]),
        "include_sha": st.booleans(),
        "unmatched": st.sampled_from(["drop", "collapse", "redact"]),
        "new_table_name_template": st.sampled_from(["x_{{.OldName}}", "fixed"]),
    }
    chosen = {f: draw(fields[f]) for f in needs.required}
    chosen |= {f: draw(fields[f]) for f in needs.optional if draw(st.booleans())}
    return {"kind": kind, "tables": draw(st.sampled_from([["*"], ["t"], ["x_*"]])), **chosen}


def transformers() -> st.SearchStrategy[Transformer]:
    basics = st.lists(transformations(), min_size=1, max_size=4).map(lambda ts: basic(*ts))
    return st.one_of(basics, st.just(flattener()))


@given(tables(), st.lists(transformers(), min_size=1, max_size=2))
def test_a_batch_always_has_the_schema_that_the_table_promises(given_, chosen):
    table, rows = given_
    chain = Chain(tuple(chosen))
    try:
        shown = chain.show(table, AT)
    except InputError:
        return  # refused by the schema alone, before any row is read
    assert shown.table.name == chain.name(table.name)
    if shown.batch is None:
        assert shown.table.schema.equals(table.schema)
        return
    # A null in a key is the one thing that only rows can tell.
    with suppress(Permanent):
        found = shown.batch(rows)
        found.validate(full=True)
        assert found.schema.equals(shown.table.schema)
        assert shown.filters or found.num_rows == rows.num_rows
        assert found.num_rows <= rows.num_rows


@given(arrays(flat_types))
def test_every_single_value_can_be_named_to_drop_its_rows(array):
    table = Table("t", (Column("c", array.type),))
    rows = pa.RecordBatch.from_arrays([array], schema=table.schema)
    for i, text in enumerate(to_text(array).to_pylist()):
        if is_json(array.type):
            continue
        kind = {"kind": "drop_rows", "columns": ["c"]}
        shown = basic(kind if text is None else {**kind, "value": text}).show(table, AT)
        left = shown.batch(rows).column(0)
        nan = "nan" in (text or "")  # it equals nothing, itself included
        assert nan or not any(same(left.slice(n, 1), array.slice(i, 1)) for n in range(len(left)))


@given(tables(), transformers())
def test_the_same_rows_are_shown_in_the_same_way_however_they_are_cut(given_, transformer):
    table, rows = given_
    try:
        shown = transformer.show(table, AT)
        whole = shown.batch(rows) if shown.batch else rows
        pieces = [rows.slice(i, 1) for i in range(rows.num_rows)]
        apart = [shown.batch(p) if shown.batch else p for p in pieces]
    except Permanent:
        return
    rest = iter(range(whole.num_rows))
    for piece in (p for p in apart if p.num_rows):
        i = next(rest)
        for one, other in zip(whole.columns, piece.columns, strict=True):
            assert same(one.slice(i, 1), other)
    assert next(rest, None) is None
