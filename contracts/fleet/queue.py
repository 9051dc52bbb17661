"""The watcher's side of the fleet: messages out through kombu, everything else read from Redis.

Messages are Celery's (its documented message protocol 2), written without Celery: building one with
`Celery.send_task` costs many times the CPU (docs/design/queue.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from contracts.fleet.broker import asking, connect
from contracts.fleet.names import LOADS, SHARDS, TASK, QueueName, beat_key, presence_key
from contracts.fleet.transport import connection
from contracts.queue import Message

_BATCH = 1000
# What Celery adds around the arguments: no callbacks, no chain, no chord.
_EMBED: Mapping[str, None] = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


class CeleryQueue:
    """`contracts.queue.Queue` over Redis; one thread at a time."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._redis = connect(url)
        self._producer: Any = None

    def put(self, messages: Sequence[Message]) -> None:
        """After Unreachable some of the messages may be queued: a second put is only a second hint."""
        try:
            with asking(self._url):
                producer = self._open_producer()
                with producer.batch(_BATCH):
                    for message in messages:
                        _publish(producer, message)
        except BaseException:
            self._drop_producer()
            raise

    def _open_producer(self) -> Any:
        if self._producer is None:
            self._producer = connection(self._url).Producer(serializer="json")
        return self._producer

    def _drop_producer(self) -> None:
        if self._producer is not None:
            producer, self._producer = self._producer, None
            producer.connection.collect(socket_timeout=1)

    def waiting(self) -> int:
        with asking(self._url):
            return sum(int(self._redis.llen(queue)) for queue in (SHARDS, LOADS))

    def beats(self, run: str, jobs: Sequence[str]) -> Mapping[str, str]:
        if not jobs:
            return {}
        with asking(self._url):
            values = self._redis.mget([beat_key(run, job) for job in jobs])
        return {job: str(value) for job, value in zip(jobs, values, strict=True) if value}

    def workers(self) -> int:
        with asking(self._url):
            # The key space is small: queues are one key each, whatever their length.
            keys = list(self._redis.scan_iter(presence_key(SHARDS, "*"), count=1000))
            return sum(int(n or 0) for n in self._redis.mget(keys)) if keys else 0

    def close(self) -> None:
        self._drop_producer()
        self._redis.close()


def _publish(producer: Any, message: Message) -> None:
    task_id = str(uuid4())
    queue: QueueName = SHARDS if message.kind == "shard" else LOADS
    producer.publish(
        ((message.to_bytes().decode(),), {}, _EMBED),
        exchange="",  # straight to the queue of this name
        routing_key=queue,
        correlation_id=task_id,
        headers={
            "lang": "py",
            "task": TASK,
            "id": task_id,
            "root_id": task_id,
            "parent_id": None,
            "group": None,
        },
    )
