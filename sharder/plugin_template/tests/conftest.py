"""The API that the tests ask: a small server of its own, on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

PAGE = 10
TASKS = 25


class Api(ThreadingHTTPServer):
    """Two projects, `home` and `work`; whoever is in `refused` gets a 403. `events` may grow."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.refused: set[str] = set()
        self.events = 15

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, path: str, after: int) -> Any:
        """What stands below a path; None if there is no such thing."""
        match path.strip("/").split("/"):
            case ["home" | "work" as project]:
                return {"id": project}
            case ["home" | "work", "tasks"]:
                return [_task(n) for n in range(after + 1, TASKS + 1)][:PAGE]
            case ["home" | "work", "tasks", task, "comments"]:
                return [
                    {"id": int(task) * 10 + n, "task_id": int(task), "text": "…"} for n in (0, 1)
                ]
            case ["home" | "work", "events"]:
                ids = range(after + 1, self.events + 1)
                return [{"id": n, "kind": "created", "task_id": n} for n in ids][:PAGE]
            case _:
                return None


def _task(n: int) -> dict[str, Any]:
    created, due = f"2026-01-01T00:00:{n:02}Z", "2026-02-01" if n % 2 else None
    return {"id": n, "title": f"task {n}", "due": due, "created": created, "labels": ["a"], "comments": n % 3}  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    server: Api

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        after = int(parse_qs(url.query).get("after", ["0"])[0])
        found = self.server.answer(url.path, after)
        refused = url.path.split("/")[1] in self.server.refused
        self.send_response(403 if refused else 404 if found is None else 200)
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
