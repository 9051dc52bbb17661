"""Typed reading and writing of the documents of runs: the only module that joins keys to documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from io import TextIOWrapper

import orjson

from contracts import layout
from contracts.commit import Attempt, Commit
from contracts.cursors import Cursors
from contracts.errors import LeaseHeld, NotFound, Permanent, SharderError
from contracts.history import History
from contracts.migration import Migrated
from contracts.plan import Plan, Range, Shard
from contracts.receipt import Receipt
from contracts.store import Store
from contracts.summary import Summary
from contracts.sync import Conclusion


class Stage:
    """The documents of the runs in one store. Reads raise NotFound; plans are cached (they never change)."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.plan = lru_cache(maxsize=16)(self._plan)
        self._chunk = lru_cache(maxsize=8)(self._read_chunk)

    def _plan(self, run: str, round_: int) -> Plan:
        key = layout.plan_index(run, round_)
        return Plan.from_bytes(self.store.get(key), key)

    def _read_chunk(self, run: str, round_: int, chunk: int) -> tuple[Shard, ...]:
        lines = self.store.get(layout.plan_chunk(run, round_, chunk)).splitlines()
        return tuple(Shard.from_line(line) for line in lines)

    def write_plan(self, plan: Plan, shards: Iterable[Shard], *, once: bool = False) -> None:
        """Chunks first, the index last: a plan exists once its index does.

        `once`: raises LeaseHeld if somebody else has planned the round meanwhile, from the same commits.
        """
        lines: list[bytes] = []
        chunk = 0
        for shard in shards:
            lines.append(shard.to_line())
            if len(lines) == layout.CHUNK:
                self.store.put(layout.plan_chunk(plan.run, plan.round, chunk), b"".join(lines))
                lines, chunk = [], chunk + 1
        if lines:
            self.store.put(layout.plan_chunk(plan.run, plan.round, chunk), b"".join(lines))
        key, index = layout.plan_index(plan.run, plan.round), plan.to_bytes()
        if not once:
            self.store.put(key, index)
        elif not self.store.create(key, index) and self.store.get(key) != index:
            raise LeaseHeld(
                f"round {plan.round} of run {plan.run} was planned by somebody else at this very moment",
                f"watch it with: sharder resume {plan.run}",
            )

    def shard(self, run: str, shard_id: str) -> Shard:
        """One shard of the plan. Raises Permanent if the plan has no such shard."""
        round_, number = layout.parse_shard_id(shard_id)
        chunk, at = divmod(number, layout.CHUNK)
        shards = self._chunk(run, round_, chunk)
        if at >= len(shards) or shards[at].id != shard_id:
            raise Permanent(f"the plan of run {run} has no shard {shard_id}")
        return shards[at]

    def shards(self, run: str, round_: int, first: int, count: int) -> Iterator[Shard]:
        """Shards by number, chunk by chunk."""
        for number in range(first, first + count):
            yield self.shard(run, layout.shard_id(round_, number))

    def rounds(self, run: str) -> list[int]:
        """The rounds of a run whose plan is whole, in order."""
        prefix = f"{layout.run_prefix(run)}plan/"
        keys = (e.key[len(prefix) :] for e in self.store.list(prefix))
        return sorted(int(k.split("/")[0]) for k in keys if k.endswith("/index.json"))

    def runs(self) -> list[str]:
        """Ids of all runs that wrote at least one document, sorted."""
        return list(self.store.folders("runs/"))

    def write_clients(self, run: str, source: str, ids: Iterable[str]) -> int:
        """clients/<source>.jsonl, one JSON text per line; returns the number of lines."""
        upload = self.store.open_write(layout.clients(run, source))
        count = 0
        buffer: list[bytes] = []
        try:
            for client in ids:
                buffer.append(orjson.dumps(client, option=orjson.OPT_APPEND_NEWLINE))
                count += 1
                if len(buffer) >= 10_000:
                    upload.write(b"".join(buffer))
                    buffer = []
            upload.write(b"".join(buffer))
        except BaseException:
            upload.abort()
            raise
        upload.close()
        return count

    def clients(self, run: str, source: str, ranges: Iterable[Range]) -> Iterator[str]:
        """Client ids by ranges (ascending), streamed from the file."""
        key = layout.clients(run, source)
        with self.store.open_read(key) as raw:
            lines = TextIOWrapper(raw, encoding="utf-8", newline="\n")
            at = 0
            for start, stop in ranges:
                for _ in range(start - at):
                    _line(lines, key)
                for _ in range(stop - start):
                    yield _client(_line(lines, key), key)
                at = stop

    def text(self, key: str) -> str:
        """A spec document as it lies on the stage. Raises Permanent if it is no text."""
        try:
            return self.store.get(key).decode()
        except UnicodeDecodeError as error:
            raise Permanent(f"{key} is not UTF-8 text: {error.reason}") from error

    def start_attempt(self, attempt: Attempt) -> None:
        self.store.put(
            layout.attempt(attempt.run, attempt.job, attempt.attempt), attempt.to_bytes()
        )

    def give_up(self, attempt: Attempt, error: SharderError) -> None:
        """Say why an attempt ended without a result; a stage that cannot be written to never knows."""
        with suppress(SharderError):
            told = {"error": str(error), "reason": error.reason}
            self.start_attempt(attempt.model_copy(update=told))

    def last_words(self, run: str, job: str) -> Attempt | None:
        """The newest attempt that could say what it died of; None if none could."""
        found = []
        for entry in self.store.list(layout.attempts(run, job)):
            attempt = Attempt.from_bytes(self.store.get(entry.key), entry.key)
            found += [attempt] if attempt.error else []
        return max(found, key=lambda a: a.started, default=None)

    def last_error(self, run: str, job: str) -> str:
        """What the newest attempt that could say so died of; empty if none could."""
        found = self.last_words(run, job)
        return found.error if found else ""

    def attempts(self, run: str, job: str) -> int:
        """How many attempts of a job have started."""
        return sum(1 for _ in self.store.list(layout.attempts(run, job)))

    def create_commit(self, commit: Commit) -> bool:
        """Whether this attempt won. If the key exists the object is read: a lost reply is no loss."""
        key = layout.commit(commit.run, commit.shard)
        if self.store.create(key, commit.to_bytes()):
            return True
        return self.commit(commit.run, commit.shard).attempt == commit.attempt

    def commit(self, run: str, shard: str) -> Commit:
        key = layout.commit(run, shard)
        return Commit.from_bytes(self.store.get(key), key)

    def committed(self, run: str, shard: str) -> bool:
        try:
            self.store.get(layout.commit(run, shard))
        except NotFound:
            return False
        return True

    def committed_shards(self, run: str, first: str = "", last: str = "~") -> Iterator[str]:
        """Ids of shards that have a commit, sorted, from `first` to `last` (both included)."""
        prefix = layout.commits(run)
        # The key before `first`: '.' sorts before every digit, so `first` itself is listed.
        after = f"{prefix}{first}." if first else ""
        for entry in self.store.list(prefix, after):
            shard = entry.key[len(prefix) :].removesuffix(".json")
            if shard > last:
                return
            yield shard

    def create_receipt(self, receipt: Receipt) -> bool:
        key = layout.receipt(
            receipt.run, receipt.destination, receipt.source, receipt.table, receipt.round
        )
        return self.store.create(key, receipt.to_bytes())

    def receipt(
        self, run: str, destination: str, source: str, table: str, round_: int
    ) -> Receipt | None:
        key = layout.receipt(run, destination, source, table, round_)
        try:
            return Receipt.from_bytes(self.store.get(key), key)
        except NotFound:
            return None

    def write_cursors(self, cursors: Cursors) -> None:
        self.store.put(layout.cursors(cursors.run, cursors.destination), cursors.to_bytes())

    def cursors(self, run: str, destination: str) -> Cursors | None:
        key = layout.cursors(run, destination)
        try:
            return Cursors.from_bytes(self.store.get(key), key)
        except NotFound:
            return None

    def write_tables(self, plan: Plan) -> None:
        """What `migrate` works on: a plan of tables, without shards."""
        self.store.put(layout.migrate(plan.run), plan.to_bytes())

    def tables(self, run: str) -> Plan:
        key = layout.migrate(run)
        return Plan.from_bytes(self.store.get(key), key)

    def write_migrated(self, migrated: Migrated) -> None:
        key = layout.migrated(migrated.run, migrated.destination)
        self.store.put(key, migrated.to_bytes())

    def migrated(self, run: str, destination: str) -> Migrated | None:
        key = layout.migrated(run, destination)
        try:
            return Migrated.from_bytes(self.store.get(key), key)
        except NotFound:
            return None

    def history(self, source: str, table: str) -> History | None:
        key = layout.history(source, table)
        try:
            return History.from_bytes(self.store.get(key), key)
        except NotFound:
            return None

    def write_history(self, history: History) -> None:
        self.store.put(layout.history(history.source, history.table), history.to_bytes())

    def create_conclusion(self, found: Conclusion) -> bool:
        key = layout.concluded(found.run, found.destination, found.round)
        return self.store.create(key, found.to_bytes())

    def conclusion(self, run: str, destination: str, round_: int) -> Conclusion | None:
        key = layout.concluded(run, destination, round_)
        try:
            return Conclusion.from_bytes(self.store.get(key), key)
        except NotFound:
            return None

    def cancelled(self, run: str) -> bool:
        try:
            self.store.get(layout.cancel(run))
        except NotFound:
            return False
        return True

    def close(self, summary: Summary) -> bool:
        return self.store.create(layout.closed(summary.run, summary.round), summary.to_bytes())

    def summary(self, run: str, round_: int) -> Summary | None:
        key = layout.closed(run, round_)
        try:
            return Summary.from_bytes(self.store.get(key), key)
        except NotFound:
            return None


_LONGEST = 1 << 20  # characters of a line of the client file


def _line(lines: TextIOWrapper, key: str) -> str:
    try:
        line = lines.readline(_LONGEST)
    except UnicodeDecodeError as error:
        raise Permanent(f"{key} is not UTF-8 text: {error.reason}") from error
    if not line.endswith("\n"):
        raise Permanent(f"{key} ends too early, or a line of it is too long")
    return line


def _client(line: str, key: str) -> str:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise Permanent(f"a line of {key} is not JSON: {error}") from error
    if not isinstance(found, str):
        raise Permanent(f"a line of {key} is not the id of a client")
    return found
