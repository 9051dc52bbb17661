"""What a plugin asks to delete, as alternatives."""

from __future__ import annotations

import pyarrow as pa
import pytest

from contracts.errors import Permanent
from contracts.plugin.messages import Deleted, Group, Predicate, Relation
from worker.sources.plugin.gone import gone


def is_(column, value):
    return Predicate(column, pa.array([value]))


def where(*groups):
    found = gone(Deleted("things", groups, (Relation("parts", "things"),)), "acme")
    assert (found.table, found.client, found.relations) == (
        "things",
        "acme",
        (("parts", "things"),),
    )
    return [{column: value[0].as_py() for column, value in each.items()} for each in found.where]


def test_predicates_that_must_all_hold_are_one_alternative():
    assert where(Group("and", (is_("a", 1), is_("b", 2)))) == [{"a": 1, "b": 2}]


def test_predicates_of_which_any_may_hold_are_an_alternative_each():
    assert where(Group("or", (is_("a", 1), is_("a", 2)))) == [{"a": 1}, {"a": 2}]


def test_groups_hold_together():
    both = where(Group("or", (is_("a", 1), is_("b", 2))), Group("and", (is_("c", 3),)))
    assert both == [{"a": 1, "c": 3}, {"b": 2, "c": 3}]


def test_a_column_with_two_values_at_once_is_no_row():
    assert where(Group("and", (is_("a", 1), is_("a", 2)))) == []
    assert where(Group("and", (is_("a", 1), is_("a", 1)))) == [{"a": 1}]


@pytest.mark.parametrize("groups", [(), (Group("and", ()),)])
def test_a_message_that_names_no_row_does_not_empty_the_table(groups):
    with pytest.raises(Permanent, match="without saying which rows"):
        where(*groups)


def test_a_message_that_multiplies_beyond_measure_is_refused():
    many = Group("or", tuple(is_("a", n) for n in range(101)))
    with pytest.raises(Permanent, match="1,030,301 ways"):
        where(many, many, many)
