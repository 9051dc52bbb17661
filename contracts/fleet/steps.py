"""Hooks in Celery's parent process: who is there and consumes, and beats that end with their process."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path
from typing import Any

import redis
from celery import bootsteps
from celery.worker import state
from celery.worker.request import Request

from contracts import memory
from contracts.errors import InputError
from contracts.fleet.appetite import Appetite
from contracts.fleet.broker import connect
from contracts.fleet.heart import RedisHeart
from contracts.fleet.names import (
    PRESENCE_EVERY_S,
    PRESENCE_EXPIRY_S,
    QueueName,
    presence_key,
    release,
)
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

    def on_failure(self, exc_info: Any, *args: Any, **options: Any) -> Any:
        """A process that something else has killed can say nothing for itself."""
        message = self._ours()
        if message and "signal 9" in str(exc_info.exception):
            log.error(
                "event=process_killed run=%s job=%r error='by the system, probably for lack of memory' "
                "killed_in_this_container=%d",
                message.run,
                message.job,
                memory.oom_kills(),
            )
        return super().on_failure(exc_info, *args, **options)

    def reject(self, requeue: bool = False) -> None:
        if requeue:  # its process died
            self._forget_beat()
        super().reject(requeue=requeue)

    def _ours(self) -> Message | None:
        try:
            return Message.from_bytes(self.args[0])
        except (InputError, IndexError, TypeError):
            return None

    def _forget_beat(self) -> None:
        message = self._ours()
        if message is None:
            return  # not one of ours: it has no heartbeat
        heart = RedisHeart(self.app.conf.broker_url)
        heart.forget(message.run, message.job)
        heart.close()


def presence(
    url: str,
    queue: QueueName,
    alive: Path | None,
    *,
    appetite: Appetite,
    every_s: float = PRESENCE_EVERY_S,
) -> type[Any]:
    """A step of the consumer: a key with expiry, renewed by the loop that consumes.

    A thread would go on although the loop hangs; this does not, and neither does the file's age. Both
    are left alone, too, by a loop that runs and takes no messages.
    """

    class Presence(bootsteps.StartStopStep):
        requires = ("celery.worker.consumer.connection:Connection",)

        def __init__(self, consumer: Any, **options: Any) -> None:
            self._redis = connect(url)
            self._key = presence_key(queue, f"{socket.gethostname()}:{os.getpid()}:{release()}")
            self._timer: Any = None
            super().__init__(consumer, **options)

        def start(self, consumer: Any) -> None:
            self._say(consumer)
            self._timer = consumer.timer.call_repeatedly(
                every_s, self._say, (consumer,), priority=10
            )

        def stop(self, consumer: Any) -> None:
            del consumer
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def shutdown(self, consumer: Any) -> None:
            self.stop(consumer)
            self._leave()

        def _leave(self) -> None:
            try:
                self._redis.delete(self._key)
            except redis.RedisError as error:
                log.debug("event=presence_left error=%s", error)  # it expires

        def _waiting(self) -> int:
            """A broker that does not answer has nothing to take from."""
            try:
                return int(self._redis.llen(queue))
            except redis.RedisError:
                return 0

        def _say(self, consumer: Any) -> None:
            at_work = state.reserved_requests | state.active_requests
            found = appetite.look(
                taken=state.all_total_count[0],
                busy=len(at_work) >= consumer.pool.num_processes,
                waiting=self._waiting(),
            )
            if found != "fine":
                log.error("event=not_consuming queue=%s state=%s", queue, found)
            if found == "dead":
                self._leave()
                return
            if found == "restless":
                # What a timer raises of these ends the loop, and Celery connects anew. Seen: a broker that is
                # killed when a message is acknowledged leaves a consumer that never asks again.
                raise redis.ConnectionError("nothing was taken from a queue that is not empty")
            if alive is not None:
                alive.touch()
            try:
                self._redis.set(self._key, consumer.pool.num_processes, ex=PRESENCE_EXPIRY_S)
            except redis.RedisError as error:
                log.warning("event=presence_lost error=%s", error)

    return Presence
