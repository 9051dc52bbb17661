"""Leases: the polite, early refusal of a run that would overlap with another of the same source.

They save the user from waiting, and nothing rests on them: the fence that keeps an older load from
overwriting a newer one is in the warehouse. So two takers in the same instant do no harm.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Sequence
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


class Lease(Document):
    """leases/<source>/<destination>.json. `born` tells a process from a later one of the same pid."""

    kind: ClassVar[str] = "lease"

    run: str
    source: str
    destination: str
    host: str
    pid: int
    born: str = ""
    renewed: datetime


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


def read(store: Store, source: str, destination: str) -> Lease | None:
    key = layout.lease(source, destination)
    try:
        return Lease.from_bytes(store.get(key), key)
    except NotFound:
        return None


def holders(store: Store) -> set[str]:
    """The runs that somebody alive is at work on."""
    now, host = datetime.now(UTC), socket.gethostname()
    found = set()
    for entry in store.list(layout.LEASES):
        with suppress(NotFound):  # given back in between
            lease = Lease.from_bytes(store.get(entry.key), entry.key)
            found |= {lease.run} if alive(lease, now, host) else set()
    return found


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
        pairs: Sequence[tuple[str, str]],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`pairs`: source and destination."""
        self._store, self._run, self._pairs, self._now = store, run, pairs, now
        self._host, self._pid = socket.gethostname(), os.getpid()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="leases", daemon=True)

    def take(self, *, alone: bool = False) -> None:
        """Raises LeaseHeld if another run that is alive has one of them.

        `alone`: also if somebody else is at work on this very run. Many may watch it, but one must plan it.
        """
        for source, destination in self._pairs:
            held = read(self._store, source, destination)
            ours = held and held.run == self._run and (not alone or self._is_mine(held))
            if held and not ours and alive(held, self._now(), self._host):
                raise LeaseHeld(
                    f"run {held.run} is syncing source '{source}' into '{destination}' "
                    f"(process {held.pid} on {held.host})",
                    f"wait for it (`sharder status {held.run}`), or end it with "
                    f"`sharder cancel {held.run}`",
                )
        self._write(self._pid)
        self._thread.start()

    def _is_mine(self, held: Lease) -> bool:
        return (held.host, held.pid, held.born) == (self._host, self._pid, born(self._pid))

    def leave(self) -> None:
        """Stop renewing but keep them: whoever watches the run next takes them over."""
        self._end()
        self._write(0)
        self._pairs = ()

    def release(self) -> None:
        """Give back those that are still ours; none that were left."""
        self._end()
        for source, destination in self._pairs:
            held = read(self._store, source, destination)
            if held and held.run == self._run:
                self._store.delete([layout.lease(source, destination)])

    def _end(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _renew(self) -> None:
        while not self._stop.wait(RENEW_S):
            try:
                self._write(self._pid)
            except SharderError:
                continue  # a store that does not answer is the watcher's to report; try again later

    def _write(self, pid: int) -> None:
        for source, destination in self._pairs:
            lease = Lease(
                run=self._run, source=source, destination=destination, host=self._host, pid=pid,
                born=born(pid), renewed=self._now(),
            )  # fmt: skip
            self._store.put(layout.lease(source, destination), lease.to_bytes())
