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
# than a shard may take (`shard_timeout`, one hour by default), or else copies of running shards are handed
# out (and dropped, for their beat is fresh).
VISIBILITY_S = 7200

# Limits (docs/design/limits.md): the share of a rate that is used; how far ahead slots are given, which is
# also how long a pause may take to reach everyone; how much of it one process fetches at once; how a
# rate that was halved comes back.
MARGIN = 0.95
AHEAD_S = 0.5
BATCH_S = 0.1
RECOVERY_S = 60.0
LEAST_FACTOR = 0.05
PLACE_EXPIRY_S = 60  # a place of a client in flight; kept with every heartbeat


def beat_key(run: str, job: str) -> str:
    return f"sharder:beat:{run}:{job}"


def release() -> str:
    """The version of this program."""
    from importlib.metadata import version

    return version("sharder")


def presence_key(queue: QueueName, process: str) -> str:
    """`process`: `host:pid:release`. The value is a number, which programs of every release can read."""
    return f"sharder:worker:{queue}:{process}"


def pace_key(source: str, client: str, service: str) -> str:
    return f"sharder:pace:{source}|{client}|{service}"


def sharers_key() -> str:
    return "sharder:sharers"


def places_key(source: str) -> str:
    return f"sharder:places:{source}"
