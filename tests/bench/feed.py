"""Shards fed to a real Redis through the window, while a consumer takes them: rate and the broker's memory."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

from contracts.fleet import CeleryQueue
from contracts.layout import parse_shard_id
from sharder.flight import FLEET
from sharder.watch import Send, Seen, Watch
from tests.bench.pairs import Figure, Result
from tests.bench.scale import Scale
from tests.fakes.plans import plan
from tests.fakes.servers import Redis


class Consumer(threading.Thread):
    """Workers without work: messages leave the queue and their shards are committed."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        self.done: list[int] = []
        self.over = threading.Event()

    def run(self) -> None:
        import redis

        with redis.from_url(self._url) as client:
            while not self.over.is_set():
                taken = client.brpop(["shards"], timeout=0.2)
                batch = [taken[1]] if taken else []
                batch += client.rpop("shards", 500) or []
                self.done += [number_of(message) for message in batch]


def number_of(message: bytes) -> int:
    import base64

    body = json.loads(base64.b64decode(json.loads(message)["body"]))
    return parse_shard_id(json.loads(body[0][0])["shard"])[1]


def feed(url: str, shards: int) -> dict[str, Any]:
    """Seconds, CPU seconds of the watcher's thread, the most messages that waited, the broker's peak memory."""
    import redis

    queue, watch, consumer = CeleryQueue(url), Watch(plan(shards), FLEET), Consumer(url)
    client = redis.from_url(url)
    before = client.info("memory")["used_memory"]
    consumer.start()
    start, cpu, most, memory, seen = time.perf_counter(), time.thread_time(), 0, 0, 0
    while watch.committed < shards:
        waiting = queue.waiting()
        beats = queue.beats("r", watch.wants().beats)
        most = max(most, waiting)
        commits = consumer.done[seen:]
        seen += len(commits)
        for action in watch.tick(Seen(time.monotonic(), commits, waiting=waiting, beats=beats)):
            if isinstance(action, Send) and action.messages[0].kind == "shard":
                queue.put(action.messages)
                memory = max(memory, client.info("memory")["used_memory"])
    took = time.perf_counter() - start
    found = {
        "seconds": took,
        "cpu": time.thread_time() - cpu,
        "most": most,
        "mb": (memory - before) / 1e6,
    }
    consumer.over.set()
    consumer.join()
    queue.close()
    client.close()
    return found


def bench(scale: Scale) -> Iterator[Result]:
    with Redis() as server:
        small = feed(server.url, max(1, scale.fed // 10))
        large = feed(server.url, scale.fed)
    detail = f"{scale.fed / large['seconds']:,.0f} shards/s, {large['cpu'] / scale.fed * 1e6:.0f} µs CPU of the watcher per shard"
    yield Figure(f"feed {scale.fed:,} shards to Redis", large["seconds"], "s", 120, detail=detail)
    yield Figure(f"feed {scale.fed:,} shards: memory of the broker", large["mb"], "MB", 16,
                 f"{small['mb']:.2f} MB for a tenth", f"at most {large['most']:,} messages waited; the window is {FLEET.window:,}")  # fmt: skip
