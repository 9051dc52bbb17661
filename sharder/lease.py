"""Leases: the polite, early refusal of a run that would overlap with another of the same source.

They save the user from waiting, and nothing rests on them: the fence that keeps an older load from
overwriting a newer one is in the warehouse. Parallel shards (`--shard n/m`) of one deal have different
tables and so hold leases side by side, one each.

Whether a holder is alive is told by the store's clock (`sharder.storeclock`), on the holder's own machine also
by its process. A lease that cannot be read, damaged or of a newer release, is held until it expires.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import orjson
from pydantic import Field

from contracts import layout
from contracts.documents import Document
from contracts.errors import LeaseHeld, NotFound, Permanent, VersionUnknown
from contracts.store import Store

EXPIRES_S = 120.0


class Lease(Document):
    """leases/<source>/<destination>.json, of a parallel shard leases/<source>/<destination>/<n>-of-<m>.json.

    `born` tells a process from a later one of the same pid; `sync_id` is empty unless the user named it.
    `unread`: why the object is none that we understand; `renewed` is then when it was written.
    """

    kind: ClassVar[str] = "lease"

    run: str
    source: str
    destination: str
    host: str
    pid: int
    born: str = ""
    renewed: datetime
    part: str = ""
    sync_id: str = ""
    unread: str = Field(default="", exclude=True)

    @property
    def newer(self) -> bool:
        """Whether a newer release wrote it."""
        return self.version > self.current


def born(pid: int) -> str:
    """When the process started, in the kernel's own unit; empty if it is not there, or not Linux."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return ""


def alive(lease: Lease, now: datetime, host: str) -> bool:
    """Whether its holder may still be at work: known on our own host, otherwise a matter of time."""
    if (now - lease.renewed).total_seconds() > EXPIRES_S:
        return False
    if lease.host != host or not lease.pid:
        return True
    try:
        os.kill(lease.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return born(lease.pid) == lease.born


def parallel(part: str, sync_id: str, other: str, other_sync_id: str) -> bool:
    """Whether two runs may go side by side: different shards of one deal, and of one invocation
    where both say of which. Parts are `n/m`, or empty for a run of all tables.
    """
    if not part or not other:
        return False
    (n, m), (other_n, other_m) = part.split("/"), other.split("/")
    same = not sync_id or not other_sync_id or sync_id == other_sync_id
    return m == other_m and n != other_n and same


def read(store: Store, source: str, destination: str, part: str = "") -> Lease | None:
    return at(store, layout.lease(source, destination, part))


def beside(store: Store, source: str, destination: str) -> Iterator[tuple[str, Lease]]:
    """Key and lease of all that the pair has, dead ones too: of a whole run, of parallel shards, of those
    who are about to take over a dead one.
    """
    keys = [layout.lease(source, destination)]
    keys += [e.key for e in store.list(layout.part_leases(source, destination))]
    for key in keys:
        if found := at(store, key):
            yield key, found


def at(store: Store, key: str) -> Lease | None:
    """The lease at a key; None if there is none, or it was given back in between."""
    try:
        data = store.get(key)
    except NotFound:
        return None
    try:
        return Lease.from_bytes(data, key)
    except Permanent as error:
        return _unread(store, key, data, error)


def _unread(store: Store, key: str, data: bytes, error: Permanent) -> Lease | None:
    """What its place, its time and a newer release's unchanged names tell of a lease that is no lease."""
    source, destination = layout.parse_lease(key)
    entries = store.list(f"{key.rpartition('/')[0]}/")
    written_s = next((e.modified_s for e in entries if e.key == key), None)
    if written_s is None:
        return None
    newer = isinstance(error, VersionUnknown)
    run = orjson.loads(data).get("run") if newer else ""
    return Lease(
        version=Lease.current + 1 if newer else Lease.current, run=run if isinstance(run, str) else "",
        source=source, destination=destination, host="", pid=0,
        renewed=datetime.fromtimestamp(written_s, UTC), unread=error.message,
    )  # fmt: skip


def living(store: Store, now: datetime | None = None) -> dict[str, Lease]:
    """Run → a lease of somebody alive who is at work on it. `now`: the store's; our own if it is only told."""
    now, host = now or datetime.now(UTC), socket.gethostname()
    found = (at(store, entry.key) for entry in store.list(layout.LEASES))
    return {lease.run: lease for lease in found if lease and lease.run and alive(lease, now, host)}


def holders(store: Store, now: datetime | None = None) -> set[str]:
    """The runs that somebody alive is at work on."""
    return set(living(store, now))


def held(by: Lease, part: str) -> LeaseHeld:
    """The refusal of a run, or of its shard `part`, because of another's lease."""
    pair = f"source '{by.source}' into '{by.destination}'"
    if by.unread:
        hint = f"it expires {EXPIRES_S:.0f} s after it was written; try again then"
        return LeaseHeld(f"somebody may be syncing {pair}: {by.unread}", hint)
    which = f", shard {by.part}," if by.part else ""
    hint = f"wait for it (`sharder status {by.run}`), or end it with `sharder cancel {by.run}`"
    if part and by.part and part.split("/")[1] != by.part.split("/")[1]:
        hint = f"parallel shards all say the same m of --shard n/m; {hint}"
    where = f"process {by.pid} on {by.host}" if by.pid else "left to a watch"
    return LeaseHeld(f"run {by.run}{which} is syncing {pair} ({where})", hint)


WATCH = ("", "watch")  # the lease of `sharder watch`: no source is named by an empty text


def watched(store: Store, now: datetime) -> bool:
    """Whether a `sharder watch` is alive on this stage."""
    held = read(store, *WATCH)
    return held is not None and alive(held, now, socket.gethostname())
