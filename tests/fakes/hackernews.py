"""A local Hacker News: deterministic items over HTTP/1.1 with connections that stay open.

python -m tests.fakes.hackernews --port 8099 --items 50000
"""

from __future__ import annotations

import argparse
import socketserver
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Self

import orjson

SPACING_S = 1.7  # 50,000 items span less than a day


@dataclass
class Failure:
    """What the next `left` requests for an item get instead of it; status 0 breaks the connection."""

    status: int
    left: int
    retry_after_s: int | None = None
    body: bytes = b"null"


@dataclass
class Forum:
    """The items. `newest` is the time of the last one (seconds since the epoch) when it began."""

    count: int
    newest: int
    spacing_s: float = SPACING_S
    missing_every: int = 97
    seen: Counter[int] = field(default_factory=Counter)
    maxitem_seen: int = 0
    failures: dict[int, Failure] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._epoch = self.newest - self.count * self.spacing_s

    def grow(self, more: int) -> None:
        self.count += more

    def time_of(self, number: int) -> int:
        return int(self._epoch + number * self.spacing_s)

    def exists(self, number: int) -> bool:
        return 1 <= number <= self.count and number % self.missing_every != 0

    def item(self, number: int) -> dict[str, Any] | None:
        if not self.exists(number):
            return None
        item: dict[str, Any] = {
            "id": number,
            "time": self.time_of(number),
            "by": f"user{number % 311}",
        }
        if number % 53 == 0:
            return {"id": number, "time": item["time"], "deleted": True, "type": "comment"}
        if number % 7 == 0:
            return item | {
                "type": "story",
                "title": f"Story № {number}: “quotes”, commas, żółć 🦆",
                "url": f"https://example.com/{number}",
                "score": number % 500,
                "descendants": number % 9,
                "kids": [number + 1, number + 2],
            }
        if number % 1009 == 0:
            return item | {
                "type": "poll",
                "title": "Poll",
                "parts": [number + 3],
                "score": 1,
                "text": "",
            }
        text = f'line one\nline two of {number}, with "quotes" &amp; <p>markup'
        return item | {
            "type": "comment",
            "parent": max(1, number - 1),
            "text": text,
            "dead": number % 101 == 0,
        }


class _Connection(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        while line := self.rfile.readline():
            while self.rfile.readline().strip():
                continue
            if not self._answer(line.split()[1].decode()):
                return

    def _answer(self, path: str) -> bool:
        forum = self.server.forum
        if path.endswith("/maxitem.json"):
            forum.maxitem_seen += 1
            return self._send(200, orjson.dumps(forum.count))
        number = int(path.rsplit("/", 1)[-1].removesuffix(".json"))
        with forum.lock:
            forum.seen[number] += 1
            failure = forum.failures.get(number)
            if failure and failure.left:
                failure.left -= 1
                if not failure.status:
                    return False
                return self._send(failure.status, failure.body, failure.retry_after_s)
        return self._send(200, orjson.dumps(forum.item(number)))

    def _send(self, status: int, body: bytes, retry_after_s: int | None = None) -> bool:
        retry = f"Retry-After: {retry_after_s}\r\n" if retry_after_s is not None else ""
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{retry}Content-Length: {len(body)}\r\n\r\n"
        self.wfile.write(head.encode() + body)
        return True


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def __init__(self, forum: Forum, port: int) -> None:
        self.forum = forum
        super().__init__(("127.0.0.1", port), _Connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class FakeHackerNews:
    """The server in a thread: `with FakeHackerNews(Forum(100, newest)) as hn: hn.url`."""

    def __init__(self, forum: Forum, port: int = 0) -> None:
        self.forum = forum
        self._server = _Server(forum, port)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v0"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--newest", type=int, default=0, help="time of the last item; default: now")
    given = parser.parse_args()
    with FakeHackerNews(Forum(given.items, given.newest or int(time.time())), given.port) as server:
        print(server.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
