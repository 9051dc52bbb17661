"""The connection to Redis, and what its errors mean. The password never appears in a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from contracts.errors import Denied, InputError, SharderError, Unreachable, missing_extra

if TYPE_CHECKING:
    from redis import Redis

# A dead peer must not hold us for the minutes that TCP would.
SOCKET: dict[str, Any] = {
    "socket_connect_timeout": 5,
    "socket_timeout": 30,
    "socket_keepalive": True,
}


def masked(url: str) -> str:
    """The broker's URL without its password, for messages."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:***@{place}"))


def connect(url: str) -> Redis:
    """A client; nothing is sent yet. Raises InputError for a URL that is not Redis's."""
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
    try:
        return redis.Redis.from_url(url, decode_responses=True, retry=again, **SOCKET)
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
    return Unreachable(
        f"the broker {masked(url)} does not answer: {str(error)[:200] or type(error).__name__}",
        "check that Redis runs there, and SHARDER_BROKER or `broker`",
    )


def check(url: str) -> None:
    """Say now, in one sentence, what would else be a retry loop in a worker's log."""
    with connect(url) as client, asking(url):
        client.ping()
