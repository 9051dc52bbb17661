"""Limits among the processes of one machine, without a server: numbers and locks in one open file.

The file has no name: who starts the processes opens it and hands it down, and it goes with the last of
them. Buckets lie in it as four numbers each, under one lock; a place is a lock on one byte, which the
kernel takes back from a process that dies. Without a file the same holds within this process.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from zlib import crc32

from worker.limits.bucket import Bucket, Rate, hold, take
from worker.limits.pace import Answer, Names

_STATE = struct.Struct("<4d")
# Two clients whose names meet in one bucket share a rate: slower, never faster.
_BUCKETS = 1 << 16
SIZE = _BUCKETS * _STATE.size
_MUTEX = SIZE  # this byte's lock guards the buckets; places are further behind
_SOURCES = 4096
_PLACES = 1 << 20  # of one source


class LocalPermits:
    """Buckets in memory that the processes of this machine share. `file`: its descriptor; -1: none."""

    def __init__(self, file: int = -1, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._clock = clock  # the monotonic clock is one for all processes of a machine
        self._lock = threading.Lock()
        if file >= 0:
            os.ftruncate(file, SIZE)  # zeros, if nobody has written yet
        self._table = mmap.mmap(file, SIZE)

    def ask(self, names: Names, rate: Rate) -> Answer:
        with self._bucket(names) as (at, bucket, now):
            after, slots = take(bucket, rate, now, 1)
            _STATE.pack_into(self._table, at, *_numbers(after))
        return Answer(slots.granted > 0, slots.delay_s(0))

    def hold(self, names: Names, seconds: float) -> None:
        with self._bucket(names) as (at, bucket, now):
            _STATE.pack_into(self._table, at, *_numbers(hold(bucket, now, seconds)))

    @contextmanager
    def _bucket(self, names: Names) -> Iterator[tuple[int, Bucket, float]]:
        at = crc32("|".join(names).encode()) % _BUCKETS * _STATE.size
        with self._lock:
            if self._file >= 0:
                fcntl.lockf(self._file, fcntl.LOCK_EX, 1, _MUTEX)
            try:
                free_at, held_until, lost, slowed_at = _STATE.unpack_from(self._table, at)
                # A file begins as zeros: what is kept of the factor is what it lacks.
                yield at, Bucket(free_at, held_until, 1.0 - lost, slowed_at), self._clock()
            finally:
                if self._file >= 0:
                    fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _MUTEX)


def _numbers(bucket: Bucket) -> tuple[float, float, float, float]:
    return bucket.free_at, bucket.held_until, 1.0 - bucket.factor, bucket.slowed_at


class LocalPlaces:
    """Places as locks on bytes of the file; a process's own are in a set as well, for it never locks itself out."""

    def __init__(self, file: int = -1) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._mine: set[int] = set()

    def take(self, source: str, limit: int) -> str | None:
        first = SIZE + 1 + crc32(source.encode()) % _SOURCES * _PLACES
        with self._lock:
            for at in range(first, first + min(limit, _PLACES)):
                if at not in self._mine and self._locked(at):
                    self._mine.add(at)
                    return str(at)
        return None

    def _locked(self, at: int) -> bool:
        if self._file < 0:
            return True
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, at)
        except OSError:
            return False
        return True

    def give_back(self, source: str, place: str) -> None:
        del source
        at = int(place)
        with self._lock:
            self._mine.discard(at)
            if self._file >= 0:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, at)

    def keep(self) -> None:
        """A process keeps its locks as long as it lives."""
