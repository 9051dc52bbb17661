"""Tables: keys, trees, `_cq_*` columns, and their JSON form."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from contracts import table as t
from contracts import types

KEYED = t.Table(
    "parents",
    (t.Column("id", pa.int64(), primary_key=True, nullable=False), t.Column("x", types.JSON)),
)
CHILD = t.Table(
    "children", (t.Column("name", pa.string(), description="the name"),), parent="parents"
)
GRANDCHILD = t.Table(
    "grandchildren",
    (t.Column("n", pa.int8(), incremental_key=True),),
    parent="children",
    incremental=True,
)


def test_a_table_reads_back_from_its_json():
    own = replace(t.with_cq_columns(KEYED), own_client_ids=True)
    for table in (KEYED, CHILD, GRANDCHILD, t.with_cq_columns(KEYED), own):
        assert t.from_json(t.to_json(table)) == table


@pytest.mark.parametrize(
    "document", [{}, {"columns": [{}]}, {"name": "t", "columns": [], "colour": 1}, 7]
)
def test_what_is_no_table_is_refused(document):
    with pytest.raises(ValueError, match="not a table"):
        t.from_json(document)


def test_cq_columns_come_first_and_keep_what_the_source_supplies():
    own = t.Table(
        "own", (t.Column("_cq_client_id", pa.string(), nullable=False), t.Column("a", pa.int8()))
    )
    assert [c.name for c in t.with_cq_columns(own).columns] == [
        "_cq_sync_time", "_cq_source_name", "_cq_id", "_cq_parent_id", "_cq_client_id", "a",
    ]  # fmt: skip
    assert not t.with_cq_columns(own).column("_cq_client_id").nullable


def test_the_id_is_the_key_of_a_table_without_one():
    assert t.with_cq_columns(CHILD).primary_key == ("_cq_id",)
    assert t.with_cq_columns(KEYED).primary_key == ("id",)


def test_trees_put_parents_before_children():
    assert {k: [x.name for x in v] for k, v in t.trees([GRANDCHILD, CHILD, KEYED]).items()} == {
        "parents": ["parents", "children", "grandchildren"]
    }


def test_a_child_whose_parent_is_not_there_is_a_tree_of_its_own():
    assert list(t.trees([CHILD, GRANDCHILD])) == ["children"]
