"""What the actors of the model share: a store, a broker and warehouses, all in memory, and a clock.

The store and the broker keep their promises towards each actor as real ones do: an operation may not
answer although it was carried out, and a message is a hint.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from contracts.errors import NotFound, Unreachable
from contracts.queue import Message
from contracts.store import Entry
from loader.publication import Publication, Published
from loader.warehouses.duckdb import DuckDB
from tests.model.actors import Actor, Fault, Kind

BEAT_EXPIRY_S = 30.0
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


class World:
    """Everything that survives the death of a process."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.written_once: dict[str, bytes] = {}  # what create-only documents held at first
        self.messages: list[Message] = []
        self.beats: dict[tuple[str, str], tuple[str, int, float]] = {}  # attempt, counter, since
        self.clock = 0.0
        self.databases: dict[str, Any] = {}
        self.touched: set[str] = set()  # destinations that somebody wrote to since the last look

    def now(self) -> datetime:
        return BEGINNING + timedelta(seconds=self.clock)

    def database(self, destination: str) -> Any:
        """A connection of its own to the destination's database."""
        import duckdb

        if destination not in self.databases:
            self.databases[destination] = duckdb.connect(":memory:", config={"threads": "1"})
        self.touched.add(destination)
        return self.databases[destination].cursor()

    def beat(self, run: str, job: str, attempt: str) -> None:
        _, count, _ = self.beats.get((run, job), ("", 0, 0.0))
        self.beats[run, job] = (attempt, count + 1, self.clock)

    def pass_time(self, seconds: float, alive: Iterable[Actor]) -> None:
        """Who is neither dead nor suspended has beaten all along."""
        self.clock += seconds
        for actor in alive:
            if actor.beating:
                self.beat(*actor.beating)
        for key, (_, _, since) in list(self.beats.items()):
            if self.clock - since >= BEAT_EXPIRY_S:
                del self.beats[key]

    def close(self) -> None:
        for database in self.databases.values():
            database.close()


class ActorStore:
    """The store as one process sees it. Without an actor: nobody's, and nothing goes wrong."""

    url = "memory"

    def __init__(self, world: World, actor: Actor | None = None) -> None:
        self._world, self._actor = world, actor

    def _point(self, kind: Kind = "look") -> Fault:
        fault = self._actor.point(kind) if self._actor else ""
        if fault == "before":
            raise Unreachable("the store does not answer")
        return fault

    def _answer(self, fault: Fault) -> None:
        if fault:
            raise Unreachable("the store did not answer, but did what it was asked for")

    def get(self, key: str) -> bytes:
        self._answer(self._point())
        try:
            return self._world.objects[key]
        except KeyError:
            raise NotFound(f"{key} does not exist") from None

    def put(self, key: str, data: bytes) -> None:
        fault = self._point("put")
        self._write(key, data)
        self._answer(fault)

    def create(self, key: str, data: bytes) -> bool:
        fault = self._point("create")
        if key in self._world.objects:
            created = False
        else:
            self._write(key, data)
            self._world.written_once[key] = data
            created = fault != "lied"
        if fault == "after":
            self._answer(fault)
        return created

    def _write(self, key: str, data: bytes) -> None:
        self._world.objects[key] = bytes(data)
        if "/commits/" in key:
            self._world.written_once.setdefault(key, bytes(data))

    def open_write(self, key: str) -> _Upload:
        return _Upload(lambda data: self.put(key, data))

    def open_read(self, key: str) -> BinaryIO:
        return io.BytesIO(self.get(key))

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        self._answer(self._point())
        objects = self._world.objects
        keys = sorted(k for k in objects if k.startswith(prefix) and k > after)
        yield from (Entry(k, len(objects[k]), self._world.clock) for k in keys)

    def delete(self, keys: Iterable[str]) -> None:
        fault = self._point("delete")
        for key in keys:
            self._world.objects.pop(key, None)
        self._answer(fault)

    def local_path(self, key: str) -> Path | None:
        """Documents count as local, or threads would ask for many at once; parts are read as objects."""
        return None if "/data/" in key else Path("/nowhere") / key

    def close(self) -> None:
        """Nothing is held open."""


class _Upload:
    def __init__(self, put: Callable[[bytes], None]) -> None:
        self._put = put
        self._buffer = bytearray()

    def write(self, data: bytes | memoryview) -> int:
        self._buffer += data
        return len(data)

    def close(self) -> None:
        self._put(bytes(self._buffer))

    def abort(self) -> None:
        self._buffer.clear()


class ActorQueue:
    """The broker as a watcher sees it."""

    def __init__(self, world: World, actor: Actor) -> None:
        self._world, self._actor = world, actor

    def _ask(self) -> None:
        if self._actor.point():
            raise Unreachable("the broker does not answer")

    def put(self, messages: Sequence[Message]) -> None:
        fault = self._actor.point("put")
        if fault == "before":
            raise Unreachable("the broker does not answer")
        self._world.messages += messages
        if fault:
            raise Unreachable("the broker did not answer")

    def waiting(self) -> int:
        self._ask()
        return len(self._world.messages)

    def beats(self, run: str, jobs: Sequence[str]) -> Mapping[str, str]:
        self._ask()
        found = ((job, self._world.beats.get((run, job))) for job in jobs)
        return {job: f"{beat[0]}:{beat[1]}" for job, beat in found if beat}

    def workers(self) -> int:
        return 1

    def close(self) -> None:
        """Nothing is held open."""


class ActorHeart:
    """The broker as a worker or a loader sees it; one that is away costs nothing but the hint."""

    def __init__(self, world: World, actor: Actor) -> None:
        self._world, self._actor = world, actor

    def beat(self, run: str, job: str, attempt: str) -> None:
        if not self._actor.dead:
            self._actor.beating = (run, job, attempt)
            self._world.beat(run, job, attempt)

    def fresh(self, run: str, job: str) -> bool:
        return (run, job) in self._world.beats

    def stop(self, run: str, job: str) -> None:
        if self._actor.dead or not self._actor.beating:
            return
        beat = self._world.beats.get((run, job))
        if beat and beat[0] == self._actor.beating[2]:
            del self._world.beats[run, job]
        self._actor.beating = None


class ActorWarehouse(DuckDB):
    """The real engine, whose transactions are each one operation; `told` hears of each publish."""

    def __init__(
        self,
        world: World,
        destination: str,
        actor: Actor,
        told: Callable[[Publication], None],
    ) -> None:
        super().__init__(world.database(destination))
        self._world, self._destination = world, destination
        self._actor, self._told = actor, told

    def _point(self, kind: Kind = "look") -> Fault:
        fault = self._actor.point(kind)
        self._world.touched.add(self._destination)
        if fault == "before":
            raise Unreachable("the connection to the warehouse was lost")
        return fault

    def copy(self, landing: Any, rows: Any) -> int:
        fault = self._point("copy")
        copied = super().copy(landing, rows)
        self._answer(fault)
        return copied

    def drop_landings(self, prefix: str) -> None:
        self._answer(self._point("delete"))
        super().drop_landings(prefix)

    def fence(self, source: str, top: str) -> Any:
        self._answer(self._point())
        return super().fence(source, top)

    def recorded(self, load: str) -> Any:
        self._answer(self._point())
        return super().recorded(load)

    def publish(self, p: Publication) -> Published:
        fault = self._point("publish")
        published = super().publish(p)
        if not published.already:
            self._told(p)
        self._answer(fault)
        return published

    def _answer(self, fault: Fault) -> None:
        if fault:
            raise Unreachable("the connection to the warehouse was lost after the commit")
