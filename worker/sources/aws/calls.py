"""Making one call for one account and region: credentials, pace, the answer without its metadata."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any

from botocore import xform_name
from botocore.exceptions import ClientError

from contracts.observe import metrics
from worker.sources.aws.accounts import Account
from worker.sources.aws.credentials import Vault
from worker.sources.aws.locked import Call, regions
from worker.sources.aws.outcomes import (
    CallErrors,
    Ending,
    ending,
    is_expired,
    is_throttled,
    retry_after_s,
)
from worker.sources.aws.pace import AwsPace
from worker.sources.aws.paging import Token, following
from worker.sources.aws.session import Session, using
from worker.sources.aws.values import below
from worker.sources.base import Context

log = logging.getLogger(__name__)

Output = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Whom we ask: an account, in a region."""

    account: Account
    region: str

    @property
    def partition(self) -> str:
        known = regions().partitions
        return next((p for p, r in known.items() if self.region in r), self.account.partition)


@dataclass(frozen=True)
class Page:
    """One answer of a list: its elements, and what asks for the next."""

    items: list[Any]
    token: Token | None


class Caller:
    """The calls of one process. Thread-safe; every method is one or more requests, and blocks."""

    def __init__(
        self,
        session: Session,
        vault: Vault,
        pace: AwsPace,
        context: Context,
        *,
        debug: bool = False,
    ) -> None:
        self.now = context.now
        self.sleep = context.sleep
        self._source = context.name
        self._session = session
        self._vault = vault
        self._pace = pace
        self._debug = debug
        self._works: dict[str, bool] = {}
        self._works_lock = Lock()

    def call(self, place: Place, service: str, op: str, inputs: Mapping[str, Any]) -> Output:
        """Raises what botocore raises, after its retries; expired credentials are renewed once."""
        self._pace.wait(place.account.number, place.region, service, op)
        try:
            return self._signed(place, service, op, inputs)
        except ClientError as error:
            if is_throttled(error):
                after_s = retry_after_s(error.response)
                self._pace.throttled(place.account.number, place.region, service, op, after_s)
            if not is_expired(error):
                raise
        self._vault.renew(place.account)
        return self._signed(place, service, op, inputs)

    def page(
        self, place: Place, service: str, call: Call, inputs: Mapping[str, Any], token: Token | None
    ) -> Page:
        """One page of a list call, or its only answer."""
        asked = token or {}
        output = self.call(place, service, call.op, {**self.constants(call), **inputs, **asked})
        items = [output] if call.shape == "whole" else below(output, call.path)
        return Page(items, following(call.paging, output, asked))

    def whole(self, place: Place, service: str, call: Call, inputs: Mapping[str, Any]) -> Output:
        """The answer of a further call; a list that is paged is read to its end and joined."""
        constants = {**self.constants(call), **inputs}
        output = self.call(place, service, call.op, constants)
        name = call.path.removesuffix("[]")
        first = output
        asked: Token = {}
        while token := following(call.paging, output, asked):
            asked = token
            output = self.call(place, service, call.op, {**constants, **asked})
            first[name] = [*first.get(name, []), *output.get(name, [])]
        return first

    def constants(self, call: Call) -> dict[str, Any]:
        """The call's own inputs; `$name` is worked out now."""
        return {
            k: _MOVING[v](self.now()) if isinstance(v, str) and v.startswith("$") else v
            for k, v in call.inputs.items()
        }

    def ending(self, error: Exception, place: Place, call: str) -> Ending:
        """What an error means for the cell at `place`."""
        return ending(
            error,
            place.region,
            works_elsewhere=lambda: self._works_at_home(place.account),
            call=call,
        )

    def failure(self, error: Exception, client: str) -> Ending:
        """What an error means for a client that could not even be asked."""
        return ending(error, "", works_elsewhere=lambda: False, call=f"client {client}")

    def _signed(self, place: Place, service: str, op: str, inputs: Mapping[str, Any]) -> Output:
        credentials = self._vault.of(place.account)
        method: Callable[..., Output] = getattr(
            self._session.client(service, place.region), xform_name(op)
        )
        start = time.monotonic()
        result = "error"
        try:
            with using(credentials):
                output = method(**inputs)
            result = "ok"
        except ClientError as error:
            result = "throttled" if is_throttled(error) else "error"
            raise
        finally:
            metrics.count(
                "sharder_api_calls_total", source=self._source, service=service, result=result
            )
            if self._debug:
                where = f"{place.account.number}:{place.region}"
                took = time.monotonic() - start
                log.info("call %s %s.%s %s %.3f s", where, service, op, result, took)
        metadata = output.pop("ResponseMetadata", {})
        if retries := metadata.get("RetryAttempts", 0):
            names = {"source": self._source, "service": service}
            metrics.count("sharder_api_retries_total", retries, **names)
            self._pace.throttled(place.account.number, place.region, service, op)
        return output

    def _works_at_home(self, account: Account) -> bool:
        """Whether the account's credentials work in its home region; asked once."""
        with self._works_lock:
            if account.number not in self._works:
                try:
                    self._signed(Place(account, account.home), "sts", "GetCallerIdentity", {})
                    self._works[account.number] = True
                except CallErrors:
                    self._works[account.number] = False
            return self._works[account.number]


def _last_30d(now: datetime) -> dict[str, str]:
    """The last thirty whole days, as Cost Explorer wants them: the end is not included."""
    today = now.astimezone(UTC).date()
    return {"Start": (today - timedelta(days=30)).isoformat(), "End": today.isoformat()}


_MOVING: Mapping[str, Callable[[datetime], Any]] = {"$last_30d": _last_30d}
