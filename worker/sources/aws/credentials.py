"""Credentials per account: roles assumed when first needed, kept for the process, renewed before they end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import BotoCoreError, ClientError

from contracts.errors import SharderError
from worker.sources.aws.accounts import Account, Principal, Role
from worker.sources.aws.session import Session, using

_SPARE = timedelta(minutes=10)  # a call may still be retried while it carries the old ones


@dataclass(frozen=True)
class _Assumed:
    credentials: ReadOnlyCredentials
    until: datetime


class Vault:
    """The credentials of one process. A role that was refused is not asked for again until `forgive`."""

    def __init__(self, session: Session, now: Callable[[], datetime]) -> None:
        self._session = session
        self._now = now
        self._lock = threading.Lock()
        self._locks: dict[tuple[Principal, str], threading.Lock] = {}
        self._assumed: dict[tuple[Principal, str], _Assumed] = {}
        self._refused: dict[tuple[Principal, str], Exception] = {}

    def of(self, account: Account) -> ReadOnlyCredentials:
        """Raises what botocore or the session raised if there are none to be had."""
        return self._of(account.principal, account.home)

    def _of(self, principal: Principal, home: str) -> ReadOnlyCredentials:
        if not principal.roles:
            return self._session.base(principal.profile)
        key = (principal, home)
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if error := self._refused.get(key):
                raise error.with_traceback(None)
            kept = self._assumed.get(key)
            if kept is None or kept.until - _SPARE < self._now():
                try:
                    kept = self._assume(principal, home)
                except (ClientError, BotoCoreError, SharderError) as error:
                    self._refused[key] = error
                    raise
                self._assumed[key] = kept
            return kept.credentials

    def renew(self, account: Account) -> None:
        """Forget the account's credentials: AWS says that they have expired."""
        self._assumed.pop((account.principal, account.home), None)

    def forgive(self) -> None:
        """Ask again for roles that were refused: a new shard begins."""
        self._refused.clear()

    def _assume(self, principal: Principal, home: str) -> _Assumed:
        *before, role = principal.roles
        source = self._of(Principal(principal.profile, tuple(before)), home)
        sts = self._session.client("sts", home)
        with using(source):
            answer = sts.assume_role(**_request(role))["Credentials"]
        credentials = ReadOnlyCredentials(
            answer["AccessKeyId"], answer["SecretAccessKey"], answer["SessionToken"], None
        )
        return _Assumed(credentials, answer["Expiration"].astimezone(UTC))


def _request(role: Role) -> dict[str, Any]:
    request = {"RoleArn": role.arn, "RoleSessionName": role.session_name}
    return request | ({"ExternalId": role.external_id} if role.external_id else {})
