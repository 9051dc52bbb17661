"""Secrets are planted wherever a user can put one, and looked for wherever a run writes.

Whole runs, embedded and on a fleet, that go well and that fail; then the stage (also inside of Parquet),
the broker's traffic, all logs and outputs, the summary, and the warehouse's own tables are searched.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import orjson
import psycopg
import pytest

from contracts.errors import Exit
from contracts.store import open_store
from tests.fakes import leaks, specs
from tests.fakes.collector import Collector
from tests.fakes.command import running as running_here
from tests.fakes.fleet import Ended, Fleet
from tests.fakes.leaks import Planted
from tests.fakes.servers import S3, Postgres, Redis, free_port, running

pytestmark = pytest.mark.timeout(240)

CSV = "id,name\n1,ann\n2,bob\n"
ARTEFACTS = ("--summary-location", "summary.jsonl", "--tables-metrics-location", "metrics.txt")


@pytest.fixture
def planted() -> Planted:
    return Planted()


def files(**outer: Any) -> specs.Document:
    options = {"path": "./people.csv", "primary_key": ["id"]}
    return specs.source("files", options, plugin="file", **outer)


def leaky(token: str, at: str, *, ours: bool = False, **outer: Any) -> specs.Document:
    options = {"token": token, "at": at, "ours": ours}
    document = specs.source(f"leaky_{at}_{ours}", options, plugin="leaky", **outer)
    document["spec"]["path"] = "test/leaky"
    return document


class Witness:
    """Runs commands, and keeps all that they said."""

    def __init__(self, fleet: Fleet, planted: Planted) -> None:
        self.fleet, self.planted = fleet, planted
        self.spec = fleet.home / "spec.yml"
        self._said: list[tuple[str, str]] = []
        (fleet.home / "people.csv").write_text(CSV)

    def __call__(self, *words: str, **more: str) -> Ended:
        done = self.fleet.run(*words, **more)
        self._said.append((" ".join(words), done.said))
        return done

    def leaks(self, *known: Path) -> dict[str, list[str]]:
        """Where secrets were told: by commands, and in files other than the user's own."""
        found = leaks.in_files(self.planted, self.fleet.home, self.spec, *known)
        for words, said in self._said:
            told = self.planted.found(said)
            found |= {f"{words}: {said}": told} if told else {}
        return found


LOG = ("--log-level", "debug", "--log-console", "--log-file-name", "sharder.log")


def role(admin: Any, name: str, password: str) -> None:
    admin.execute(f"CREATE ROLE {name} SUPERUSER LOGIN PASSWORD '{password}'".encode())


@pytest.mark.slow
@pytest.mark.postgres
def test_an_embedded_run_tells_no_secret(
    embedded: Fleet, planted: Planted, postgres: Postgres, postgres_dsn: str
) -> None:
    """Secrets that are written literally, as variables and in files; errors of ours and of others."""
    user, password, in_file = f"u{free_port()}", planted.plain("Pg"), planted.word("InFile", "\n")
    variable, literal = planted.word("Variable"), planted.word("Literal")
    dsn = postgres_dsn.replace(f"{postgres.user}:{postgres.password}", f"{user}:{password}")
    with psycopg.connect(postgres_dsn, autocommit=True) as admin:
        role(admin, user, password)
        admin.execute(
            b"CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'x')"
        )
    (embedded.home / "token").write_text(in_file)
    embedded.environment.update(TOKEN=variable, PG_DSN=dsn)
    witness = Witness(embedded, planted)
    witness.spec.write_text(
        specs.spec(
            specs.source(
                "db", {"connection_string": dsn, "schemas": ["public"]}, plugin="sql", tables=["t"]
            ),
            leaky("${TOKEN}", "read", ours=True),
            leaky(literal, "read"),
            leaky("${file:./token}", "cell"),
            leaky(literal, "log"),
            specs.postgresql("${PG_DSN}"),
        )
    )
    try:
        done = witness("submit", "spec.yml", "--run-id", "r", *ARTEFACTS, *LOG)
        assert done.code == Exit.PARTIAL, done.said
        witness.spec.write_text(specs.spec(leaky(literal, "open"), specs.postgresql(dsn)))
        assert "RuntimeError: refused" in witness("test-connection", "spec.yml", *LOG).said
        assert witness.leaks(embedded.home / "token") == {}
        assert leaks.in_postgresql(planted, postgres_dsn) == {}
    finally:
        with psycopg.connect(postgres_dsn, autocommit=True) as admin:
            admin.execute(f"DROP OWNED BY {user} CASCADE; DROP ROLE {user}".encode())


FAULTS = {
    "a syntax error on the line": "kind: source\nspec: {name: s, token: ${TOKEN}: ]\n",
    "a wrong type": specs.spec(files(), specs.duckdb()).replace("./people.csv", "{a: ${TOKEN}}"),
    "an unknown key": specs.spec(files(), specs.duckdb()).replace("path: ./people", "${TOKEN}: ./people"),
    "an unknown table": specs.spec(files(), specs.duckdb()).replace("'*'", "${TOKEN}"),
    "an unknown destination": specs.spec(files(), specs.duckdb()).replace("- w", "- ${TOKEN}"),
    "a bad path": specs.spec(files(), specs.duckdb()).replace("./people.csv", "./${TOKEN}.csv"),
    "no such connection": specs.spec(files(), specs.postgresql("host=nowhere.invalid port=x password=${TOKEN} =")),
    "a broken URL": specs.spec(files(), specs.postgresql("postgresql://u:${TOKEN}@[::1:port/db")),
    "a source's broken URL": specs.spec(
        specs.source("db", {"connection_string": "postgresql://u:${TOKEN}@[::1:port/db"}, plugin="sql"), specs.duckdb()
    ),
    "a source nobody answers": specs.spec(
        specs.source("db", {"connection_string": "postgresql://u:${TOKEN}@127.0.0.1:1/db"}, plugin="sql"),
        specs.duckdb(),
    ),
    "an address with a login": specs.spec(
        specs.source("hackernews", {"base_url": "http://u:${TOKEN}@127.0.0.1:1/v0"}), specs.duckdb()
    ),
    "an external id": specs.spec(
        specs.aws({"accounts": [{"id": "123456789012", "role_arn": "arn:aws:iam::123456789012:role/x",
                                 "external_id": "${TOKEN}"}], "regions": ["us-east-1"]}, "aws_s3_buckets"),
        specs.duckdb(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_with_a_spec_is_said_without_its_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
    planted: Planted, fault: str,
) -> None:  # fmt: skip
    environment = {
        "TOKEN": planted.plain("Token"), "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}",
        "AWS_MAX_ATTEMPTS": "1", "AWS_ACCESS_KEY_ID": planted.plain("Key"),
        "AWS_SECRET_ACCESS_KEY": planted.word("Secret"),
    }  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    run = running_here(tmp_path, monkeypatch, capfd)
    Path("people.csv").write_text(CSV)
    Path("spec.yml").write_text(FAULTS[fault])
    text_is_wrong = fault.startswith(("a syntax", "a wrong", "an unknown"))
    for command in ("validate-config",) if text_is_wrong else ("test-connection",):
        _, out, err = run(command, "spec.yml")
        assert planted.found(out + err) == [], out + err
    assert leaks.in_files(planted, tmp_path, tmp_path / "spec.yml") == {}


class Monitor:
    """Everything that Redis is told, as its own MONITOR has it."""

    def __init__(self, server: Redis) -> None:
        import redis

        self.lines: list[str] = []
        self._client = redis.from_url(server.url, decode_responses=True, socket_timeout=None)
        self._monitor = self._client.monitor()
        self._monitor.__enter__()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        import redis

        with suppress(redis.RedisError):  # the server was stopped: a test failed before the end
            for command in self._monitor.listen():
                self.lines.append(command["command"])
                if command["command"] == "PING the end":
                    return

    def end(self, server: Redis) -> str:
        import redis

        with redis.from_url(server.url) as client:
            client.execute_command("PING", "the end")
        self._thread.join()
        self._monitor.__exit__(None, None, None)
        self._client.close()
        return "\n".join(self.lines)


@pytest.fixture
def logging_postgres() -> Iterator[Postgres]:
    """A PostgreSQL of its own, which logs every statement."""
    for server in running(Postgres):
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            admin.execute("CREATE TABLE t (id int PRIMARY KEY, name text)")
            admin.execute("INSERT INTO t VALUES (1, 'x')")
        yield server


def asked(witness: Witness) -> None:
    """Commands that only look, of a run that went and of warehouses that do not answer."""
    for words in (
        ("status", "partial"),
        ("runs",),
        ("plan", "spec.yml"),
        ("doctor", "spec.yml"),
    ):
        assert witness(*words).out
        assert orjson.loads(witness(*words, "--json").out.splitlines()[0])
    for name in ("NOWHERE", "KEYWORDS", "BROKEN"):
        witness.spec.write_text(specs.spec(files(), specs.postgresql(f"${{{name}_DSN}}")))
        failed = witness("doctor", "spec.yml", "--json")
        assert failed.code, failed.said
        assert '"destination w"' in failed.out


def counted(*ports: int) -> bytes:
    """The metrics of programs that are at work."""
    told = []
    for port in ports:
        with urlopen(f"http://127.0.0.1:{port}/metrics") as reply:
            told.append(reply.read())
        assert b"sharder_" in told[-1]
    return b"".join(told)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as found:
        yield found


@pytest.mark.slow
@pytest.mark.redis
@pytest.mark.postgres
@pytest.mark.s3
def test_a_fleet_tells_no_secret(
    tmp_path: Path, planted: Planted, s3: S3, s3_url: str, logging_postgres: Postgres,
    monkeypatch: pytest.MonkeyPatch, stack: ExitStack,
) -> None:  # fmt: skip
    source, warehouse = planted.plain("Source"), planted.plain("Warehouse")
    with psycopg.connect(logging_postgres.dsn(), autocommit=True) as admin:
        for user, password in (("reader", source), ("writer", warehouse)):
            role(admin, user, password)
        admin.execute("CREATE DATABASE lake")
        admin.execute("ALTER SYSTEM SET log_statement = 'all'")
        admin.execute("SELECT pg_reload_conf()")
    (logging_postgres.home / "log").write_bytes(b"")  # what went before is not the run's

    def dsn(user: str, password: str, database: str) -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{logging_postgres.port}/{database}"

    keys = {"AWS_ACCESS_KEY_ID": "key-of-the-stage", "AWS_SECRET_ACCESS_KEY": planted.word("Stage")}
    everybody = {
        **s3.environment(), **keys, "SHARDER_STAGE": s3_url,
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization={planted.plain('Otel')}",
    }  # fmt: skip
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    s3.headers()
    collector = stack.enter_context(Collector())
    everybody["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://{collector.place}"
    for redis in running(lambda: Redis(password=planted.plain("Broker"))):
        monitor = Monitor(redis)
        everybody["SHARDER_BROKER"] = redis.url
        workers = {
            "SOURCE_DSN": dsn("reader", source, "postgres"), "TOKEN": planted.word("Token"),
            "WRONG_DSN": dsn("reader", planted.plain("Wrong"), "postgres"),
        }  # fmt: skip
        loaders = {
            "LAKE_DSN": dsn("writer", warehouse, "lake"),
            "NOWHERE_DSN": dsn("writer", planted.plain("Lost"), "lake"),
            "KEYWORDS_DSN": f"host=127.0.0.1 port=1 user=writer password='{planted.plain('Keyword')}' dbname=lake",
            "BROKEN_DSN": f"host=127.0.0.1 port=x password={planted.plain('Broken')} =",
        }
        ports = {"worker": free_port(), "loader": free_port()}
        with Fleet(tmp_path, everybody) as fleet:
            witness = Witness(fleet, planted)
            witness.spec.write_text(
                specs.spec(
                    files(destinations=["w", "nowhere"]),
                    specs.source(
                        "db",
                        {"connection_string": "${SOURCE_DSN}", "schemas": ["public"]},
                        plugin="sql",
                    ),
                    *(leaky("${TOKEN}", at) for at in ("read", "cell", "log")),
                    specs.postgresql("${LAKE_DSN}"),
                    specs.postgresql("${NOWHERE_DSN}", "nowhere"),
                )
            )
            for program, own in (("worker", workers), ("loader", loaders)):
                words = ("run", "--metrics-port", str(ports[program]), "--log-format", "json")
                fleet.start(program, *words, **own, SHARDER_LOG_LEVEL="debug")
            fleet.environment.update(workers)
            refused = witness("submit", "spec.yml", "--run-id", "refused", *ARTEFACTS, *LOG)
            assert refused.code == Exit.OUTSIDE, refused.said
            assert "authentication failed" in refused.said

            text = witness.spec.read_text()
            witness.spec.write_text(
                text.replace("NOWHERE_DSN", "LAKE_DSN").replace("  - nowhere\n", "")
            )
            done = witness("submit", "spec.yml", "--run-id", "partial", *ARTEFACTS, *LOG)
            assert done.code == Exit.PARTIAL, done.said + fleet.logs()
            assert "RuntimeError: refused" in done.said
            witness("retry", "partial", *LOG)
            asked(witness)

            witness.spec.write_text(
                specs.spec(leaky("${TOKEN}", "crash"), specs.postgresql("${LAKE_DSN}"))
            )
            witness("submit", "spec.yml", *ARTEFACTS, *LOG)
            assert "Traceback" in fleet.logs()
            assert '"event":"loaded"' in fleet.logs()
            assert planted.found(counted(*ports.values())) == []
            fleet.stop()
            assert witness.leaks() == {}
        assert planted.found(monitor.end(redis) + redis.output()) == []
    assert collector.named("submit")
    assert collector.named("load")
    assert planted.found(repr(collector.spans)) == []
    assert leaks.in_store(planted, open_store(s3_url)) == {}
    assert planted.found(repr(s3.headers()) + repr(s3.requests())) == []
    assert planted.found(logging_postgres.output()) == []
    assert leaks.in_postgresql(planted, dsn("writer", warehouse, "lake")) == {}
