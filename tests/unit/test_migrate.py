"""`diff`: what is changed in place, what is refused, what a forced migration keeps."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.migrate import (
    AddColumn,
    CreateTable,
    DropNotNull,
    Migration,
    Rebuild,
    Refused,
    WidenType,
    diff,
)
from loader.shape import PhysicalColumn, PhysicalTable
from loader.warehouses.duckdb_types import holds


def shape(*columns: str, key: tuple[str, ...] = ()) -> PhysicalTable:
    """Columns as `name TYPE` or `name TYPE!` (not null)."""
    parsed = []
    for column in columns:
        name, type_ = column.rstrip("!").split(" ")
        parsed.append(PhysicalColumn(name, type_, not column.endswith("!")))
    return PhysicalTable("t", tuple(parsed), key)


def changes(existing: PhysicalTable | None, wanted: PhysicalTable, mode="safe") -> Migration:
    return diff(existing, wanted, mode, holds)


KEYED = shape("id BIGINT!", "v VARCHAR", key=("id",))


def test_a_missing_table_is_created():
    assert changes(None, KEYED) == Migration((CreateTable(KEYED),))


def test_a_table_that_is_as_wanted_stays_as_it_is():
    assert changes(KEYED, KEYED) == Migration()


def test_a_column_that_widens_may_be_null_as_well():
    old = shape("id BIGINT!", "v INTEGER!", key=("id",))
    wanted = shape("id BIGINT!", "v BIGINT", key=("id",))
    assert changes(old, wanted).now == (WidenType(old, "v", "BIGINT"), DropNotNull(old, "v"))


def test_a_new_column_is_added():
    wanted = shape("id BIGINT!", "v VARCHAR", "w BIGINT", key=("id",))
    assert changes(KEYED, wanted).now == (AddColumn(KEYED, PhysicalColumn("w", "BIGINT")),)


def test_a_new_column_that_may_not_be_null_is_added_as_one_that_may():
    wanted = shape("id BIGINT!", "v VARCHAR", "w BIGINT!", key=("id",))
    assert changes(KEYED, wanted).now == (AddColumn(KEYED, PhysicalColumn("w", "BIGINT")),)


def test_a_type_widens():
    old = shape("id BIGINT!", "v INTEGER", key=("id",))
    new = shape("id BIGINT!", "v BIGINT", key=("id",))
    assert changes(old, new).now == (WidenType(old, "v", "BIGINT"),)
    assert changes(new, old) == Migration()


def test_a_constraint_is_dropped_when_the_source_has_none_any_more():
    old = shape("id BIGINT!", "v VARCHAR!", key=("id",))
    assert changes(old, KEYED).now == (DropNotNull(old, "v"),)


def test_a_removed_column_stays_and_may_be_null():
    old = shape("id BIGINT!", "v VARCHAR", "gone VARCHAR!", "too VARCHAR", key=("id",))
    assert changes(old, KEYED).now == (DropNotNull(old, "gone"),)


def test_safe_mode_refuses_with_the_whole_list_and_what_to_do():
    old = shape("a BIGINT!", "v BIGINT", "u UUID", key=("a",))
    new = shape("id BIGINT!", "v VARCHAR", "u BIGINT", key=("id",))
    with pytest.raises(Refused) as refused:
        changes(old, new)
    text = str(refused.value)
    for fact in ("'id'", "'v' is BIGINT and must become VARCHAR", "'u'", "(a) must become (id)"):
        assert fact in text
    assert "migrate_mode: forced" in refused.value.hint


def test_an_appended_table_is_not_given_a_key_silently():
    with pytest.raises(Refused, match=r"none \(append\) must become \(id\)"):
        changes(replace(KEYED, key=()), KEYED)


def test_a_key_that_moves_to_cq_id_is_rebuilt_in_safe_mode():
    old = shape("_cq_id UUID!", "id BIGINT!", key=("id",))
    new = shape("_cq_id UUID!", "id BIGINT!", key=("_cq_id",))
    assert changes(old, new) == Migration((), Rebuild(old, new, ("_cq_id", "id")))


def test_a_forced_migration_keeps_wider_types_and_extra_columns():
    old = shape("id BIGINT!", "v BIGINT", "n BIGINT", "gone VARCHAR!", key=("id",))
    new = shape("id BIGINT!", "v VARCHAR", "n INTEGER", key=("id",))
    rebuild = changes(old, new, "forced").rebuild
    assert rebuild is not None
    assert rebuild.new == shape("id BIGINT!", "v VARCHAR", "n BIGINT", "gone VARCHAR", key=("id",))
    assert rebuild.carried == ("id", "n", "gone")


def test_a_forced_migration_without_the_values_of_the_new_key_carries_nothing():
    old = shape("a VARCHAR!", key=("a",))
    rebuild = changes(old, KEYED, "forced").rebuild
    assert rebuild is not None
    assert rebuild.carried == ()


def test_an_incompatible_key_column_is_not_widened_in_place():
    old = shape("id INTEGER!", "v VARCHAR", key=("id",))
    with pytest.raises(Refused, match="'id' is INTEGER and must become BIGINT"):
        changes(old, KEYED)
    rebuild = changes(old, KEYED, "forced").rebuild
    assert rebuild is not None
    assert rebuild.carried == ("id", "v")


_NAMES = st.sampled_from("abcd")
_TYPES = st.sampled_from(["BIGINT", "INTEGER", "VARCHAR", "DOUBLE", "DATE", "TIMESTAMP"])


@st.composite
def shapes(draw: st.DrawFn) -> PhysicalTable:
    names = draw(st.lists(_NAMES, unique=True, min_size=1))
    key = tuple(draw(st.lists(st.sampled_from(names), unique=True, max_size=2)))
    columns = tuple(
        PhysicalColumn(n, draw(_TYPES), n not in key and draw(st.booleans())) for n in names
    )
    return PhysicalTable("t", columns, tuple(n for n in names if n in key))


@given(shapes(), shapes())
def test_after_a_migration_the_table_can_take_the_wanted_rows(old, wanted):
    migration = changes(old, wanted, "forced")
    after = migration.rebuild.new if migration.rebuild else applied(old, migration)
    for column in wanted.columns:
        assert holds(after.column(column.name).type, column.type)
    assert all(c.nullable for c in after.columns if c.name not in wanted)
    assert set(after.key) == set(wanted.key)
    assert changes(after, wanted) == Migration() or not after.key


def applied(old: PhysicalTable, migration: Migration) -> PhysicalTable:
    columns = {c.name: c for c in old.columns}
    for change in migration.now:
        match change:
            case AddColumn(_, column):
                columns[column.name] = column
            case WidenType(_, name, type_):
                columns[name] = replace(columns[name], type=type_)
            case DropNotNull(_, name):
                columns[name] = replace(columns[name], nullable=True)
    return replace(old, columns=tuple(columns.values()))


@pytest.mark.parametrize("mode", ["safe", "forced"])
def test_a_frozen_table_that_fits_is_left_alone(mode):
    assert diff(KEYED, KEYED, mode, holds, frozen=True) == Migration()


@pytest.mark.parametrize("mode", ["safe", "forced"])
def test_a_frozen_table_is_refused_with_all_that_it_would_need(mode):
    old = shape("id INTEGER!", "v INTEGER", "gone DATE!", "n DOUBLE!", key=("id",))
    wanted = shape("id VARCHAR!", "v BIGINT", "w DATE", "n DOUBLE", key=("id", "w"))
    with pytest.raises(Refused) as refused:
        diff(old, wanted, mode, holds, frozen=True)
    for needed in (
        "widen column 'v' to BIGINT",
        "let column 'gone' be null",
        "let column 'n' be null",
        "column 'id' is INTEGER and must become VARCHAR",
        "column 'w' (DATE) must be added to the key",
        "key: (id) must become (id, w)",
    ):
        assert needed in refused.value.message
    assert "sharder migrate" in refused.value.hint


def test_a_frozen_table_that_is_missing_is_refused_with_its_columns():
    with pytest.raises(
        Refused, match=r"create the table \(id BIGINT, v VARCHAR\), key: \(id\)"
    ) as refused:
        diff(None, KEYED, "safe", holds, frozen=True)
    assert "table 't' does not fit" in refused.value.message


def test_a_frozen_table_whose_key_would_move_to_the_id_is_refused():
    old = shape("_cq_id UUID!", "id BIGINT!", key=("id",))
    wanted = shape("_cq_id UUID!", "id BIGINT", key=("_cq_id",))
    with pytest.raises(Refused, match=r"key: \(id\) must become \(_cq_id\)"):
        diff(old, wanted, "safe", holds, frozen=True)
