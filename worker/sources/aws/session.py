"""One botocore session per process, and its clients, shared by all accounts.

A client costs 12–600 ms and up to a megabyte, so there is one per (service, region), not per account:
its credentials are those of the context in which a call is made (`using`). Account-based endpoints
are off, because they would tie a client to an account. Sessions are not thread-safe, clients are:
clients are made under a lock.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import ProfileNotFound

from contracts.errors import Denied, InputError
from worker.sources.aws.options import Options
from worker.sources.aws.values import timestamp
from worker.sources.aws.xmlparser import Parsers

_CLIENTS = 96  # at most 1.4 MB each; the least recently used goes first

_current: ContextVar[ReadOnlyCredentials] = ContextVar("credentials of the current call")


@contextmanager
def using(credentials: ReadOnlyCredentials) -> Iterator[None]:
    """Calls inside are signed with these credentials."""
    token = _current.set(credentials)
    try:
        yield
    finally:
        _current.reset(token)


class _Current(Credentials):
    """Credentials that are looked up when a request is signed."""

    def __init__(self) -> None:
        super().__init__("current", "current", method="sharder")

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        return _current.get()


class _Provider:
    """Stands where botocore's credential chain stands."""

    def load_credentials(self) -> Credentials:
        return _Current()


@dataclass(frozen=True)
class Endpoint:
    """What all clients of a session have in common; equal ones share the session."""

    url: str = ""
    hostname_immutable: bool = True
    attempts: int = 7
    threads: int = 24

    @classmethod
    def of(cls, options: Options) -> Endpoint:
        return cls(
            url=options.custom_endpoint_url,
            hostname_immutable=options.custom_endpoint_hostname_immutable,
            attempts=options.max_retries + 1,
            threads=options.threads,
        )

    def config(self, region: str) -> Config:
        return Config(
            region_name=region,
            # `adaptive` would slow every account on a shared client because one is throttled.
            retries={"mode": "standard", "total_max_attempts": self.attempts},
            max_pool_connections=self.threads + 2,
            connect_timeout=10,
            read_timeout=60,
            tcp_keepalive=True,
            parameter_validation=False,  # the compiler checked every input
            inject_host_prefix=not (self.url and self.hostname_immutable),
            account_id_endpoint_mode="disabled",
            s3={"addressing_style": "path" if self.url and self.hostname_immutable else "auto"},
            user_agent_extra="sharder",
        )


class Session:
    """Clients by (service, region), and the credentials that the machine itself has."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._clients: OrderedDict[tuple[str, str], Any] = OrderedDict()
        self._base: dict[str, Credentials] = {}
        self._session = botocore.session.Session()
        self._session.register_component("credential_provider", _Provider())
        # UTC whatever the machine's zone, and several times faster than botocore's own parser.
        parsers = Parsers(timestamp_parser=timestamp)
        self._session.register_component("response_parser_factory", parsers)

    def client(self, service: str, region: str) -> Any:
        """A client, made at the first call. The lock is held while models load: once per service."""
        with self._lock:
            key = (service, region)
            if key not in self._clients:
                self._clients[key] = self._session.create_client(
                    service,
                    region_name=region,
                    endpoint_url=self._endpoint.url or None,
                    config=self._endpoint.config(region),
                )
                if len(self._clients) > _CLIENTS:
                    self._clients.popitem(last=False)
            self._clients.move_to_end(key)
            return self._clients[key]

    def base(self, profile: str) -> ReadOnlyCredentials:
        """The credentials of a profile, or of the default chain. Raises Denied if there are none."""
        with self._lock:
            if profile not in self._base:
                self._base[profile] = _found(profile)
        return self._base[profile].get_frozen_credentials()


def _found(profile: str) -> Credentials:
    try:
        found = botocore.session.Session(profile=profile or None).get_credentials()
    except ProfileNotFound as error:
        raise InputError(
            f"there is no AWS profile {profile!r}", "name one of the shared credentials file"
        ) from error
    if found is None:
        raise Denied(
            "no AWS credentials were found",
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile, or run under a role",
        )
    return found


_sessions: dict[Endpoint, Session] = {}
_sessions_lock = threading.Lock()


def shared(endpoint: Endpoint) -> Session:
    """The process's session for an endpoint: warm clients serve shard after shard."""
    with _sessions_lock:
        if endpoint not in _sessions:
            _sessions[endpoint] = Session(endpoint)
        return _sessions[endpoint]
