"""Tasks of a to-do service: a source for Sharder, to be made into one's own.

A spec names it `registry: python`, `path: todo:Todo`. Clients are projects; a page of the API is a chunk.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from pydantic import BaseModel, ConfigDict, Field

from worker.sources.python.author import Chunk, Cursor, SimpleSource, table

TIMEOUT_S = 30.0
CALLS_PER_S = 10.0  # per project, over all workers


class Options(BaseModel):
    """The `spec` of the source. An unknown key is an error, with the line of the user's file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(description="Address of the API")
    token: str = Field("", description="Of the API", json_schema_extra={"secret": True})
    projects: tuple[str, ...] = Field(min_length=1, description="Ids of the projects to read")


TASKS = table(
    "todo_tasks",
    {"id": "int64", "title": "text", "due": "date", "created": "timestamptz", "labels": "json"},
    key="id",
    description="Tasks that are not done",
)
COMMENTS = table(
    "todo_comments", {"id": "int64", "task_id": "int64", "text": "text"}, key="id", parent="todo_tasks"
)  # fmt: skip
EVENTS = table(
    "todo_events",
    {"id": "int64", "kind": "text", "task_id": "int64"},
    key="id",
    cursor="id",
    description="What happened to tasks: read on from where the last run ended",
)


class Todo(SimpleSource[Options]):
    """Errors of the API end the cells of that project: 401 and 403 as denied, anything else as failed."""

    declares = (TASKS, COMMENTS, EVENTS)

    def client_ids(self, table: str) -> Sequence[str]:
        """The same projects for every table."""
        return self.options.projects

    def rows(self, table: str, client: str, cursor: str) -> Iterator[Chunk]:
        """Pages of tasks, or of events from behind the cursor on."""
        kind = table.removeprefix("todo_")
        after = cursor or "0"
        while page := self._get(client, f"/{client}/{kind}", after=after):
            yield page
            after = str(page[-1]["id"])
            if table == EVENTS.name:
                yield Cursor(after)

    def children(self, table: str, client: str, parent: Mapping[str, Any]) -> Iterator[Chunk]:
        """The comments of one task; `parent` is the task as the API gave it."""
        if parent["comments"]:
            yield self._get(client, f"/{client}/tasks/{parent['id']}/comments")

    def test(self) -> str:
        """For `sharder test-connection`: one cheap call for each project."""
        for project in self.options.projects:
            self._get(project, f"/{project}")
        return f"{len(self.options.projects)} projects answer"

    def _get(self, client: str, path: str, **query: str) -> Any:
        self.pace(client, per_s=CALLS_PER_S)
        url = self.options.url.rstrip("/") + path + (f"?{urlencode(query)}" if query else "")
        request = Request(url, headers={"Authorization": f"Bearer {self.options.token}"})
        with urlopen(request, timeout=TIMEOUT_S) as answer:
            return json.load(answer)
