"""A simulated AWS organisation behind one loopback endpoint, for the demonstration and the tests.

`estate()` starts it as a process of its own and ends it; `python -m examples.aws.estate` starts it
by hand. moto answers the calls; what moto cannot do (refuse a role, count what there is) is added
in front of it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

ROOT = Path(__file__).resolve().parents[2]

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

REFUSAL = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <Error>
    <Type>Sender</Type>
    <Code>AccessDenied</Code>
    <Message>User: arn:aws:iam::123456789012:user/estate is not authorized to perform: sts:AssumeRole on resource: {role}</Message>
  </Error>
  <RequestId>00000000-0000-4000-8000-000000000000</RequestId>
</ErrorResponse>
"""


@dataclass(frozen=True)
class Estate:
    """A running estate: where it answers, who is in it, and whose role cannot be assumed."""

    endpoint: str
    accounts: Mapping[str, str]  # id → name, the management account first
    denied: Sequence[str]  # ids
    regions: Sequence[str]
    role: str

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs in its environment to sync this estate by `spec.yml`."""
        return {
            "AWS_ENDPOINT": self.endpoint,
            "AWS_ACCESS_KEY_ID": "estate",
            "AWS_SECRET_ACCESS_KEY": "estate",
            "AWS_DEFAULT_REGION": "us-east-1",
            # A developer's own profile and the metadata service stay out of it.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def counts(self) -> dict[str, dict[str, int]]:
        """Table → account → rows that are really there."""
        from urllib.request import urlopen

        with urlopen(f"{self.endpoint}/_estate") as answer:
            rows: dict[str, dict[str, int]] = json.load(answer)["rows"]
            return rows


@contextmanager
def estate(
    *,
    accounts: int = 6,
    scale: float = 1.0,
    deny: Sequence[str] = ("legacy",),
    seed: int = 7,
    port: int = 0,
) -> Iterator[Estate]:
    """A running estate; `deny` names accounts by name or id. Raises RuntimeError if it cannot start."""
    numbers = ["--accounts", accounts, "--scale", scale, "--seed", seed, "--port", port]
    denials = [text for account in deny for text in ("--deny", account)]
    command = [sys.executable, "-m", "examples.aws.estate", "--end-with-stdin"]
    process = subprocess.Popen(
        [*command, *map(str, numbers), *denials],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout
            ready = process.stdout.readline()
            if not ready:
                raise RuntimeError(f"the simulated organisation ended at once ({process.wait()})")
            yield Estate(**json.loads(ready))
        finally:
            process.terminate()


class Gate:
    """The WSGI application in front of moto: refuses roles, tells what there is, passes on the rest."""

    def __init__(
        self, inner: Callable[..., Any], denied: Sequence[str], about: Callable[[], Any]
    ) -> None:
        self.inner = inner
        self.denied = frozenset(denied)
        self.about = about

    def __call__(self, environ: Environ, start_response: StartResponse) -> Any:
        if environ["PATH_INFO"] == "/_estate":
            return _answer(start_response, "200 OK", "application/json", json.dumps(self.about()))
        authorization = environ.get("HTTP_AUTHORIZATION", "")
        if "/sts/aws4_request" in authorization:
            role = _assumed_role(environ)
            if role and role.split(":")[4] in self.denied:
                text = REFUSAL.format(role=role)
                return _answer(start_response, "403 Forbidden", "text/xml", text)
        if "/cur/aws4_request" in authorization:
            # moto does not know this service: nobody here has defined a report.
            kind = "application/x-amz-json-1.1"
            return _answer(start_response, "200 OK", kind, '{"ReportDefinitions": []}')
        return self.inner(environ, start_response)


def _assumed_role(environ: Environ) -> str:
    """The role that a call to STS asks for; empty for its other calls. The body stays readable."""
    import io

    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    return parse_qs(body.decode()).get("RoleArn", [""])[0]


def _answer(start_response: StartResponse, status: str, kind: str, text: str) -> list[bytes]:
    body = text.encode()
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]


def serve(
    *, port: int, accounts: int, scale: float, deny: Sequence[str], seed: int, end_with_stdin: bool
) -> None:
    """Build the estate, say on stdout that it is ready, and answer until SIGTERM."""
    # Both only slow the simulator down: nobody lists Amazon's images, nobody asks from a browser.
    os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
    os.environ["MOTO_DISABLE_GLOBAL_CORS"] = "true"
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    from examples.aws import census, organisation

    plan = organisation.Plan(accounts=accounts, scale=scale, seed=seed)
    for account in deny:
        if not account.isdigit() and account not in plan.names:
            raise SystemExit(f"no account {account!r}; there are {', '.join(plan.names)}")
    names = organisation.build(plan)
    denied = [a for a, name in names.items() if a in deny or name in deny]

    def about() -> dict[str, Any]:
        rows = census.count(names, organisation.REGIONS)
        return {**asdict(facts), "rows": rows}

    class Quiet(MotoRequestHandler):
        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """No line per request."""

    gate = Gate(DomainDispatcherApplication(create_backend_app), denied, about)
    server = make_server("127.0.0.1", port, gate, threaded=True, request_handler=Quiet)
    endpoint = f"http://127.0.0.1:{server.server_port}"
    facts = Estate(endpoint, names, denied, organisation.REGIONS, organisation.ROLE)
    # shutdown() waits for the loop to end, so it must not be called by the loop's own thread.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    if end_with_stdin:
        threading.Thread(target=_after_stdin, args=(server.shutdown,), daemon=True).start()
    print(json.dumps(asdict(facts)), flush=True)
    server.serve_forever()


def _after_stdin(then: Callable[[], None]) -> None:
    """Whoever started us holds our stdin open; when that process is gone, so are we."""
    sys.stdin.read()
    then()


def main() -> None:
    parser = argparse.ArgumentParser(description="A simulated AWS organisation on loopback.")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--accounts", type=int, default=6, help="management account included")
    parser.add_argument("--scale", type=float, default=1.0, help="1: about 5,000 resources")
    parser.add_argument(
        "--deny", action="append", default=[], metavar="ACCOUNT", help="by name or id"
    )
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--end-with-stdin", action="store_true", help="end when stdin is closed")
    serve(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
