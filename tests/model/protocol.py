"""Everything that a run does after its plan, by real code in actors that can die between any two operations.

`Protocol` has a method for each thing that may happen to a fleet; `machine` lets hypothesis choose among them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import pyarrow as pa

from contracts import layout
from contracts.commit import Commit
from contracts.cursors import Cursors
from contracts.errors import Transient
from contracts.plan import (
    Plan,
    PlannedDestination,
    PlannedSource,
    PlannedTable,
    Shard,
    version_of,
)
from contracts.queue import Message
from contracts.receipt import Receipt
from contracts.stage import Stage
from contracts.summary import Summary
from contracts.table import Table, with_cq_columns
from loader.cache import Warehouses
from loader.load import load
from sharder import undone
from sharder.drive import Drive, cancel
from sharder.flight import Rules
from sharder.retry import plan_retry
from tests.fakes.scripted import PARENT, Handing, Scripted, rows
from tests.model.actors import Actor
from tests.model.oracle import Given, Oracle, cursors_of, rows_of
from tests.model.world import BEGINNING, ActorHeart, ActorQueue, ActorStore, ActorWarehouse, World
from worker.extract import extract
from worker.sources.base import CellDone, Checkpoint, Event, Work

Mode = Literal["append", "overwrite", "overwrite-delete-stale", "incremental"]
Ending = Literal["ok", "failed", "raises"]

CLIENTS = ("a", "b", "c")
SHARDS = (((0, 2),), ((2, 3),))  # a and b share one, c has the other
RULES = Rules(window=4, attempts=3)
SOURCE = "src"


class Quiet:
    """A teller whom nobody hears."""

    def say(self, text: str) -> None: ...

    def progress(self, plan: Plan, tally: Any) -> None: ...


class Protocol:
    """A source, its destinations, and every process that ever worked on its runs."""

    def __init__(
        self, mode: Mode, destinations: Sequence[str], tables: Sequence[str] = ("p",)
    ) -> None:
        """`tables`: several share all shards."""
        self.mode, self.destinations, self.names = mode, tuple(destinations), tuple(tables)
        self.world = World()
        self.stage = Stage(ActorStore(self.world))
        self.given: dict[str, Mapping[str, Given]] = {}
        as_loaded = "append" if mode == "incremental" else mode
        self.oracles = {t: Oracle(self.stage, self.given, as_loaded, t) for t in self.names}
        self.runs: list[str] = []
        self.workers: list[Actor] = []
        self.loaders: list[Actor] = []
        self.watchers: dict[Actor, tuple[str, int]] = {}
        self.summaries: list[Summary] = []
        self.lost: set[tuple[str, str]] = set()  # run, job: loads that a watcher gave up
        self._run_of: dict[datetime, str] = {}
        self._marks = 0

    # What people do

    def submit(self, deadline_s: float = 0.0) -> None:
        """A new run, planned; nobody watches it yet."""
        run = f"run-{len(self.runs) + 1}"
        sync_time = BEGINNING + timedelta(days=len(self.runs))
        holder = self.destinations[-1] if self.mode == "incremental" else ""
        for n, document in enumerate(self._documents(holder)):
            self.stage.store.put(layout.spec(run, n), json.dumps(document).encode())
        self.stage.write_clients(run, SOURCE, CLIENTS)
        cells = len(CLIENTS)
        tables = [
            PlannedTable(
                source=SOURCE, name=table.name, tree=(with_cq_columns(table),), selected=(table.name,),
                first=0, shards=len(SHARDS), cells=cells, clients=((0, cells),), authoritative=True,
            )
            for table in self._tables
        ]  # fmt: skip
        plan = Plan(
            version=version_of(tables), run=run, round=1, created=self.world.now(), sync_time=sync_time, deadline_s=deadline_s,
            sources=(PlannedSource(
                name=SOURCE, path="cloudquery/test", spec=0, destinations=self.destinations,
                clients=cells,
            ),),
            destinations=tuple(
                PlannedDestination(
                    name=d, path="cloudquery/duckdb", spec=n,
                    holds_state_of=(SOURCE,) if d == holder else (),
                )
                for n, d in enumerate(self.destinations, 1)
            ),
            tables=tuple(tables), shards=len(SHARDS), cells=cells * len(tables),
        )  # fmt: skip
        self._prepare(run, holder)
        shards = [
            Shard(layout.shard_id(1, n), SOURCE, self.names[0], r, tables=len(self.names))
            for n, r in enumerate(SHARDS)
        ]
        self.stage.write_plan(plan, shards)
        self.runs.append(run)
        self._run_of[sync_time.replace(tzinfo=None)] = run

    @property
    def _tables(self) -> tuple[Table, ...]:
        incremental = self.mode == "incremental"
        return tuple(Table(n, PARENT.columns, incremental=incremental) for n in self.names)

    def _documents(self, holder: str) -> Iterator[Mapping[str, Any]]:
        body: dict[str, Any] = {
            "name": SOURCE, "path": "cloudquery/test", "tables": ["*"],
            "destinations": list(self.destinations),
        }  # fmt: skip
        if holder:
            connection = f"@@plugins.{holder}.connection"
            body["backend_options"] = {"table_name": "cursors", "connection": connection}
        yield {"kind": "source", "spec": body}
        mode = "append" if self.mode == "incremental" else self.mode
        for name in self.destinations:
            # The model's databases are in memory; whoever opened this one would leave a file where the tests run.
            nested = {"connection_string": f"/proc/nope/{name}.duckdb"}
            yield {
                "kind": "destination",
                "spec": {"name": name, "path": "cloudquery/duckdb", "write_mode": mode, "spec": nested},
            }  # fmt: skip

    def _prepare(self, run: str, holder: str) -> None:
        if holder:
            with self.world.database(holder) as connection:
                found = cursors_of(connection)
            self.stage.write_cursors(Cursors(run=run, destination=holder, cursors={SOURCE: found}))

    def open_rounds(self) -> list[tuple[str, int]]:
        newest = [(run, self.stage.rounds(run)[-1]) for run in self.runs]
        return [(run, n) for run, n in newest if self.stage.summary(run, n) is None]

    def retry(self, run: str) -> bool:
        """Another round of a closed run; False if nothing is left to do."""
        rounds = [self.stage.plan(run, n) for n in self.stage.rounds(run)]
        failed, not_ok = undone.loads(self.stage, rounds), list(undone.cells(self.stage, rounds))
        if not failed and not not_ok:
            return False
        self._prepare(run, self.destinations[-1] if self.mode == "incremental" else "")
        planned = plan_retry(rounds, not_ok, now=self.world.now(), load_again=failed)
        plan = planned.plan.model_copy(update={"deadline_s": 0.0})
        self.stage.store.delete([layout.cancel(run)])
        self.stage.write_plan(plan, planned.shards())
        return True

    def cancel(self, run: str) -> None:
        cancel(self.stage, run, "somebody had enough")

    # What processes do

    def watch(self, run: str, round_: int) -> Actor:
        """One more watcher of an open round."""

        def work(actor: Actor) -> None:
            drive = Drive(
                Stage(ActorStore(self.world, actor)),  # type: ignore[arg-type]
                ActorQueue(self.world, actor),
                self.stage.plan(run, round_),
                RULES,
                Quiet(),
                pause=lambda _: actor.pause(),
                clock=lambda: self.world.clock,
                now=self.world.now,
            )
            self.summaries.append(drive.run())

        actor = Actor(f"watcher of {run}/{round_}", work)
        self.watchers[actor] = (run, round_)
        return actor

    def deliver(self, at: int, endings: Sequence[Ending], *, keep: bool) -> Actor:
        """Some process takes a message; `keep`: the broker will hand it out once more."""
        message = self.world.messages[at] if keep else self.world.messages.pop(at)
        if message.kind == "load":
            actor = Actor(f"loader of {message.job}", lambda me: self._load(me, message))
            self.loaders.append(actor)
        else:
            ends = dict(zip(CLIENTS, endings, strict=True))
            actor = Actor(f"worker of {message.job}", lambda me: self._extract(me, message, ends))
            self.workers.append(actor)
        return actor

    def _extract(self, actor: Actor, message: Message, ends: Mapping[str, Ending]) -> None:
        self._marks += 1
        script = _Script(
            f"m{self._marks}", ends, self.names, incremental=self.mode == "incremental"
        )
        stage = _Listening(ActorStore(self.world, actor), self.given, script.given)
        try:
            extract(
                message, stage=stage, heart=ActorHeart(self.world, actor), environment={},
                now=self.world.now, sleep=lambda _: None,
                opened=Handing(Scripted(script, self._tables)),
            )  # fmt: skip
        except Transient:
            return  # as its handler does: the watcher will send the shard again

    def _load(self, actor: Actor, message: Message) -> None:
        def told(publication: Any) -> None:
            self.oracles[message.table].published(message.destination, message.run, message.round)

        warehouses = Warehouses(
            lambda found: ActorWarehouse(self.world, found.destination.name, actor, told)
        )
        try:
            load(
                message, stage=Stage(ActorStore(self.world, actor)),  # type: ignore[arg-type]
                heart=ActorHeart(self.world, actor), environment={}, warehouses=warehouses,
            )  # fmt: skip
        except Transient:
            return
        finally:
            warehouses.close()

    # What must hold whenever nobody moves

    def check(self) -> None:
        self._check_documents()
        for destination in sorted(self.world.touched):
            cursors: dict[str, str] = {}
            with self.world.database(destination) as connection:
                for table, oracle in self.oracles.items():
                    held = oracle.holding(destination)
                    found, wanted = rows_of(connection, self._run_of, table), sorted(held.rows)
                    assert found == wanted, f"{destination} holds {found} in {table}, not {wanted}"
                    cursors |= held.cursors
                wanted_cursors = cursors if destination == self.destinations[-1] else {}
                set_to = cursors_of(connection)
                assert set_to == wanted_cursors, (
                    f"{destination} has cursors {set_to}, not {wanted_cursors}"
                )
        self.world.touched.clear()

    def _check_documents(self) -> None:
        objects = self.world.objects
        for key, first in self.world.written_once.items():
            if not key.endswith("/cancel.json"):
                assert objects.get(key) == first, f"{key} was changed"
            if "/commits/" in key:
                for part in Commit.from_bytes(first).parts:
                    assert part.key in objects, f"{key} names {part.key}, which is gone"
            if "/loads/" in key:
                self._check_receipt(Receipt.from_bytes(first))

    def _check_receipt(self, receipt: Receipt) -> None:
        held = self.oracles[receipt.table].holding(receipt.destination)
        done = held.done.get(receipt.run, set())
        if receipt.outcome == "ok":
            assert receipt.round in done, f"a receipt of a load that is not in: {receipt}"

    def check_closed(self, run: str, round_: int) -> None:
        """A closed round tells the truth."""
        summary, plan = self.stage.summary(run, round_), self.stage.plan(run, round_)
        assert summary is not None
        # Reads a commit of every shard.
        ends = [end for t in plan.tables for end in self.oracles[t.name].ends(plan)]
        ok = sum(end.outcome == "ok" for _, end in ends)
        assert (summary.cells.ok, summary.cells.failed) == (ok, len(ends) - ok)
        loads = len(self.destinations) * len(plan.tables)
        assert len(summary.destinations) == loads, "a load has no receipt"
        for told in summary.destinations:
            receipt = self.stage.receipt(run, told.destination, SOURCE, told.table, round_)
            assert receipt is not None, "a load has no receipt"
            assert bool(told.error) == (receipt.outcome == "failed")
            assert told.published == receipt.published
        loaded = all(not d.error for d in summary.destinations)
        assert (summary.exit_code == 0) == (loaded and ok == len(ends))

    # The end

    def everybody(self) -> list[Actor]:
        return [*self.workers, *self.loaders, *self.watchers]

    def settle(self) -> None:
        """Without faults, every open round closes; who is suspended stays so."""
        for _ in range(200):
            rounds = self.open_rounds()
            if not rounds:
                return
            for key in rounds:
                watching = [a for a, k in self.watchers.items() if k == key and not a.suspended and not a.done]  # fmt: skip
                (watching or [self.watch(*key)])[0].advance()
            for _ in range(len(self.world.messages)):
                self.deliver(0, ("ok",) * len(CLIENTS), keep=False)
            for actor in (*self.workers, *self.loaders):
                if not actor.suspended:
                    actor.advance()
            self.world.pass_time(7, self.alive())
        raise AssertionError(f"these rounds do not close: {self.open_rounds()}")

    def alive(self) -> list[Actor]:
        return [a for a in self.everybody() if not (a.done or a.dead or a.suspended)]

    def asleep(self) -> list[Actor]:
        return [a for a in self.everybody() if a.suspended and not (a.done or a.dead)]

    def wake(self) -> None:
        """Whoever was suspended goes on, late."""
        for actor in self.everybody():
            actor.suspended = False
            while not actor.done and not actor.dead:
                actor.advance()

    def finish(self) -> None:
        """Close everything, wake the late ones, retry until the newest run is whole."""
        self.settle()
        self.check()
        self.wake()
        self.check()
        newest = self.runs[-1]
        for _ in range(4):
            if not self.retry(newest):
                break
            self.settle()
            self.check()
        else:
            raise AssertionError(f"{newest} is not whole after four rounds without any fault")
        for run in self.runs:
            for round_ in self.stage.rounds(run):
                self.check_closed(run, round_)
        for destination in self.destinations:
            for oracle in self.oracles.values():
                rows = oracle.holding(destination).rows
                clients = {row[0] for row in rows if row[3] == newest}
                assert clients == set(CLIENTS), f"{destination} lacks rows of {newest}"

    def close(self) -> None:
        for actor in self.everybody():
            actor.kill()
        self.world.close()


class _Listening(Stage):
    """Remembers which attempt was given what, whatever becomes of its commit."""

    def __init__(
        self, store: ActorStore, given: dict[str, Mapping[str, Given]], own: Mapping[str, Given]
    ) -> None:
        super().__init__(store)  # type: ignore[arg-type]
        self._given, self._own = given, own

    def create_commit(self, commit: Commit) -> bool:
        self._given[commit.attempt] = self._own
        return super().create_commit(commit)


class _Script:
    """What a source yields to one attempt, with a mark of the attempt in every row.

    Of several tables the second ends as the first does for another client.
    """

    def __init__(
        self, mark: str, ends: Mapping[str, Ending], tables: Sequence[str], *, incremental: bool
    ) -> None:
        self._mark, self._ends, self._incremental = mark, ends, incremental
        self.given = {table: Given() for table in tables}

    def __call__(self, work: Work, cursors: Mapping[str, str]) -> Iterator[Event]:
        for client in work.clients:
            for n, (table,) in enumerate(work.trees):
                other = CLIENTS[(CLIENTS.index(client) + n) % len(CLIENTS)]
                yield from self._cell(table.name, client, self._ends[other], cursors)

    def _cell(
        self, table: str, client: str, end: Ending, cursors: Mapping[str, str]
    ) -> Iterator[Event]:
        name = client if table == "p" else f"{table} {client}"  # of its cursor
        start = int(cursors.get(name, 0)) if self._incremental else 0
        base = 1000 * CLIENTS.index(client)
        keys = [base + start + n for n in range(3)]
        yield self._rows(table, client, keys[:2])
        if self._incremental:
            cursor = {name: str(start + 2)}
            yield Checkpoint(table, client, cursor)
            self._sure(table, client, keys[:2], cursor)
        yield self._rows(table, client, keys[2:])
        if end == "raises":
            raise RuntimeError("the API is on fire")
        if end == "failed":
            yield CellDone(table, client, "failed", "denied", "AccessDenied")
            return
        cursor = {name: str(start + 3)} if self._incremental else {}
        yield CellDone(table, client, cursor=cursor)
        self._sure(table, client, keys, cursor)

    def _rows(self, table: str, client: str, keys: Sequence[int]) -> Event:
        return rows(table, client, keys, v=pa.array([self._mark] * len(keys), pa.string()))

    def _sure(
        self, table: str, client: str, keys: Sequence[int], cursor: Mapping[str, str]
    ) -> None:
        given = self.given[table]
        given.rows[client] = [(key, self._mark) for key in keys]
        if cursor:
            given.cursors[client] = dict(cursor)
