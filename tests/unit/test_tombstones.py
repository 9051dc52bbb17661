"""What a source says to be gone: what can be carried, and what is refused before any row is lost."""

from __future__ import annotations

import pyarrow as pa
import pytest

from contracts.errors import Permanent, SchemaChanged
from contracts.plugin.messages import Deleted as PluginDeleted
from contracts.plugin.messages import Group, Predicate
from contracts.table import Column, Table, with_cq_columns
from tests.fakes.loop import read
from tests.fakes.runs import local_stage
from tests.fakes.scripted import PARENT, Scripted, rows
from tests.fakes.stage import StageRun
from tests.suites.tombstones import TREE, gone, items, says
from tests.unit.test_extract import attempt, ends
from worker import extraction
from worker.sources.base import CellDone, Deleted
from worker.tombstones import tombstones

TABLES = {
    t.name: t
    for t in (
        *TREE,
        with_cq_columns(Table("odd", (Column("list", pa.list_(pa.int8())),))),
    )
}


def made(name: str, column: str, value: pa.Array, **more: object):
    return tombstones(Deleted(name, "a", [{column: value}], **more), TABLES, {"items": 3, "parts": 5})  # fmt: skip


def test_a_value_is_carried_as_text_of_the_columns_type_with_its_place():
    (found,) = made("parts", "item", pa.array([7], pa.int64()))
    assert found.model_dump() == {
        "where": {"item": {"type": "int32", "text": "7"}}, "relations": (), "before": {"parts": 5},
    }  # fmt: skip


def test_only_children_that_are_read_go_along():
    (found,) = made("items", "v", pa.array(["x"]), relations=[("parts", "items"), ("unread", "items")])  # fmt: skip
    assert found.relations == (("parts", "items"),)
    assert found.before == {"items": 3, "parts": 5}


@pytest.mark.parametrize(
    ("name", "column", "value"),
    [
        ("items", "unknown", pa.array([1])),
        ("items", "v", pa.array([None], pa.string())),
        ("items", "v", pa.array(["x", "y"])),
        ("items", "id", pa.array(["x"])),
        ("parts", "item", pa.array([2**40])),
        ("odd", "list", pa.array([[1]], pa.list_(pa.int8()))),
    ],
)
def test_what_no_row_can_be_held_against_is_refused_with_the_column(name, column, value):
    with pytest.raises(SchemaChanged, match=f"'{column}'"):
        made(name, column, value)


def test_a_deletion_of_everything_is_refused():
    with pytest.raises(Permanent, match="does not say which"):
        tombstones(Deleted("items", "a", [{}]), TABLES, {})


def test_what_cannot_be_carried_out_fails_its_cell_alone(tmp_path):
    stage = local_stage(tmp_path)

    def script(_work, _cursors):
        yield Deleted("p", "a", [{"unknown": pa.array([1])}])
        yield CellDone("p", "a")
        yield rows(PARENT, "b", [3])
        yield Deleted("p", "b", [{"k": pa.array([1])}])
        yield CellDone("p", "b")

    commit = attempt(stage, Scripted(script))
    assert ends(commit) == {("p", "a"): ("failed", "schema", 0), ("p", "b"): ("ok", None, 1)}
    assert [len(c.deletes) for c in commit.cells] == [0, 1]
    assert commit.version == 2


def test_more_deletions_than_a_commit_holds_fail_the_cell(tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "MOST", 2)

    def script(_work, _cursors):
        yield Deleted("p", "a", [{"k": pa.array([n])} for n in range(3)])
        yield CellDone("p", "a")
        yield CellDone("p", "b")

    commit = attempt(local_stage(tmp_path), Scripted(script))
    assert ends(commit)["p", "a"] == ("failed", "failed", 0)
    assert "more than 2 ways" in commit.cells[0].message


def test_files_refuse_the_load_with_a_sentence(tmp_path):
    spec = {"path": f"{tmp_path}/out", "format": "json"}
    run = StageRun(tmp_path / "stage", *TREE, spec=spec, path="cloudquery/file")
    read(run, says(items(1), gone("items", "id", 1)))
    assert "from which no row can be deleted; nothing was loaded" in run.load().error


def said(**values: object) -> tuple[Predicate, ...]:
    return tuple(Predicate(column, pa.array([value])) for column, value in values.items())


def test_a_plugins_groups_become_alternatives():
    where = (Group("and", said(a=1, b=2)), Group("or", said(c=3, d=4)))
    found = PluginDeleted("t", where).alternatives()
    assert [{c: v[0].as_py() for c, v in each.items()} for each in found] == [
        {"a": 1, "b": 2, "c": 3},
        {"a": 1, "b": 2, "d": 4},
    ]


def test_a_condition_that_no_row_can_meet_has_no_alternative_and_an_empty_one_names_no_column():
    assert PluginDeleted("t", (Group("and", (*said(a=1), *said(a=2))),)).alternatives() == []
    assert PluginDeleted("t").alternatives() == [{}]


def test_conditions_that_multiply_without_end_are_refused():
    where = tuple(Group("or", said(a=n, b=n)) for n in range(20))
    apart = tuple(replace_columns(group, n) for n, group in enumerate(where))
    with pytest.raises(Permanent, match=r"in more than 10,000 ways"):
        PluginDeleted("t", apart).alternatives()


def replace_columns(group: Group, n: int) -> Group:
    return Group("or", tuple(Predicate(f"{p.column}{n}", p.value) for p in group.predicates))
