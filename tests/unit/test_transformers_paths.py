"""Paths into JSON, and the tree of what is kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.transformers.paths import (
    EACH,
    GONE,
    dumps,
    edit,
    loads,
    only,
    split,
    swept,
    texts,
    tree,
)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("tags", ["tags"]),
        ("tags.a.0", ["tags", "a", "0"]),
        ("tags.#.name", ["tags", EACH, "name"]),
        (r"tags.kubernetes\.io\/last", ["tags", "kubernetes.io/last"]),
        (r"tags.\#", ["tags", "#"]),
        ("a\\", ["a\\"]),
    ],
)
def test_dots_part_steps_unless_they_are_escaped(text, steps):
    assert split(text) == steps


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b"])
def test_a_path_has_no_empty_step(text):
    with pytest.raises(ValueError, match="empty step"):
        split(text)


def test_what_is_not_there_stays_away():
    assert edit({"a": {"b": 1}}, ("a", "x", "y"), lambda _: "!") == {"a": {"b": 1}}
    assert edit([1], ("1",), lambda _: "!") == [1]
    assert edit("text", ("a",), lambda _: "!") == "text"


def test_each_element_is_changed_on_its_own():
    value = {"a": [{"b": 1}, {"c": 2}, {"b": 3}]}
    found = edit(value, ("a", EACH, "b"), lambda v: v * 10)
    assert found == {"a": [{"b": 10}, {"c": 2}, {"b": 30}]}


def test_two_removals_from_a_list_do_not_move_each_other():
    value = [0, 1, 2, 3]
    for i in ("0", "1", "3"):
        edit(value, (i,), lambda _: GONE)
    assert swept(value) == [2]


def test_texts_change_and_keys_stay():
    assert texts({"k": ["a", 1, None, {"x": "b"}]}, str.upper) == {"k": ["A", 1, None, {"x": "B"}]}


def test_of_a_value_only_what_is_kept_is_left():
    value = {"a": {"b": 1, "c": 2}, "list": [{"x": 1, "y": 2}, {"y": 3}], "z": 1}
    kept = tree([("a", "b"), ("list", EACH, "x")])
    assert only(value, kept, lambda _: GONE) == {"a": {"b": 1}, "list": [{"x": 1}, {}]}


def test_a_shorter_path_keeps_everything_below_it():
    value = {"a": {"b": 1, "c": 2}}
    for paths in ([("a",), ("a", "b")], [("a", "b"), ("a",)], [()]):
        assert only(value, tree(paths), lambda _: GONE) == value


def test_a_path_that_goes_deeper_than_the_value_keeps_nothing():
    assert only({"a": 1}, tree([("a", "b")]), lambda _: GONE) == {}


def test_one_element_of_a_list_can_be_kept():
    assert only(["x", "y"], tree([("1",)]), lambda _: GONE) == ["y"]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(_JSON)
def test_json_is_read_and_written_without_a_change(value):
    assert loads(dumps(value).encode()) == value


@given(_JSON)
def test_everything_kept_is_everything(value):
    assert only(value, tree([()]), lambda _: GONE) == value
