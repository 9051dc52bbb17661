"""What every obstore client of ours has in common: an opened bucket, patience, TLS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from contracts.errors import InputError
from contracts.store.failures import Terms

# One buffer is filled while another is sent. S3 allows 10,000 pieces: an object may have 78 GiB.
UPLOAD_BYTES = 8 << 20
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class Bucket:
    """A bucket or container, opened; `client` is obstore's."""

    url: str
    name: str
    terms: Terms
    client: Any
    piece: int = UPLOAD_BYTES  # uploads are sent in pieces of so many bytes
    attributes: Mapping[str, str] = field(default_factory=dict)  # of every object: Content-Type
    debug: bool = False  # log every operation


def client_options(*, http: bool, unverified: bool = False) -> Any:
    """For every constructor of obstore."""
    return {
        "allow_http": http,
        "allow_invalid_certificates": unverified,
        "connect_timeout": "5s",
        "timeout": "60s",  # of one request: a piece of 8 MiB at 140 kB/s
    }


def retries(patience_s: float, *, times: int = 10, pause_s: float = 10.0) -> Any:
    """Transient answers are asked for again, at growing distances of at most `pause_s`."""
    return {
        "max_retries": times,
        "retry_timeout": timedelta(seconds=patience_s),
        "backoff": {
            "init_backoff": timedelta(milliseconds=min(100, pause_s * 1000)),
            "max_backoff": timedelta(seconds=pause_s),
            "base": 2,
        },
    }


def may_use_http(endpoint: str, switch: str, environment: Mapping[str, str]) -> bool:
    """Plain HTTP to this machine, or where a variable says so (a store inside a cluster).

    Raises InputError for another endpoint without encryption.
    """
    local = urlsplit(endpoint).hostname in _LOOPBACK
    allowed = local or environment.get(switch, "").lower() == "true"
    if endpoint.startswith("http://") and not allowed:
        raise InputError(
            f"the store's endpoint is {endpoint}, without encryption",
            f"use https, or set {switch}=true for a store inside your own network",
        )
    return allowed
