"""How a worker takes messages from Redis: what is no message of ours is dropped, as if nothing had come."""

from __future__ import annotations

import logging
from typing import Any

import redis
from kombu.transport.redis import Channel, Transport

from contracts.fleet.envelope import flaw
from contracts.fleet.full import PatientQoS

log = logging.getLogger(__name__)


class Taker(redis.Redis):
    """A client that answers a blocking pop with messages of ours, or with nothing."""

    def parse_response(self, connection: Any, command_name: Any, **options: Any) -> Any:
        parse: Any = super().parse_response  # redis-py and kombu have no types for these
        found = parse(connection, command_name, **options)
        if command_name != "BRPOP" or not found:
            return found
        queue, raw = found
        if why := flaw(raw):
            name = queue.decode(errors="replace") if isinstance(queue, bytes) else queue
            log.error("event=message_dropped queue=%s bytes=%d error=%r", name, len(raw), why)
            return None  # Redis itself answers so when nothing came in time
        return found


class CarefulChannel(Channel):
    """Its clients are careful."""

    QoS = PatientQoS

    def _get_client(self) -> type[Taker]:
        checked: Any = super()._get_client
        checked()  # of redis-py's version
        return Taker


class CarefulTransport(Transport):
    """Celery's Redis transport, but for what it makes of garbage."""

    Channel = CarefulChannel
