"""Two hooks in Celery's parent process: who is there, and beats that end with their process."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path
from typing import Any

import redis
from celery import bootsteps
from celery.worker.request import Request

from contracts.errors import InputError
from contracts.fleet.broker import connect
from contracts.fleet.heart import RedisHeart
from contracts.fleet.names import PRESENCE_EVERY_S, PRESENCE_EXPIRY_S, QueueName, presence_key
from contracts.queue import Message

log = logging.getLogger(__name__)


class ReturnedRequest(Request):
    """A message that goes back to the queue leaves no heartbeat behind.

    The next worker would else think that the attempt is still alive, and drop the message.
    """

    def cancel(self, pool: Any, *args: Any, **options: Any) -> None:
        """Its process is told to end: the whole worker does."""
        super().cancel(pool, *args, **options)
        self._forget_beat()

    def reject(self, requeue: bool = False) -> None:
        if requeue:  # its process died
            self._forget_beat()
        super().reject(requeue=requeue)

    def _forget_beat(self) -> None:
        try:
            message = Message.from_bytes(self.args[0])
        except (InputError, IndexError, TypeError):
            return  # not one of ours: it has no heartbeat
        heart = RedisHeart(self.app.conf.broker_url)
        heart.forget(message.run, message.job)
        heart.close()


def presence(url: str, queue: QueueName, alive: Path | None) -> type[Any]:
    """A step of the consumer: a key with expiry, renewed by the loop that consumes.

    A thread would go on although the loop hangs; this does not, and neither does the file's age.
    """

    class Presence(bootsteps.StartStopStep):
        requires = ("celery.worker.consumer.connection:Connection",)

        def __init__(self, consumer: Any, **options: Any) -> None:
            self._redis = connect(url)
            self._key = presence_key(queue, f"{socket.gethostname()}:{os.getpid()}")
            self._timer: Any = None
            super().__init__(consumer, **options)

        def start(self, consumer: Any) -> None:
            self._say(consumer)
            self._timer = consumer.timer.call_repeatedly(
                PRESENCE_EVERY_S, self._say, (consumer,), priority=10
            )

        def stop(self, consumer: Any) -> None:
            del consumer
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def shutdown(self, consumer: Any) -> None:
            self.stop(consumer)
            try:
                self._redis.delete(self._key)
            except redis.RedisError as error:
                log.debug("event=presence_left error=%s", error)  # it expires

        def _say(self, consumer: Any) -> None:
            if alive is not None:
                alive.touch()
            try:
                self._redis.set(self._key, consumer.pool.num_processes, ex=PRESENCE_EXPIRY_S)
            except redis.RedisError as error:
                log.warning("event=presence_lost error=%s", error)

    return Presence
