"""Feeds broken messages and hostile names to workers and loaders: `python -m tests.fuzz_words --seconds 300`.

A message is broken as the objects of `tests/fuzz_documents.py` are, its envelope in the broker too; whoever
takes it drops it with a word, or does what a whole message of that text would have said. A table of
random names (its own, of its columns, child, source, client) is loaded as it is, or refused with a word.
"""

from __future__ import annotations

import base64
import json
import random
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import duckdb
import psycopg
import pyarrow as pa

from contracts import layout
from contracts.errors import InputError, SharderError
from contracts.fleet.envelope import flaw
from contracts.fleet.names import LOADS, SHARDS, TASK
from contracts.queue import Message
from contracts.stage import Stage
from contracts.store import open_store
from contracts.table import Column
from loader.conclude import conclude
from loader.load import load
from loader.migrating import migrate
from loader.prepare import prepare
from loader.warehouses.duckdb import DIALECT as DUCKDB
from loader.warehouses.postgresql_types import DIALECT as POSTGRESQL
from tests.fakes import runs
from tests.fakes.mutate import mutated
from tests.fakes.servers import Postgres
from tests.fakes.stage import StageRun, StillHeart, shard, table
from tests.fuzz_documents import CANARY, Ground, end_of, fuzz, grounds, untouched
from worker.extract import extract

WHOLE = (
    Message("prepare", "run-1", destination="w"),
    Message("migrate", "run-1", destination="w"),
    Message("load", "run-1", destination="w", source="src", table="items", round=1),
    Message("load", "run-1", destination="w", source="src", table="items", round=1),
    Message("conclude", "run-1", destination="w", round=1),
    Message("shard", "run-2", shard=layout.shard_id(1, 0)),
    Message("shard", "run-2", shard=layout.shard_id(1, 0)),
)

# What names are put together from: quotes, paths, templates, marks that join or turn, words that SQL keeps.
PIECES = (
    "a", "A", "é", "e\u0301", "ß", "İ", "\U0001f600", "\u202e", "\u200b", "\ufeff", " ", "\t", "\n", "\r", "\0", "\x7f",
    "'", '"', "`", "\\", ";", "--", "/*", "*/", "$$", "$1", "?", "%s", "%2f", ":x", "{", "}", "{{TABLE}}", "{0}", "${HOME}",
    "/", "..", ".", "~", "|", "<", ">", "&", "*", "=", ",", "(", ")", "[", "]", "#", "@", "__", "select", "DROP TABLE canary",
    "_cq_id", "sharder_loads", "information_schema", "pg_catalog", "main", "x" * 30, "é" * 30, "NULL", "1", "-",
)  # fmt: skip


def check_message(ground: Ground, chance: random.Random) -> tuple[str, list[str]]:
    """Break one message, or what it is wrapped in; who takes it, and what they did."""
    whole = chance.choice(WHOLE)
    if chance.random() < 0.3:
        return "envelope", [_unwrapped(whole, chance)]
    home = ground.fresh()
    taken: list[Message] = []

    def take() -> None:
        message = Message.from_bytes(_broken(whole, chance))
        taken.append(message)
        _do(message, home)

    end = end_of(take)
    untouched(home)
    kind = taken[0].kind if taken else "dropped"
    return kind, [f"{kind}:{end}"]


def _broken(whole: Message, chance: random.Random) -> bytes:
    """Bytes that are broken anyhow, or a message whose texts name something else."""
    if chance.random() < 0.5:
        return mutated(whole.to_bytes(), chance)
    document = json.loads(whole.to_bytes())
    name = chance.choice([key for key in document if key != "kind"])
    numbers = (0, -1, 2, 99, 10**9, 2**63 - 1)
    document[name] = chance.choice(numbers) if name == "round" else a_name(chance)
    return json.dumps(document).encode()


def _do(message: Message, home: Path) -> None:
    """What the handlers do with a message, errors and all."""
    stage = Stage(open_store(str(home / "stage")))
    given: Any = {"stage": stage, "environment": {"W": str(home / "w.duckdb")}}
    match message.kind:
        case "shard":
            extract(message, heart=runs.Steady(), sleep=lambda _: None, **given)
        case "prepare":
            prepare(message, **given)
        case "migrate":
            migrate(message, **given)
        case "conclude":
            conclude(message, heart=StillHeart(), **given)
        case "load":
            load(message, heart=StillHeart(), **given)


def _unwrapped(whole: Message, chance: random.Random) -> str:
    """What is let through to Celery has one text for us, and nothing that tells Celery what to do."""
    queue = SHARDS if whole.kind == "shard" else LOADS
    around = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    body = json.dumps([[whole.to_bytes().decode()], {}, around]).encode()
    if chance.random() < 0.4:
        body = mutated(body, chance)
    envelope = {
        "body": base64.b64encode(body).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": TASK, "id": "i", "root_id": "i", "parent_id": None},
        "properties": {
            "correlation_id": "i", "delivery_mode": 2, "priority": 0, "body_encoding": "base64",
            "delivery_info": {"exchange": "", "routing_key": queue}, "delivery_tag": "t",
        },
    }  # fmt: skip
    raw = mutated(json.dumps(envelope).encode(), chance)
    why = flaw(raw)
    assert len(why) < 200, "a flaw is told in a line"
    if why:
        return "envelope:flaw"
    read = json.loads(raw)
    ((text,), _, _) = json.loads(base64.b64decode(read["body"]))
    assert read["headers"]["task"] == TASK
    try:
        Message.from_bytes(text)
    except InputError:
        return "envelope:dropped"
    return "envelope:ok"


def a_name(chance: random.Random) -> str:
    return "".join(chance.choice(PIECES) for _ in range(chance.choice((1, 1, 2, 3, 5, 8))))


class Refused(SharderError):
    """A failed receipt, which has its words."""


@dataclass(frozen=True)
class Where:
    """A warehouse with a canary in it, or a directory of files."""

    plugin: Literal["duckdb", "postgresql", "file"]
    connection: str = ""

    @contextmanager
    def asking(self) -> Iterator[Callable[[str], Any]]:
        """Execute a statement: its rows come by `fetchall`."""
        if self.plugin == "duckdb":
            with duckdb.connect(self.connection) as file:
                yield file.execute
        else:
            with psycopg.connect(self.connection, autocommit=True) as server:
                yield lambda statement: server.execute(statement.encode())

    def prepare(self) -> Self:
        with self.asking() as ask:
            ask("CREATE TABLE canary AS SELECT 1 AS id, 'alive' AS v")
        return self

    def held(self, text: str) -> str:
        """PostgreSQL holds no NUL in a text: the loader leaves it out."""
        return text.replace("\0", "") if self.plugin == "postgresql" else text


def check_names(home: Path, chance: random.Random, where: Where) -> tuple[str, list[str]]:
    """Load a child and its parent whose every name is random; where, and how it ended."""
    top, child, source, client, key, value = (a_name(chance) for _ in range(6))
    while value == key:  # what stands in a row by its name could not be told apart
        value = a_name(chance)
    shutil.rmtree(home, ignore_errors=True)
    columns = (
        Column(key, pa.int64(), nullable=False, primary_key=True),
        Column(value, pa.string()),
    )
    spec: dict[str, Any] = {"connection_string": where.connection}
    outer: dict[str, Any] = {}
    if where.plugin == "file":
        spec = {"path": f"{home}/lake/{{{{TABLE}}}}/{{{{UUID}}}}.json", "format": "json"}
        outer = {"write_mode": "append"}
    loaded: list[str] = []

    def loads() -> None:
        run = StageRun(
            home / "stage", table(top, *columns), table(child, *columns, parent=top), spec=spec,
            path=f"cloudquery/{where.plugin}", source=source, run=f"run-{chance.getrandbits(60):x}", **outer,
        )  # fmt: skip
        rows = ({key: 1, value: top},)
        run.round([shard({client: rows}, children={child: {client: rows}})])
        receipt = run.load()
        if receipt.outcome != "ok":
            assert receipt.error, "a refusal without a word"
            raise Refused(receipt.error)
        loaded.extend((top, child))

    end = end_of(loads)
    inside = {p.name for p in home.iterdir()} if home.exists() else set()
    assert inside <= {"stage", "lake"}, f"written beside the stage: {inside}"
    if where.plugin == "file":
        files = [p for p in (home / "lake").rglob("*.json") if p.is_file()]
        assert len(files) >= len(loaded), f"{loaded} are in {files}"
    else:
        _read_back(where, loaded, value, (where.held(client), where.held(top)))
    return where.plugin, [f"{where.plugin}:{end}"]


def _read_back(where: Where, tables: Sequence[str], column: str, row: tuple[str, str]) -> None:
    """Each table has its row under its own names, and what was there before is as it was."""
    dialect = DUCKDB if where.plugin == "duckdb" else POSTGRESQL
    with where.asking() as ask:
        assert ask("SELECT id, v FROM canary").fetchall() == CANARY, "the canary is gone"
        for name in tables:
            shown, text = (dialect.quote(dialect.name_of(n)) for n in (name, column))
            found = ask(f"SELECT _cq_client_id, {text} FROM {shown}").fetchall()
            assert found == [row], f"{name!r} holds {found}"
        for name in tables:
            ask(f"DROP TABLE {dialect.quote(dialect.name_of(name))}")


def main() -> int:
    with ExitStack() as stack:
        all_grounds = stack.enter_context(grounds())
        postgres = stack.enter_context(Postgres())
        home = all_grounds[0].home.parent / "names"
        places = (
            Where("duckdb", str(home.with_name("names.duckdb"))).prepare(),
            Where("postgresql", postgres.create()).prepare(),
            Where("file"),
        )

        def tried(seed: int, chance: random.Random) -> tuple[str, list[str]]:
            if seed % 2:
                return check_message(all_grounds[seed // 2 % 2], chance)
            return check_names(home, chance, chance.choice(places))

        return fuzz("broken messages and hostile names", __doc__, tried)


if __name__ == "__main__":
    sys.exit(main())
