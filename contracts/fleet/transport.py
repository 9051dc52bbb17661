"""How kombu talks to Redis: the same options for who writes and who reads, or messages come twice."""

from __future__ import annotations

import ssl
from typing import Any

from contracts.errors import missing_extra
from contracts.fleet.broker import SOCKET
from contracts.fleet.names import VISIBILITY_S

OPTIONS: dict[str, Any] = {"visibility_timeout": VISIBILITY_S, **SOCKET}


def tls(url: str) -> dict[str, Any] | None:
    """rediss:// means that the server's certificate is checked."""
    return {"ssl_cert_reqs": ssl.CERT_REQUIRED} if url.startswith("rediss://") else None


def connection(url: str) -> Any:
    """A kombu connection; nothing is sent yet."""
    try:
        from kombu.connection import Connection
    except ImportError as error:
        raise missing_extra("celery", "fleet", "a broker") from error
    # kombu would wait 6 s before it says that nobody listens; patience is the caller's affair.
    hasty = {"max_retries": 1, "interval_start": 0}
    connect: Any = Connection  # kombu has no types
    return connect(url, transport_options={**OPTIONS, **hasty}, ssl=tls(url))
