"""A broker whose memory is full refuses what it has to write; a worker lives on, and finishes what it has.

Under `noeviction` Redis refuses every command that may need memory, and everything inside a transaction, even
a removal. Celery takes such an answer for the end of its main process. Here it costs what a lost message
costs: the watcher misses the shard, or a second delivery meets its commit.
"""

from __future__ import annotations

import logging
from typing import Any

from kombu.transport import virtual
from kombu.transport.redis import QoS
from redis.exceptions import ExecAbortError, OutOfMemoryError

log = logging.getLogger(__name__)

REFUSED = (OutOfMemoryError, ExecAbortError)


class PatientQoS(QoS):
    """What was taken and not yet done, as the broker and as this process know it."""

    def append(self, message: Any, delivery_tag: str) -> None:
        """A message that cannot be noted down is worked on all the same: the queue has it no more."""
        try:
            super().append(message, delivery_tag)  # type: ignore[no-untyped-call]
        except REFUSED as error:
            log.warning("event=broker_full step=take error=%s", error)
            virtual.QoS.append(self, message, delivery_tag)  # type: ignore[no-untyped-call]

    def ack(self, delivery_tag: str) -> None:
        try:
            super().ack(delivery_tag)  # type: ignore[no-untyped-call]
        except REFUSED as error:
            log.warning("event=broker_full step=ack error=%s", error)
            self._remove(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """One that cannot go back to the queue stays noted down, until its visibility timeout."""
        try:
            super().reject(delivery_tag, requeue=requeue)  # type: ignore[no-untyped-call]
        except REFUSED as error:
            log.warning("event=broker_full step=reject error=%s", error)
            self._remove(delivery_tag, known=requeue)

    def restore_visible(self, *args: Any, **options: Any) -> None:
        """The sweep for messages of the dead can wait."""
        try:
            super().restore_visible(*args, **options)  # type: ignore[no-untyped-call]
        except REFUSED as error:
            log.debug("event=broker_full step=sweep error=%s", error)

    def _remove(self, delivery_tag: str, *, known: bool = False) -> None:
        """Done with here, and without a transaction there too, unless the broker shall keep it."""
        virtual.QoS.ack(self, delivery_tag)  # type: ignore[no-untyped-call]
        if not known:
            with self.channel.conn_or_acquire() as client:
                client.zrem(self.unacked_index_key, delivery_tag)
                client.hdel(self.unacked_key, delivery_tag)
