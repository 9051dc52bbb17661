"""An AWS of moto's on a free loopback port: any number of accounts, and calls that can be refused.

The server runs in threads of the test's own process; every request passes the rules of `AwsServer`
first, which see account, region, service and operation as AWS would.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

HOME = "123456789012"  # the account of credentials that moto does not know
ROLE = "reader"

_SCOPE = re.compile(r"Credential=([^/]+)/\d+/([\w-]+)/([\w-]+)/aws4_request")


@dataclass(frozen=True)
class Request:
    """What a rule sees. `op` is the operation's name, or method and path for S3 and other REST APIs."""

    key: str
    region: str
    service: str
    op: str
    body: str


Answer = Callable[[dict[str, Any]], Mapping[str, Any]]  # what a JSON service answers to an input
Rule = Callable[[Request], tuple[int, str] | None]  # (status, error code), or None to pass


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 werkzeug's name
        """Say nothing: the tests count requests themselves."""


@dataclass
class AwsServer:
    """A running server. `calls` counts requests by service and operation; `answers` stand for moto's."""

    url: str = ""
    rules: list[Rule] = field(default_factory=list)
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    clients: dict[tuple[str, str, str], Any] = field(default_factory=dict)
    keys: dict[str, dict[str, str]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def client(self, service: str, account: str = HOME, region: str = "us-east-1") -> Any:
        """A boto3 client for seeding, with the account's own credentials."""
        made = (service, account, region)
        if made not in self.clients:
            keys = self._keys(account)
            self.clients[made] = boto3.client(service, region, endpoint_url=self.url, **keys)
        return self.clients[made]

    def options(self, accounts: Iterable[str], **more: Any) -> dict[str, Any]:
        """A source's spec that reads these accounts by their roles."""
        listed = [
            {"id": a, "role_arn": f"arn:aws:iam::{a}:role/{ROLE}", "external_id": "42"}
            for a in accounts
        ]
        return {"accounts": listed, "custom_endpoint_url": self.url, **more}

    @contextmanager
    def rule(self, rule: Rule) -> Iterator[None]:
        self.rules.append(rule)
        try:
            yield
        finally:
            self.rules.remove(rule)

    def denied_role(self, account: str) -> Any:
        """The role of an account cannot be assumed."""
        role = f"arn:aws:iam::{account}:role/{ROLE}"
        return self.rule(
            lambda r: (
                (403, "AccessDenied")
                if r.op == "AssumeRole" and parse_qs(r.body)["RoleArn"] == [role]
                else None
            )
        )

    def failing(
        self, service: str, op: str, code: str, *, status: int = 400, region: str = ""
    ) -> Any:
        """An operation that always gives an error, in one region or in all."""
        return self.rule(
            lambda r: (
                (status, code)
                if (r.service, r.op) == (service, op) and region in ("", r.region)
                else None
            )
        )

    def _keys(self, account: str) -> dict[str, str]:
        mine = {"aws_access_key_id": "seeder", "aws_secret_access_key": "seeder"}
        if account == HOME:
            return mine
        if account not in self.keys:
            role = f"arn:aws:iam::{account}:role/seeder"
            answer = self.client("sts").assume_role(RoleArn=role, RoleSessionName="seeder")
            keys = answer["Credentials"]
            self.keys[account] = {
                "aws_access_key_id": keys["AccessKeyId"],
                "aws_secret_access_key": keys["SecretAccessKey"],
                "aws_session_token": keys["SessionToken"],
            }
        return self.keys[account]

    def seen(self, environ: dict[str, Any]) -> tuple[list[bytes] | None, int]:
        """The answer and its status, if a rule or a prepared answer has one."""
        length = int(environ.get("CONTENT_LENGTH") or 0)
        raw = environ["wsgi.input"].read(length) if length else b""
        environ["wsgi.input"] = BytesIO(raw)
        request = _request(environ, raw.decode("utf-8", "replace"))
        with self.lock:
            self.calls[request.service, request.op] += 1
        for rule in self.rules:
            if found := rule(request):
                status, code = found
                return [_error(request.service, code).encode()], status
        if answer := self.answers.get((request.service, request.op)):
            return [json.dumps(answer(json.loads(raw))).encode()], 200
        return None, 200


@contextmanager
def aws_server() -> Iterator[AwsServer]:
    """A fresh AWS: nothing is in it but what moto puts into every region (a default VPC)."""
    moto = DomainDispatcherApplication(create_backend_app)
    fake = AwsServer()

    def application(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        answer, status = fake.seen(environ)
        if answer is None:
            found: Iterable[bytes] = moto(environ, start)
            return found
        kind = "text/xml" if answer[0].startswith(b"<") else "application/x-amz-json-1.1"
        headers = [("Content-Type", kind), ("Content-Length", str(len(answer[0])))]
        if status != 200 and not answer[0].startswith(b"<"):
            headers.append(("x-amzn-errortype", json.loads(answer[0])["__type"]))
        start(f"{status} X", headers)
        return answer

    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
    server.daemon_threads = True
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        _forget()


def _forget() -> None:
    """Empty moto: its state is the process's."""
    from moto.core.base_backend import BackendDict

    for backend in list(BackendDict._instances):
        backend.reset()


def _request(environ: Mapping[str, Any], body: str) -> Request:
    scope = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    key, region, service = scope.groups() if scope else ("", "", "")
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        op = target.split(".")[-1]
    elif "Action=" in body:
        op = parse_qs(body)["Action"][0]
    else:
        query = environ.get("QUERY_STRING", "").split("&")[0].split("=")[0]
        op = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}{'?' + query if query else ''}"
    return Request(key, region, service, op, body)


def _error(service: str, code: str) -> str:
    """An error as the service's protocol writes it."""
    if service == "ec2":
        return f"<Response><Errors><Error><Code>{code}</Code><Message>no</Message></Error></Errors></Response>"
    if service == "s3":
        return f"<Error><Code>{code}</Code><Message>no</Message></Error>"
    if service in ("iam", "sts", "sns", "rds", "elasticloadbalancing", "cloudformation", "route53"):
        return f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>"
    return json.dumps({"__type": code, "message": "no"})
