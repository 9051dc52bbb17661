"""Questions over HTTP, and downloads; the standard library is enough for both.

An answer that is no 200 is an answer. Only whoever asks knows what it means.
"""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from contracts.errors import NotFound, Permanent, Transient, Unreachable

TRIES = 5
_TIMEOUT_S = 30.0
_MOST_ANSWER = 8 << 20
_MOST_FILE = 4 << 30
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """Raises Permanent: who answers so is not whom we meant."""
        try:
            found = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            raise Permanent("the answer is no JSON object", "is the address that of the Hub's API?")
        return found

    @property
    def said(self) -> str:
        """Its `message`, if there is one."""
        try:
            return str(orjson.loads(self.body).get("message", ""))
        except (orjson.JSONDecodeError, AttributeError):
            return ""

    @property
    def after_s(self) -> float:
        """As Retry-After says; 0: it does not."""
        text = self.headers.get("retry-after", "")
        return float(text) if text.isdigit() else 0.0


class _Stays(urllib.request.HTTPRedirectHandler):
    """A redirection is an answer too: followed, it would take our token to another host."""

    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        return None


class Web:
    """`pause` waits between tries, in seconds."""

    def __init__(self, pause: Callable[[float], None] = time.sleep) -> None:
        self._pause = pause
        self._asks = urllib.request.build_opener(_Stays)
        self._follows = urllib.request.build_opener()

    def ask(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Answers of 5xx are asked again, up to three times. Raises Unreachable if nobody answers."""
        answer = self._once(url, headers or {})
        for wait_s in (0.5, 2.0):
            if answer.status < 500:
                break
            self._pause(wait_s)
            answer = self._once(url, headers or {})
        return answer

    def _once(self, url: str, headers: Mapping[str, str]) -> Answer:
        request = urllib.request.Request(_checked(url), headers=dict(headers))  # noqa: S310 — checked
        try:
            with self._asks.open(request, timeout=_TIMEOUT_S) as reply:
                return Answer(reply.status, reply.read(_MOST_ANSWER), _lower(reply.headers))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read(_MOST_ANSWER), _lower(error.headers))
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"{_host(url)} does not answer: {_why(error)}") from error

    def download(self, url: str, place: Path) -> str:
        """The file at `url` into `place`; its SHA-256. Without any header of ours: addresses are signed.

        Up to five tries; 404 is final. Raises NotFound, Unreachable.
        """
        for attempt in range(TRIES):
            try:
                return self._into(url, place)
            except Transient:
                if attempt + 1 == TRIES:
                    raise
                self._pause(min(2.0**attempt, 10.0))
        raise AssertionError

    def _into(self, url: str, place: Path) -> str:
        digest, size = hashlib.sha256(), 0
        try:
            with self._follows.open(_checked(url), timeout=_TIMEOUT_S) as reply, place.open("wb") as file:  # fmt: skip
                expected = reply.headers.get("Content-Length")
                while chunk := reply.read(_CHUNK):
                    size += len(chunk)
                    if size > _MOST_FILE:
                        raise Permanent(
                            f"{_host(url)} sends more than {_MOST_FILE >> 30} GiB: that is no plugin"
                        )
                    digest.update(chunk)
                    file.write(chunk)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:
                    raise NotFound(f"{_host(url)} has no such file: {_shown(url)}") from error
                raise Unreachable(f"{_host(url)} answers {error.code} for {_shown(url)}") from error
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"the download from {_host(url)} broke off: {_why(error)}") from error
        if expected and size != int(expected):
            raise Unreachable(f"the download from {_host(url)} broke off after {size:,} bytes")
        return digest.hexdigest()


def _checked(url: str) -> str:
    """No file://, no ftp://, wherever the address comes from."""
    if urlsplit(url).scheme not in {"http", "https"}:
        raise Permanent(f"'{_shown(url)}' is no address of the web")
    return url


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def _shown(url: str) -> str:
    """Without the signature."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{_host(url)}{parts.path}"


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _why(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return str(getattr(reason, "strerror", None) or reason)
