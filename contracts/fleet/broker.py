"""The connection to Redis, and what its errors mean. The password never appears in a sentence."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from contracts.errors import Denied, InputError, SharderError, Unreachable, missing_extra

if TYPE_CHECKING:
    from redis import Redis

# A dead peer must not hold us for the minutes that TCP would.
SOCKET: dict[str, Any] = {
    "socket_connect_timeout": 5,
    "socket_timeout": 30,
    "socket_keepalive": True,
}


_LOGIN = re.compile(r"(?<=://)([^:/?#@]*)(:?)(.*)@", re.DOTALL)
_QUERY = re.compile(r"((?:^|[?&])[^=&]*password=)([^&#]+)")


def masked(url: str) -> str:
    """The broker's URL without its password, for messages; also where that has separators in it."""
    url = _LOGIN.sub(lambda m: f"{m[1]}:***@" if m[2] else f"{'***' if m[3] else m[1]}@", url)
    return _QUERY.sub(r"\1***", url)


def _said(error: BaseException, url: str) -> str:
    """What a library says, without what it may have taken for a host or a port."""
    text = str(error) or type(error).__name__
    login = _LOGIN.search(url)
    # Without a colon, and with no separator, it is the name of a user.
    found = [login[3] if login[2] else f"{login[1]}{login[3]}" * bool(login[3])] if login else []
    found += [m[2] for m in _QUERY.finditer(url)]
    pieces = {
        p for secret in found for p in (secret, unquote(secret), *re.split(r"[@/:?#]", secret))
    }
    for piece in sorted(pieces, key=len, reverse=True):
        if len(piece) > 3:
            text = text.replace(piece, "***")
    return text[:200]


def connect(url: str, *, timeout_s: float = 0.0) -> Redis:
    """A client; nothing is sent yet. `timeout_s`: for callers in a hurry.

    Raises InputError for a URL that is not Redis's.
    """
    if not url.startswith(("redis://", "rediss://")):
        raise InputError(
            f"no broker for {masked(url)!r}", "write redis://host:6379/0 (rediss:// for TLS)"
        )
    try:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise missing_extra("redis", "fleet", "a broker") from error
    # One more try, at once: an idle connection that was cut. Patience is the caller's affair.
    again = Retry(NoBackoff(), 1)
    hasty = {"socket_connect_timeout": timeout_s, "socket_timeout": timeout_s} if timeout_s else {}
    try:
        return redis.Redis.from_url(url, decode_responses=True, retry=again, **{**SOCKET, **hasty})
    except ValueError as error:  # a port that is not a number
        raise InputError(f"not a broker: {masked(url)!r}", "write redis://host:6379/0") from error


@contextmanager
def asking(url: str) -> Iterator[None]:
    """Turn errors of redis-py, kombu and the network into ours."""
    import redis
    from kombu.exceptions import KombuError

    try:
        yield
    except (redis.RedisError, KombuError, OSError) as error:
        # A batch that failed says only so; its cause says why.
        raise translate(error.__cause__ or error, url) from error


def translate(error: BaseException, url: str) -> SharderError:
    """Our error for one of the broker's. A lost connection is Unreachable, a refusal Denied."""
    from redis import exceptions

    if isinstance(error, exceptions.AuthenticationError | exceptions.NoPermissionError):
        return Denied(
            f"the broker {masked(url)} refused the password",
            "check the user and the password in SHARDER_BROKER or in `broker`",
        )
    if isinstance(error, exceptions.OutOfMemoryError | exceptions.ReadOnlyError):
        return Unreachable(
            f"the broker {masked(url)} takes no messages: {type(error).__name__}",
            "raise its maxmemory (1 kB per message) under the policy noeviction, or see its log",
        )
    said = _said(error, url)
    if "certificate verify failed" in said or isinstance(error, ssl.SSLError):
        return Unreachable(
            f"the broker {masked(url)} is not trusted: {said}",
            "name the file of its authority: SSL_CERT_FILE=ca.pem, or rediss://…?ssl_ca_certs=ca.pem",
        )
    return Unreachable(
        f"the broker {masked(url)} does not answer: {said}",
        "check that Redis runs there, and SHARDER_BROKER or `broker`",
    )


def check(url: str) -> None:
    """Say now, in one sentence, what would else be a retry loop in a worker's log."""
    with connect(url) as client, asking(url):
        client.ping()
