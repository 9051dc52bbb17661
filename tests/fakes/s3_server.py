"""An S3 server for tests: moto behind one lock, with buckets that misbehave on purpose.

moto checks a condition first and writes afterwards, without a lock, so two creators can both win.
Here one request at a time reaches it. Keep-alive connections are served by threads: a single thread
would wait for ever on the first client's idle connection.

The name of a bucket says how it misbehaves:
  deaf-…      ignores If-None-Match, as some S3 look-alikes do
  denied-…    answers 403 AccessDenied
  busy-…      answers 409 ConditionalRequestConflict to the first conditional write of each key
  down-…      answers 503 SlowDown to everything
  slow-…      answers 503 SlowDown to the first request of each method and key
  mute-…      writes, but drops the reply of the first PUT of each key

`GET /_requests` returns the requests since the last call, one JSON list of [method, path and query];
`GET /_headers` their `authorization` and `x-amz-…` headers, `GET /_forms` what was posted as a form (to STS).
The role `denied` may not be assumed. With `--tls` the server speaks TLS, with a certificate of its own making.
The first line on stdout is the port. The server ends when its stdin does.
"""

from __future__ import annotations

import io
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_ERROR = (
    '<?xml version="1.0"?><Error><Code>{0}</Code><Message>{0} by the test server</Message></Error>'
)

_STS_ERROR = f"<ErrorResponse>{_ERROR.partition('?>')[2]}</ErrorResponse>"


class Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # keep-alive, as the real service
    disable_nagle_algorithm = True  # headers and body are two writes: 40 ms of delayed ACK each

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - werkzeug's signature
        """Quiet: the requests are counted, not logged."""


class Misbehaving:
    """WSGI middleware: takes requests one at a time, and applies the rules of the bucket's name."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._requests: list[tuple[str, str]] = []
        self._headers: list[dict[str, str]] = []
        self._forms: list[str] = []
        self._met: set[tuple[str, str]] = set()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        # Read the body before taking the lock: a client that stalls must not stop the others.
        stream = environ["wsgi.input"]
        if environ.pop("HTTP_TRANSFER_ENCODING", "").lower() == "chunked":
            body = stream.read()
        else:
            body = stream.read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
        with self._lock:
            return self._serve(environ, start)

    def _serve(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if path == "/_requests":
            seen, self._requests = self._requests, []
            return self._answer(start, "200 OK", json.dumps(seen))
        if path == "/_headers":
            headers, self._headers = self._headers, []
            return self._answer(start, "200 OK", json.dumps(headers))
        if path == "/_forms":
            forms, self._forms = self._forms, []
            return self._answer(start, "200 OK", json.dumps(forms))
        self._headers.append(
            {
                name[5:].lower().replace("_", "-"): value
                for name, value in environ.items()
                if name.startswith(("HTTP_AUTHORIZATION", "HTTP_X_AMZ_"))
            }
        )
        if "form" in environ.get("CONTENT_TYPE", ""):
            form = environ["wsgi.input"].getvalue().decode()
            self._forms.append(form)
            if "role%2Fdenied" in form:
                return self._refuse(start, "403 Forbidden", "AccessDenied", _STS_ERROR)
        query = environ.get("QUERY_STRING", "")
        self._requests.append((method, f"{path}?{query}" if query else path))
        bucket, _, key = path.strip("/").partition("/")
        fault, dashed, _ = bucket.partition("-")
        if dashed and key:
            first = (method, path) not in self._met
            if fault == "busy" and "HTTP_IF_NONE_MATCH" in environ and first:
                self._met.add((method, path))
                return self._refuse(start, "409 Conflict", "ConditionalRequestConflict")
            if fault == "down":
                return self._refuse(start, "503 Slow Down", "SlowDown")
            if fault == "slow" and first:
                self._met.add((method, path))
                return self._refuse(start, "503 Slow Down", "SlowDown")
            if fault == "mute" and method == "PUT" and first:
                self._met.add((method, path))
                b"".join(self._app(environ, lambda *_: lambda _data: None))
                environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
                raise ConnectionAbortedError
            if fault == "deaf":
                environ.pop("HTTP_IF_NONE_MATCH", None)
        if dashed and fault == "denied" and (key or method == "GET"):
            return self._refuse(start, "403 Forbidden", "AccessDenied")
        return [b"".join(self._app(environ, start))]

    def _refuse(
        self, start: Callable[..., Any], status: str, code: str, text: str = _ERROR
    ) -> Iterable[bytes]:
        return self._answer(start, status, text.format(code))

    def _answer(self, start: Callable[..., Any], status: str, text: str) -> Iterable[bytes]:
        body = text.encode()
        start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [body]


def main() -> None:
    app = Misbehaving(DomainDispatcherApplication(create_backend_app))
    server = make_server(
        "127.0.0.1",
        0,
        app,
        threaded=True,
        request_handler=Handler,
        ssl_context="adhoc" if "--tls" in sys.argv else None,
    )
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
