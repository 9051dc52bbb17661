"""CloudQuery's Hub and GitHub's releases, as far as plugins are fetched from them, on loopback.

    with Hub() as hub:
        hub.publish("source", "crm", "v1.0.0", program=b"#!/bin/sh …")
        environment = hub.environment()

Routes: /plugins/TEAM/KIND/NAME[/versions/V[/assets/OS_ARCH]], the same below /teams/TEAM, /teams, /files/…
(signed: a request with a token is refused there), and /ORG/REPO/releases/download/TAG/FILE.
"""

from __future__ import annotations

import hashlib
import io
import json
import threading
import zipfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

from contracts.plugin.cache import Target

KEY = "cqk-of-our-team"
TEAM = "our-team"


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


@dataclass
class Release:
    """A version. `private`: only for our team; `redirects`: the asset answers 302, without a checksum."""

    facts: dict[str, Any]
    archive: bytes = b""
    checksum: str | None = None
    private: bool = False
    redirects: bool = False


@dataclass
class Hub:
    """`failing`: statuses with which the next requests are answered, whatever they ask; `cut`: downloads
    that break off in the middle. `requests`: (path, token) of every request.
    """

    teams: list[str] = field(default_factory=lambda: [TEAM])
    releases: dict[tuple[str, str, str], Release] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    failing: list[int] = field(default_factory=list)
    cut: int = 0
    requests: list[tuple[str, str]] = field(default_factory=list)

    def publish(
        self, kind: str, name: str, version: str, program: bytes = b"", **more: Any
    ) -> Release:
        target = Target.here()
        member = f"plugin-{name}-{version}-{target.os}-{target.arch}{target.suffix}"
        archive = zipped(**{member: program, "README.md": b"hello"})
        facts = {"name": version, "package_type": "native", "protocols": [3], "supported_targets": [str(target)], **more}  # fmt: skip
        release = Release(facts, archive, hashlib.sha256(archive).hexdigest())
        self.releases[kind, name, version] = release
        return release

    def environment(self, key: str = "") -> dict[str, str]:
        found = {"CLOUDQUERY_API_URL": self.url, "SHARDER_GITHUB_URL": self.url}
        return found | ({"CLOUDQUERY_API_KEY": key} if key else {})

    def __enter__(self) -> Self:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub._answer(self)

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})  # fmt: skip
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        path = urlsplit(request.path).path
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.requests.append((path, token))
        if self.failing:
            _send(request, self.failing.pop(0), {"message": "as the test wants it"}, {"Retry-After": "7"})  # fmt: skip
            return
        if token and token != KEY:
            _send(request, 401, {"message": "no such key"})
            return
        match path.strip("/").split("/"):
            case ["teams"]:
                _send(request, 200, {"items": [{"name": name} for name in self.teams]})
            case ["teams", str(), "plugins", _, kind, name, "versions", version, "assets", target]:
                self._asset(request, (kind, name, version), target, token)
            case ["plugins", _, kind, name, "versions", version, "assets", target]:
                self._asset(request, (kind, name, version), target, token)
            case ["plugins", _, kind, name, "versions", version]:
                release = self._found((kind, name, version), token)
                _send(request, 200 if release else 404, release.facts if release else {})
            case ["plugins", _, kind, name]:
                versions = [v for k, n, v in self.releases if (k, n) == (kind, name)]
                _send(request, 200 if versions else 404, {"latest_version": max(versions, default="")})  # fmt: skip
            case _:
                self._file(request, path, token)

    def _found(self, key: tuple[str, str, str], token: str) -> Release | None:
        release = self.releases.get(key)
        return release if release and (token == KEY or not release.private) else None

    def _asset(self, request: BaseHTTPRequestHandler, key: tuple[str, str, str], target: str, token: str) -> None:  # fmt: skip
        release = self._found(key, token)
        if release is None or target != str(Target.here()):
            _send(request, 404, {"message": "not found"})
            return
        path = f"/files/{'-'.join(key)}.zip"
        self.files[path] = release.archive
        if release.redirects:
            _send(request, 302, {}, {"Location": f"{self.url}{path}?signature=1"})
        else:
            _send(request, 200, {"location": f"{self.url}{path}?signature=1", "checksum": release.checksum})  # fmt: skip

    def _file(self, request: BaseHTTPRequestHandler, path: str, token: str) -> None:
        if path not in self.files or token:
            _send(request, 400 if token else 404, {})
            return
        content = self.files[path]
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if self.cut:
            self.cut -= 1
            request.wfile.write(content[: len(content) // 2])
            request.close_connection = True
        else:
            request.wfile.write(content)


def _send(request: BaseHTTPRequestHandler, status: int, body: object, headers: dict[str, str] | None = None) -> None:  # fmt: skip
    text = json.dumps(body).encode()
    request.send_response(status)
    for name, value in {**(headers or {}), "Content-Length": str(len(text))}.items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(text)
