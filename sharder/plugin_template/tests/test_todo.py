"""The contract of every source, and what is this one's own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import pytest
from conftest import TASKS, Api
from todo import Todo

from worker.sources.suite import SourceSuite, context, frozen, read


@pytest.fixture
def source(api: Api) -> Iterator[Todo]:
    todo = Todo({"url": api.url, "projects": ["home", "work"]}, context())
    yield todo
    todo.close()


class TestContract(SourceSuite):
    """What Sharder relies on, in fourteen tests."""

    @pytest.fixture
    def source(self, source: Todo) -> Todo:
        return source


def test_values_arrive_with_their_types(source: Todo) -> None:
    tasks, *_ = tree = frozen(source)["todo_tasks"]
    rows = read(source, tree, ["home"]).table(tasks).to_pylist()
    assert len(rows) == TASKS
    assert rows[0]["due"] == date(2026, 2, 1)
    assert rows[0]["labels"] == '["a"]'


def test_events_are_read_on_from_the_cursor(source: Todo, api: Api) -> None:
    (events,) = tree = frozen(source)["todo_events"]
    first = read(source, tree, ["home"])
    api.events += 3
    second = read(source, tree, ["home"], cursors=first.cursors)
    assert second.table(events)["id"].to_pylist() == [16, 17, 18]


def test_a_project_that_may_not_be_read_is_denied_and_the_others_are_read(source: Todo, api: Api) -> None:  # fmt: skip
    api.refused.add("home")
    reading = read(source, frozen(source)["todo_tasks"], ["home", "work"])
    assert {e.client: e.reason for e in reading.ends if e.table == "todo_tasks"} == {
        "home": "denied",
        "work": None,
    }
