"""`sharder test-connection` says why a bucket, a role, a database or a broker does not work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.fakes.aws import ROLE, AwsServer, aws_server
from tests.fakes.command import Run, running
from tests.fakes.hackernews import FakeHackerNews, Forum
from tests.fakes.servers import S3, Postgres, free_port
from tests.fakes.specs import Document, duckdb, postgresql, source, spec

OK = duckdb()
Row = Mapping[str, Any]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    return running(tmp_path, monkeypatch, capfd)


def rows(run: Run, *documents: Document, flags: tuple[str, ...] = ()) -> tuple[int, dict[str, Row]]:
    """Exit code, and the rows by kind (the last of a kind wins)."""
    Path("spec.yml").write_text(spec(*documents))
    code, out, err = run("test-connection", "spec.yml", "--json", *flags)
    assert "Traceback" not in err, err
    found = list(map(orjson.loads, out.splitlines()))
    return code, {row["kind"]: row for row in found}


def failure(run: Run, kind: str, *documents: Document, flags: tuple[str, ...] = ()) -> Row:
    """The row of a kind, which is the only one that failed."""
    code, found = rows(run, *documents, flags=flags)
    assert [k for k, row in found.items() if row["result"] != "Success"] == [kind], found
    row = found[kind]
    assert code == (2 if row["code"] == "INVALID_SPEC" else 4)
    return row


def local() -> Document:
    """A source that answers: a file."""
    Path("people.csv").write_text("id\n1\n")
    return source("people", {"path": "people.csv"}, plugin="file")


def test_what_works_is_a_line_each_and_leaves_nothing_behind(run: Run, tmp_path: Path) -> None:
    Path("spec.yml").write_text(spec(local(), OK))
    code, out, err = run("test-connection", "spec.yml")
    assert (code, err) == (0, "")
    head, people, warehouse, stage, verdict = out.splitlines()
    assert head.split() == ["kind", "name", "plugin", "result", "reason"]
    assert people.startswith("source")
    assert "Success" in people
    assert "1 file" in people
    assert "ready to load (transactional)" in warehouse
    assert "refuses to overwrite" in stage
    assert verdict == "all connections work"
    assert not list(tmp_path.rglob("runs/*"))


def test_a_destination_is_tested_with_its_transformers(run: Run) -> None:
    rename = [{"kind": "rename_column", "name": "a", "value": "b"}]
    body = {"name": "t", "path": "cloudquery/basic", "spec": {"transformations": rename}}
    transformer = {"kind": "transformer", "spec": body}
    code, found = rows(run, local(), duckdb(transformers=["t"]), transformer)
    assert (code, found["destination"]["result"]) == (0, "Success")
    body["spec"] = {"transformations": [{"kind": "renam_column"}]}
    row = failure(run, "destination", local(), duckdb(transformers=["t"]), transformer)
    assert "did you mean 'rename_column'" in row["reason"]


# -- databases -------------------------------------------------------------------------------


def databases(dsn: str) -> list[tuple[str, list[Document]]]:
    """The same database as a source and as a destination."""
    return [
        ("source", [source("db", {"connection_string": dsn}, plugin="sql"), OK]),
        ("destination", [local(), postgresql(dsn)]),
    ]


@pytest.mark.postgres
@pytest.mark.parametrize("side", [0, 1], ids=["source", "destination"])
@pytest.mark.parametrize(
    ("what", "code", "says"),
    [
        ("wrong password", "UNAUTHORIZED", "password authentication failed"),
        ("no such database", "", 'database "nope" does not exist'),
        ("no TLS", "CONNECTION_FAILED", "SSL"),
        ("no such user", "UNAUTHORIZED", "password authentication failed"),
    ],
)
def test_why_a_database_that_answers_refuses_us(
    run: Run, postgres: Postgres, postgres_dsn: str, side: int, what: str, code: str, says: str
) -> None:
    dsn = {
        "wrong password": postgres.dsn(password="wrongword"),
        "no such database": postgres.dsn("nope"),
        "no TLS": f"{postgres_dsn}?sslmode=require",
        "no such user": postgres_dsn.replace("sharder:", "stranger:"),
    }[what]
    kind, documents = databases(dsn)[side]
    row = failure(run, kind, *documents)
    assert says in row["reason"]
    assert row["code"] == code or (not code and row["code"] in {"CONNECTION_FAILED", "OTHER"})
    assert "wrongword" not in row["reason"]
    assert postgres.password not in row["reason"]


@pytest.mark.parametrize("side", [0, 1], ids=["source", "destination"])
@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_a_database_that_is_not_there(run: Run, side: int, host: str) -> None:
    dsn = f"postgresql://u:secretword@{host}:{free_port()}/db?connect_timeout=3"
    kind, documents = databases(dsn)[side]
    row = failure(run, kind, *documents)
    assert row["code"] == "CONNECTION_FAILED"
    assert "refused" in row["reason"] if host == "127.0.0.1" else host in row["reason"]
    assert "secretword" not in row["reason"]


@pytest.mark.postgres
def test_a_user_who_may_not_create_is_told_what_to_grant(
    run: Run, postgres: Postgres, postgres_dsn: str
) -> None:
    import psycopg

    with psycopg.connect(postgres_dsn, autocommit=True) as admin:
        admin.execute("DROP ROLE IF EXISTS reader")
        admin.execute("CREATE ROLE reader LOGIN PASSWORD 'reader-word'")
        admin.execute(f'REVOKE CREATE ON DATABASE "{postgres_dsn.rpartition("/")[2]}" FROM PUBLIC')  # type: ignore[arg-type]
    dsn = postgres_dsn.replace(f"{postgres.user}:{postgres.password}", "reader:reader-word")
    row = failure(run, "destination", local(), postgresql(dsn))
    assert row["code"] == "UNAUTHORIZED"
    assert "grant CREATE" in row["reason"]


def test_a_database_file_that_cannot_be_made(run: Run) -> None:
    row = failure(run, "destination", local(), duckdb("/proc/nope/w.duckdb"))
    assert row["code"] == "OTHER"
    assert "/proc/nope" in row["reason"]


def test_a_database_file_that_is_not_there(run: Run) -> None:
    documents = databases("sqlite:///nowhere/x.sqlite")[0][1]
    row = failure(run, "source", *documents)
    assert "x.sqlite" in row["reason"] or "unable to open" in row["reason"]


# -- buckets ---------------------------------------------------------------------------------


class Elsewhere(BaseHTTPRequestHandler):
    """An S3 that says what Amazon's says of a bucket in another region."""

    protocol_version = "HTTP/1.1"

    def _moved(self) -> None:
        body = b"<?xml version='1.0'?><Error><Code>PermanentRedirect</Code><Message>elsewhere</Message></Error>"
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(301)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-amz-bucket-region", "eu-west-1")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self._moved
        raise AttributeError(name)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def elsewhere() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.s3
@pytest.mark.parametrize(
    ("bucket", "code", "says"),
    [
        ("missing", "OTHER", "does not exist"),
        ("denied", "UNAUTHORIZED", "s3:PutObject"),
        ("deaf", "OTHER", "create only"),
    ],
)
def test_why_a_stage_in_a_bucket_does_not_work(
    run: Run, s3: S3, bucket: str, code: str, says: str
) -> None:
    name = "missing-bucket" if bucket == "missing" else s3.create(bucket)
    row = failure(run, "stage", local(), OK, flags=("--stage", f"s3://{name}/x"))
    assert (row["code"], row["name"]) == (code, f"s3://{name}/x")
    assert says in row["reason"]


@pytest.mark.s3
def test_a_stage_in_another_region(run: Run, s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    with elsewhere() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        row = failure(run, "stage", local(), OK, flags=("--stage", "s3://bucket/x"))
    assert "another region" in row["reason"]


@pytest.mark.s3
def test_a_stage_on_a_host_that_does_not_answer(
    run: Run, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    row = failure(run, "stage", local(), OK, flags=("--stage", "s3://bucket/x"))
    assert row["code"] == "CONNECTION_FAILED"
    assert "does not answer" in row["reason"]


def test_a_directory_that_cannot_be_written(run: Run) -> None:
    row = failure(run, "stage", local(), OK, flags=("--stage", "/proc/nope"))
    assert "/proc/nope" in row["reason"]


@pytest.mark.s3
@pytest.mark.parametrize("bucket", ["missing", "denied"])
def test_why_files_in_a_bucket_cannot_be_read(run: Run, s3: S3, bucket: str) -> None:
    name = "missing-bucket" if bucket == "missing" else s3.create("denied")
    files = source("files", {"path": f"s3://{name}/a/b.csv"}, plugin="file")
    row = failure(run, "source", files, OK)
    assert name in row["reason"]
    assert row["code"] == ("UNAUTHORIZED" if bucket == "denied" else "CONNECTION_FAILED")


def test_files_that_are_not_there(run: Run) -> None:
    row = failure(run, "source", source("files", {"path": "nope.csv"}, plugin="file"), OK)
    assert "nope.csv does not exist" in row["reason"]


@pytest.mark.s3
@pytest.mark.parametrize(("bucket", "code"), [("missing", "OTHER"), ("denied", "UNAUTHORIZED")])
def test_why_a_destination_in_a_bucket_cannot_be_written(
    run: Run, s3: S3, bucket: str, code: str
) -> None:
    name = "missing-bucket" if bucket == "missing" else s3.create("denied")
    options = {"bucket": name, "region": "us-east-1", "path": "{{TABLE}}/{{UUID}}.{{FORMAT}}", "format": "csv"}  # fmt: skip
    bucket_ = {"kind": "destination", "spec": {"name": "w", "path": "cloudquery/s3", "write_mode": "append", "spec": options}}  # fmt: skip
    row = failure(run, "destination", local(), bucket_)
    assert name in row["reason"]
    assert row["code"] == code


# -- AWS -------------------------------------------------------------------------------------


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsServer]:
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}  # fmt: skip
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with aws_server() as server:
        yield server


def cloud(options: Mapping[str, Any]) -> Document:
    return source("cloud", options, plugin="aws", tables=("aws_s3_buckets",))


ACCOUNTS = ("111111111111", "222222222222", "333333333333")


def test_every_role_is_assumed(run: Run, aws: AwsServer) -> None:
    code, found = rows(run, cloud(aws.options(ACCOUNTS)), OK)
    assert code == 0, found
    assert "3 accounts answered" in found["source"]["reason"]
    assert all(number in found["source"]["reason"] for number in ACCOUNTS)
    assert aws.calls["sts", "AssumeRole"] == 3


def test_a_role_that_cannot_be_assumed_is_named(run: Run, aws: AwsServer) -> None:
    with aws.denied_role(ACCOUNTS[1]):
        row = failure(run, "source", cloud(aws.options(ACCOUNTS)), OK)
    assert row["code"] == "UNAUTHORIZED"
    assert "1 of 3 accounts failed" in row["reason"]
    assert f"arn:aws:iam::{ACCOUNTS[1]}:role/{ROLE}" in row["reason"]
    assert "AccessDenied" in row["reason"]
    assert "AssumeRole" in row["reason"]


def test_an_aws_that_does_not_answer(run: Run, aws: AwsServer) -> None:
    options = {"custom_endpoint_url": f"http://127.0.0.1:{free_port()}"}
    row = failure(run, "source", cloud(options), OK)
    assert row["code"] == "CONNECTION_FAILED"


def test_no_credentials_at_all(run: Run, aws: AwsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    # Sessions are kept for the process by their endpoint: this one has not been met yet.
    options = {"custom_endpoint_url": aws.url, "max_retries": 2, "concurrency": 3}
    row = failure(run, "source", cloud(options), OK)
    assert row["code"] == "UNAUTHORIZED"
    assert "no AWS credentials were found" in row["reason"]


# -- APIs, brokers, specs --------------------------------------------------------------------


def test_an_api_that_answers_and_one_that_does_not(run: Run) -> None:
    with FakeHackerNews(Forum(10, 1_700_000_000)) as forum:
        code, found = rows(run, source("hackernews", {"base_url": forum.url}), OK)
        url = forum.url
    assert (code, found["source"]["reason"]) == (0, "newest item 10")
    row = failure(run, "source", source("hackernews", {"base_url": url}), OK)
    assert row["code"] == "CONNECTION_FAILED"
    assert "does not answer" in row["reason"]


def test_a_broker_that_does_not_answer_and_what_could_not_be_asked_without_it(run: Run) -> None:
    url = f"redis://:secretword@127.0.0.1:{free_port()}/0"
    code, found = rows(run, local(), OK, flags=("--broker", url))
    assert code == 4
    assert found["broker"]["code"] == "CONNECTION_FAILED"
    assert found["destination"]["code"] == "UNKNOWN"
    assert "not asked" in found["destination"]["reason"]
    assert not any("secretword" in str(row) for row in found.values())


@pytest.mark.redis
def test_a_fleet_without_a_loader_is_not_waited_for_for_ever(run: Run, redis_url: str) -> None:
    code, found = rows(run, local(), OK, flags=("--broker", redis_url, "--timeout", "1s"))
    assert code == 4
    assert found["broker"]["result"] == "Success"
    assert "no worker alive" in found["broker"]["reason"]
    assert found["destination"]["code"] == "CONNECTION_FAILED"
    assert "no loader answered in 1 s" in found["destination"]["reason"]


def test_a_wrong_option_is_an_invalid_spec_and_the_others_are_still_asked(run: Run) -> None:
    row = failure(run, "source", source("hackernews", {"base_ulr": "x"}), OK)
    assert row["code"] == "INVALID_SPEC"
    assert "did you mean 'base_url'?" in row["reason"]


def test_a_plugin_of_somebody_else_is_unimplemented(run: Run) -> None:
    foreign = {"kind": "source", "spec": {"name": "x", "path": "acme/x", "version": "v1.0.0", "tables": ["*"], "destinations": ["w"]}}  # fmt: skip
    assert failure(run, "source", foreign, OK)["code"] == "UNIMPLEMENTED"


def test_a_spec_that_cannot_be_read_is_exit_code_2(run: Run) -> None:
    Path("spec.yml").write_text("kind: [")
    code, out, err = run("test-connection", "spec.yml")
    assert (code, out) == (2, "")
    assert "spec.yml:1" in err
