"""The API over persistent connections, one per thread, with retries."""

from __future__ import annotations

import http.client
import ssl
import threading
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import orjson

from contracts.errors import Denied, Permanent, Transient, Unreachable
from worker.sources.base import Cancelled, Context

CLIENT = "hackernews"
SERVICE = "api"
RETRIES = 5
PAUSE_S = 10.0
TIMEOUT_S = 30.0
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})


class Api:
    """`max_item` and `item`, safe to call from many threads."""

    def __init__(self, base_url: str, context: Context) -> None:
        parts = urlsplit(base_url)
        self._url = base_url
        self._path = parts.path
        self._host = parts.hostname or ""
        self._port = parts.port
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._context = context
        self._local = threading.local()
        self._lock = threading.Lock()
        self._connections: list[http.client.HTTPConnection] = []

    def max_item(self) -> int:
        """The largest id there is. Raises Unreachable, Denied, Permanent."""
        found = self._get("/maxitem.json")
        if not isinstance(found, int):
            raise Permanent(f"{self._url}/maxitem.json is not a number: {found!r:.60}")
        return found

    def item(self, number: int) -> dict[str, Any] | None:
        """One item; None if it is missing."""
        found = self._get(f"/item/{number}.json")
        if not (found is None or isinstance(found, dict)):
            raise Permanent(f"{self._url}/item/{number}.json is not an item: {found!r:.60}")
        return found

    def close(self) -> None:
        with self._lock:
            for connection in self._connections:
                connection.close()
            self._connections.clear()

    def _get(self, path: str) -> Any:
        retried = 0
        while not self._context.cancelled():
            self._context.pace.take(CLIENT, SERVICE, self._context.rate_per_s)
            try:
                return self._ask(path)
            except Transient as error:
                if retried == RETRIES:
                    raise
                retried += 1
                if error.after_s > 0:  # said to one of us, meant for all
                    self._context.pace.hold(CLIENT, SERVICE, error.after_s)
                self._context.sleep(max(PAUSE_S, error.after_s))
        raise Cancelled

    def _ask(self, path: str) -> Any:
        try:
            status, retry_after, body = self._request(path)
        except (OSError, http.client.HTTPException) as error:
            self._drop()
            what = str(error) or type(error).__name__
            raise Unreachable(f"{self._url}{path} does not answer: {what}") from error
        if status == HTTPStatus.NOT_FOUND:
            return None
        if status in _RETRIED:
            raise Unreachable(f"{self._url}{path} answered {status}", after_s=retry_after)
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise Denied(f"{self._url}{path} answered {status}")
        if status != HTTPStatus.OK:
            raise Permanent(f"{self._url}{path} answered {status}")
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise Unreachable(f"{self._url}{path} is not JSON: {error}") from error

    def _request(self, path: str) -> tuple[int, float, bytes]:
        connection, used = self._connection()
        try:
            connection.request("GET", self._path + path)
            answer = connection.getresponse()
        except (ConnectionError, http.client.BadStatusLine):
            if not used:
                raise
            # The other side closed a connection that had nothing to do: no reason to wait.
            self._drop()
            connection, _ = self._connection()
            connection.request("GET", self._path + path)
            answer = connection.getresponse()
        self._local.used = True
        body = answer.read()
        return answer.status, seconds_of(answer.getheader("Retry-After")), body

    def _connection(self) -> tuple[http.client.HTTPConnection, bool]:
        """The connection of this thread, and whether it has answered before."""
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = (
                http.client.HTTPSConnection(
                    self._host, self._port, timeout=TIMEOUT_S, context=self._tls
                )
                if self._tls
                else http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
            )
            self._local.connection, self._local.used = connection, False
            with self._lock:
                self._connections.append(connection)
        return connection, self._local.used

    def _drop(self) -> None:
        connection = self._local.connection
        self._local.connection = None
        connection.close()
        with self._lock:
            self._connections.remove(connection)


def seconds_of(header: str | None) -> float:
    """`Retry-After` in seconds; 0 if it is absent or a date."""
    return float(header) if header and header.strip().isdecimal() else 0.0
