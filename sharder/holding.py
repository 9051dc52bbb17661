"""Taking, renewing and giving back the leases of a run, without compare-and-swap.

Where nobody is, of all who create the lease one succeeds. A dead lease is taken over by whoever creates
the object that stands for exactly this dead lease; that object is a lease too, so that everybody else sees
somebody alive, and who dies in the middle is taken over in the same way. Then the lease is looked at again.

It is renewed only while it is still ours. What remains: a process that is suspended between the look and
the write of one renewal overwrites its successor's lease when it wakes up, which costs politeness and no rows.
"""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime

from contracts import layout
from contracts.errors import SharderError
from contracts.store import Store
from sharder import lease, storeclock
from sharder.lease import Lease

RENEW_S = 30.0

Pair = tuple[str, str]  # source, destination


class Leases:
    """The leases of one run: taken together, renewed by a thread, given back together.

    `now`: by default the store's clock, asked when they are taken.
    """

    def __init__(
        self,
        store: Store,
        run: str,
        pairs: Sequence[Pair],
        now: Callable[[], datetime] | None = None,
        *,
        part: str = "",
        sync_id: str = "",
    ) -> None:
        self._store, self._run, self._pairs, self._clock = store, run, pairs, now
        self._part, self._sync_id = part, sync_id
        self._host, self._pid = socket.gethostname(), os.getpid()
        self._born = lease.born(self._pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="leases", daemon=True)

    def take(self, *, alone: bool = False) -> None:
        """Raises LeaseHeld if another run that is alive has one of them.

        `alone`: also if somebody else is at work on this very run. Many may watch it, but one must plan it.
        """
        for pair in self._pairs:
            self._look(pair, alone=alone)
        try:
            for pair in self._pairs:
                self._take(pair, alone=alone)
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
            found = lease.at(self._store, self._key(pair))
            damaged = found is not None and bool(found.unread) and not found.newer
            if found is None:
                self._store.create(self._key(pair), self._lease(pair).to_bytes())
            elif damaged or self._is_mine(found) or not self._is_alive(found):
                self._write(pair)

    def leave(self) -> None:
        """Stop renewing but keep them: whoever watches the run next takes them over."""
        self._end()
        for pair in self._pairs:
            found = lease.at(self._store, self._key(pair))
            if found and self._is_mine(found):
                self._write(pair, nobody=True)
        self._pairs = ()

    def release(self) -> None:
        """Give back those that are still ours; none that were left, or that another process took over."""
        self._end()
        self._give_back()

    def _take(self, pair: Pair, *, alone: bool) -> None:
        key = self._key(pair)
        while True:
            found = self._look(pair, alone=alone)
            if found is None:
                if self._store.create(key, self._lease(pair).to_bytes()):
                    return
            elif self._is_ours(found, alone=alone):
                self._write(pair)
                return
            elif self._took_over(pair, found, alone=alone):
                return

    def _took_over(self, pair: Pair, dead: Lease, *, alone: bool) -> bool:
        """Write our lease in place of a dead one, unless somebody else is or was about to."""
        key, own = self._key(pair), self._lease(pair)
        claims: list[str] = []
        last: Lease | None = dead
        while last and not self._is_alive(last):
            claims.append(layout.takeover(*pair, _digest(last)))
            if self._store.create(claims[-1], own.to_bytes()):
                break
            last = lease.at(self._store, claims[-1])
        else:
            if last is None or not self._is_ours(last, alone=alone):
                return False
            claims = []  # two who watch the same run both write it, and the other's claim is its own
        try:
            # Whoever had the claim before us has written by now, and given it back.
            if lease.at(self._store, key) != dead:
                return False
            self._write(pair)
        finally:
            self._store.delete(claims)
        return True

    def _look(self, pair: Pair, *, alone: bool) -> Lease | None:
        """Our own key's lease, dead or ours. Raises LeaseHeld for one, of whatever part, in our way."""
        own: Lease | None = None
        for key, found in lease.beside(self._store, *pair):
            own = found if key == self._key(pair) else own
            beside_us = lease.parallel(self._part, self._sync_id, found.part, found.sync_id)
            ours = self._is_ours(found, alone=alone)
            if not ours and not beside_us and self._is_alive(found):
                raise lease.held(found, self._part)
        return own

    def _key(self, pair: Pair) -> str:
        return layout.lease(*pair, self._part)

    def _now(self) -> datetime:
        self._clock = self._clock or storeclock.clock(self._store)
        return self._clock()

    def _is_alive(self, found: Lease) -> bool:
        return lease.alive(found, self._now(), self._host)

    def _is_ours(self, found: Lease, *, alone: bool) -> bool:
        return found.run == self._run and (not alone or self._is_mine(found))

    def _is_mine(self, found: Lease) -> bool:
        return (found.run, found.host, found.pid, found.born) == (
            self._run, self._host, self._pid, self._born,
        )  # fmt: skip

    def _give_back(self) -> None:
        for pair in self._pairs:
            found = lease.at(self._store, self._key(pair))
            if found and self._is_mine(found):
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


def _digest(dead: Lease) -> str:
    return hashlib.sha256(dead.to_bytes()).hexdigest()[:16]
