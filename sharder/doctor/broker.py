"""The broker: how Redis is set up, how its clock goes, what waits in it, and who is there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

from contracts.fleet import Broker, examine, look_around
from contracts.fleet.names import VISIBILITY_S
from sharder import crew, text
from sharder.doctor.finding import Finding, ok, warning
from sharder.doctor.stage import skew

OLDEST = (6, 2)  # the oldest that is still maintained in distributions


def broker(url: str) -> Iterator[Finding]:
    """Raises Unreachable or Denied."""
    before = time.time()
    found = examine(url)
    after = time.time()
    yield _version(found)
    yield skew("clock of the broker", found.now_s, before, after)
    yield _memory(found)
    yield _encrypted(url, found)
    kept = f"kept on disk ({found.persists})" if found.persists else "not kept on disk"
    yield ok(
        "broker's queue",
        f"{kept}: what is lost is sent again; an unacknowledged message waits "
        f"{text.duration(VISIBILITY_S)} for another worker at most",
    )
    yield from _crew(url)


def _version(found: Broker) -> Finding:
    numbers = tuple(int(n) for n in found.version.split(".")[:2] if n.isdecimal())
    if numbers and numbers < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        return warning("broker", f"{found.place}: Redis {found.version}", f"use {wanted} or newer")
    return ok("broker", f"{found.place}: Redis {found.version}")


def _memory(found: Broker) -> Finding:
    check, used = "broker's memory", text.size(found.used_bytes)
    if found.most_bytes and found.policy != "noeviction":
        return Finding(
            check, "failure", f"its maxmemory-policy is {found.policy}: when full, it drops messages silently",
            "redis-cli CONFIG SET maxmemory-policy noeviction, and the same in redis.conf",
        )  # fmt: skip
    if not found.most_bytes:
        if found.policy != "noeviction":
            return warning(
                check,
                f"{used} used; its maxmemory-policy is {found.policy}",
                "set it to noeviction",
            )
        return ok(check, f"{used} used, no limit, noeviction")
    share = found.used_bytes / found.most_bytes
    says = f"{used} of {text.size(found.most_bytes)} used ({share:.0%}), noeviction"
    return warning(check, says, "raise its maxmemory") if share > 0.8 else ok(check, says)


def _encrypted(url: str, found: Broker) -> Finding:
    host = urlsplit(url).hostname or ""
    if found.tls:
        return ok("broker's connection", "TLS, with the server's certificate checked")
    if _local(host):
        return ok("broker's connection", "without TLS, on this machine")
    return warning(
        "broker's connection", "without TLS", "use rediss:// unless the network is yours alone"
    )


def _local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _crew(url: str) -> Iterator[Finding]:
    census = look_around(url)
    workers, loaders = census.of("worker"), census.of("loader")
    waits = f"{text.count(census.shards, 'shard')} and {text.count(census.loads, 'load')} wait"
    for name, kind, depth, command in (
        ("workers", workers, census.shards, "worker run"),
        ("loaders", loaders, census.loads, "loader run"),
    ):
        if kind:
            yield ok(name, crew.people(kind))
        elif depth:
            yield Finding(
                name, "failure", f"none is alive, and {depth:,} wait", f"start one: {command}"
            )
        else:
            yield warning(name, "none is alive", f"start one: {command}")
    yield ok("queues", f"{waits}, {text.count(census.unacked, 'message')} at work")
    for line in crew.odd(census):
        yield warning("releases", line, "upgrade all workers and loaders to one release")
