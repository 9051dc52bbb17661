"""Who is there and what waits, as the broker knows it; and how the broker itself is set up. Only looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from contracts.fleet.broker import asking, connect, masked
from contracts.fleet.names import LOADS, SHARDS, QueueName, presence_key


@dataclass(frozen=True)
class Present:
    """One live worker or loader: a parent process and so many that work. `release`: empty before 0.2."""

    kind: Literal["worker", "loader"]
    host: str
    pid: int
    processes: int
    release: str = ""


@dataclass(frozen=True)
class Census:
    """Messages in the two queues, taken by somebody but not done, and all live programs."""

    shards: int
    loads: int
    unacked: int
    present: tuple[Present, ...]

    def of(self, kind: Literal["worker", "loader"]) -> Sequence[Present]:
        return [p for p in self.present if p.kind == kind]


@dataclass(frozen=True)
class Broker:
    """A Redis. `now_s`: its clock, in seconds since the epoch; memory in bytes, 0: no limit.

    `persists` says how, empty: it does not. What the user may not ask for is left empty.
    """

    place: str
    version: str
    now_s: float
    policy: str
    most_bytes: int
    used_bytes: int
    persists: str
    tls: bool


def look_around(url: str) -> Census:
    """Raises Unreachable or Denied."""
    with connect(url) as client, asking(url):
        return Census(
            shards=_depth(client, SHARDS),
            loads=_depth(client, LOADS),
            unacked=int(client.hlen("unacked")),
            present=tuple(_present(client)),
        )


def examine(url: str) -> Broker:
    """Raises Unreachable or Denied."""
    with connect(url) as client, asking(url):
        info: dict[str, Any] = client.info()
        seconds, micros = client.time()
    saves = ["AOF"] if info.get("aof_enabled") else []
    # Whether it saves snapshots is only told by CONFIG, which is often forbidden; that it has is told.
    saves += ["snapshots"] if info.get("rdb_last_save_time_sec", -1) != -1 else []
    return Broker(
        place=masked(url),
        version=str(info.get("redis_version", "")),
        now_s=seconds + micros / 1e6,
        policy=str(info.get("maxmemory_policy", "")),
        most_bytes=int(info.get("maxmemory", 0)),
        used_bytes=int(info.get("used_memory", 0)),
        persists=" and ".join(saves),
        tls=url.startswith("rediss://"),
    )


def _depth(client: Any, queue: QueueName) -> int:
    return int(client.llen(queue))


def _present(client: Any) -> list[Present]:
    found: list[Present] = []
    kinds: tuple[tuple[QueueName, Literal["worker", "loader"]], ...] = (
        (SHARDS, "worker"),
        (LOADS, "loader"),
    )
    for queue, kind in kinds:
        prefix = presence_key(queue, "")
        keys = sorted(client.scan_iter(f"{prefix}*", count=1000))
        values = client.mget(keys) if keys else []
        for key, value in zip(keys, values, strict=True):
            if value is not None:  # it may have expired in between
                found.append(_read(kind, key.removeprefix(prefix), value))
    return found


def _read(kind: Literal["worker", "loader"], process: str, value: str) -> Present:
    host, pid, release = (*process.split(":"), "", "")[:3]
    return Present(
        kind,
        host,
        int(pid) if pid.isdecimal() else 0,
        int(value) if value.isdecimal() else 0,
        release,
    )
