"""Leases: the polite, early refusal of a run that would overlap with another of the same source.

They save the user from waiting, and nothing rests on them: the fence that keeps an older load from
overwriting a newer one is in the warehouse. Parallel shards (`--shard n/m`) of one deal have different
tables and so hold leases side by side, one each.

A store has no compare-and-swap, so a lease is taken in two steps: written, then looked at again, so that
of two who take it in the same instant at least one sees the other. It is renewed only while it is still
ours. What remains: a process that is suspended between the look and the write of one renewal overwrites
its successor's lease when it wakes up, which costs politeness and no rows.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from contracts import layout
from contracts.documents import Document
from contracts.errors import LeaseHeld, NotFound, SharderError
from contracts.store import Store

EXPIRES_S = 120.0
RENEW_S = 30.0

Pair = tuple[str, str]  # source, destination


class Lease(Document):
    """leases/<source>/<destination>.json, of a parallel shard leases/<source>/<destination>/<n>-of-<m>.json.

    `born` tells a process from a later one of the same pid; `sync_id` is empty unless the user named it.
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


def beside(store: Store, source: str, destination: str) -> Iterator[Lease]:
    """Every lease of the pair, dead ones too: that of a whole run, and those of parallel shards."""
    keys = [layout.lease(source, destination)]
    keys += [e.key for e in store.list(layout.part_leases(source, destination))]
    for key in keys:
        if found := at(store, key):
            yield found


def at(store: Store, key: str) -> Lease | None:
    try:
        return Lease.from_bytes(store.get(key), key)
    except NotFound:  # or given back in between
        return None


def living(store: Store) -> dict[str, Lease]:
    """Run → a lease of somebody alive who is at work on it."""
    now, host = datetime.now(UTC), socket.gethostname()
    found = (at(store, entry.key) for entry in store.list(layout.LEASES))
    return {lease.run: lease for lease in found if lease and alive(lease, now, host)}


def holders(store: Store) -> set[str]:
    """The runs that somebody alive is at work on."""
    return set(living(store))


WATCH = ("", "watch")  # the lease of `sharder watch`: no source is named by an empty text


def watched(store: Store, now: datetime) -> bool:
    """Whether a `sharder watch` is alive on this stage."""
    held = read(store, *WATCH)
    return held is not None and alive(held, now, socket.gethostname())


class Leases:
    """The leases of one run: taken together, renewed by a thread, given back together."""

    def __init__(
        self,
        store: Store,
        run: str,
        pairs: Sequence[Pair],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        part: str = "",
        sync_id: str = "",
    ) -> None:
        self._store, self._run, self._pairs, self._now = store, run, pairs, now
        self._part, self._sync_id = part, sync_id
        self._host, self._pid = socket.gethostname(), os.getpid()
        self._born = born(self._pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="leases", daemon=True)

    def take(self, *, alone: bool = False) -> None:
        """Raises LeaseHeld if another run that is alive has one of them.

        `alone`: also if somebody else is at work on this very run. Many may watch it, but one must plan it.
        """
        before = [self._look(pair, alone=alone) for pair in self._pairs]
        try:
            for pair, held in zip(self._pairs, before, strict=True):
                # Where nobody was, of all who take it now one succeeds.
                if held or not self._store.create(self._key(pair), self._lease(pair).to_bytes()):
                    self._look(pair, alone=alone)
                    self._write(pair)
            for pair in self._pairs:
                self._look(pair, alone=alone)
        except BaseException:
            with suppress(SharderError):
                self._give_back()
            raise
        self._thread.start()

    def renew(self) -> None:
        """Once. What another live process took over, because we were given up for dead, stays its own."""
        for pair in self._pairs:
            held = at(self._store, self._key(pair))
            if held is None:
                self._store.create(self._key(pair), self._lease(pair).to_bytes())
            elif self._is_mine(held) or not self._is_alive(held):
                self._write(pair)

    def leave(self) -> None:
        """Stop renewing but keep them: whoever watches the run next takes them over."""
        self._end()
        for pair in self._pairs:
            held = at(self._store, self._key(pair))
            if held and self._is_mine(held):
                self._write(pair, nobody=True)
        self._pairs = ()

    def release(self) -> None:
        """Give back those that are still ours; none that were left, or that another process took over."""
        self._end()
        self._give_back()

    def _look(self, pair: Pair, *, alone: bool) -> Lease | None:
        """Our own key's lease, dead or ours. Raises LeaseHeld for one, of whatever part, in our way."""
        own: Lease | None = None
        for held in beside(self._store, *pair):
            own = held if held.part == self._part else own
            ours = held.run == self._run and (not alone or self._is_mine(held))
            beside_us = parallel(self._part, self._sync_id, held.part, held.sync_id)
            if not ours and not beside_us and self._is_alive(held):
                raise _held(held, self._part)
        return own

    def _key(self, pair: Pair) -> str:
        return layout.lease(*pair, self._part)

    def _is_alive(self, held: Lease) -> bool:
        return alive(held, self._now(), self._host)

    def _is_mine(self, held: Lease) -> bool:
        return (held.run, held.host, held.pid, held.born) == (
            self._run, self._host, self._pid, self._born,
        )  # fmt: skip

    def _give_back(self) -> None:
        for pair in self._pairs:
            held = at(self._store, self._key(pair))
            if held and self._is_mine(held):
                self._store.delete([self._key(pair)])

    def _end(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _keep(self) -> None:
        while not self._stop.wait(RENEW_S):
            try:
                self.renew()
            except SharderError:
                continue  # a store that does not answer is the watcher's to report; try again later

    def _write(self, pair: Pair, *, nobody: bool = False) -> None:
        self._store.put(self._key(pair), self._lease(pair, nobody=nobody).to_bytes())

    def _lease(self, pair: Pair, *, nobody: bool = False) -> Lease:
        return Lease(
            run=self._run, source=pair[0], destination=pair[1], host=self._host,
            pid=0 if nobody else self._pid, born="" if nobody else self._born,
            renewed=self._now(), part=self._part, sync_id=self._sync_id,
        )  # fmt: skip


def _held(held: Lease, part: str) -> LeaseHeld:
    which = f", shard {held.part}," if held.part else ""
    hint = f"wait for it (`sharder status {held.run}`), or end it with `sharder cancel {held.run}`"
    if part and held.part and part.split("/")[1] != held.part.split("/")[1]:
        hint = f"parallel shards all say the same m of --shard n/m; {hint}"
    return LeaseHeld(
        f"run {held.run}{which} is syncing source '{held.source}' into '{held.destination}' "
        f"(process {held.pid} on {held.host})",
        hint,
    )
