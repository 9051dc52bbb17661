"""One of several processes that call as fast as they may; what it was granted goes to a list in Redis.

`python -m tests.fakes.limited URL PER_S CALLS THREADS`
"""

from __future__ import annotations

import sys
import threading
import time

from contracts.fleet import limits as shared
from contracts.fleet.names import AHEAD_S, MARGIN, RECOVERY_S, pace_key
from worker.limits.fleet import FleetPermits, Link
from worker.limits.machine import LocalPermits
from worker.limits.pace import Paced

GRANTS = "grants"  # seconds of Redis's clock, one entry per granted call
TRIPS = "trips"  # how often Redis was asked


class Recording(shared.RedisLimits):
    """Notes every slot by Redis's own clock, in the transaction that grants it."""

    def take(self, names, per_s, burst, wanted):
        pipe = self._redis.pipeline(transaction=True)
        pipe.time()
        given = [RECOVERY_S, per_s, burst, wanted, MARGIN, AHEAD_S]
        self._take([pace_key(*names)], given, client=pipe)
        (seconds, micros), (granted, first, every) = pipe.execute()
        now, granted = seconds + micros / 1e6, int(granted)
        slots = [now + max(0.0, float(first) + n * float(every)) for n in range(granted)]
        with self._redis.pipeline() as notes:
            notes.incr(TRIPS)
            if slots:
                notes.rpush(GRANTS, *slots)
            notes.execute()
        return granted, float(first), float(every)


def main(url: str, per_s: float, calls: int, threads: int) -> None:
    permits = FleetPermits(Link(Recording(url)), LocalPermits())
    pace = Paced(permits, "src", sleep=time.sleep, cancelled=lambda: False)

    def run() -> None:
        for _ in range(calls):
            pace.take("client", "service", per_s)

    print("ready", flush=True)
    sys.stdin.readline()
    running = [threading.Thread(target=run) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
