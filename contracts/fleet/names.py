"""What stands in the broker: two queues, one task for each, heartbeats, and who is there."""

from __future__ import annotations

from typing import Literal

QueueName = Literal["shards", "loads"]
SHARDS: QueueName = "shards"
LOADS: QueueName = "loads"  # prepare and load messages: those for the loader

TASK = "sharder.work"  # its one argument is the JSON text of a Message

BEAT_EXPIRY_S = 30  # an attempt that did not beat for so long is not fresh
PRESENCE_EXPIRY_S = 30
PRESENCE_EVERY_S = 8.0  # three tries before the key expires

# The longest that an unacknowledged message waits for another worker. Not the way in which a lost
# shard comes back (heartbeats tell that in half a minute), only the last net: it must be longer
# than a shard, or else copies of running shards are handed out (and dropped, for their beat is fresh).
VISIBILITY_S = 3600


def beat_key(run: str, job: str) -> str:
    return f"sharder:beat:{run}:{job}"


def presence_key(queue: QueueName, process: str) -> str:
    return f"sharder:worker:{queue}:{process}"
