"""What an AWS error means for a cell: denied, off, no such region, throttled, expired, or just failed.

A denied call is never an empty table, and a list of regions is never a proof: only AWS's own answer says
that a service is not there, and only when the same credentials (or the network) work elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoRegionError,
    UnknownEndpointError,
    UnknownRegionError,
)

from contracts.commit import Outcome
from contracts.errors import Reason, SharderError, Transient
from worker.sources.aws.regions import USUAL

_DENIED = re.compile(
    r"AccessDenied|UnauthorizedOperation|AuthorizationError|UnauthorizedAccess|NotAuthorized|^Forbidden$|^403$"
)
_OFF = re.compile(
    r"OptInRequired|SubscriptionRequired|NotEnabled|NotSubscribed|AWSOrganizationsNotInUse"
)
_NO_REGION = re.compile(r"^InvalidAction$|UnknownOperation|UnsupportedOperationInRegion")
_NO_REGION_TEXT = re.compile(
    r"not (?:available|supported) in (?:the|this)[\w\s-]* region", re.IGNORECASE
)
_STRANGER = re.compile(r"UnrecognizedClient|InvalidClientTokenId|^AuthFailure$|InvalidAccessKeyId")
_THROTTLED = re.compile(
    r"Throttl|RequestLimitExceeded|TooManyRequests|SlowDown|RequestThrottled|LimitExceededException"
    r"|BandwidthLimitExceeded|PriorRequestNotComplete"
)
_EXPIRED = re.compile(r"ExpiredToken|RequestExpired|TokenRefreshRequired")
_ABSENT = re.compile(r"NotFound|NoSuch|DoesNotExist|NonExistent")
_LONGEST = 500  # characters of an error that go into a commit

# In every other region an unknown token means that the region is not enabled.
_ALWAYS_ON = frozenset(region for regions in USUAL.values() for region in regions)


@dataclass(frozen=True)
class Ending:
    """How a cell ended, if not ok."""

    outcome: Outcome
    reason: Reason
    message: str


def code(error: BaseException) -> str:
    """AWS's error code, or nothing."""
    return (
        str(error.response.get("Error", {}).get("Code", ""))
        if isinstance(error, ClientError)
        else ""
    )


def is_absent(error: BaseException, declared: tuple[str, ...], *, usual: bool) -> bool:
    """Whether an error only says "there is none": a declared code or, with `usual`, a NotFound of any kind."""
    found = code(error)
    return found in declared or bool(usual and _ABSENT.search(found))


def is_expired(error: BaseException) -> bool:
    return bool(_EXPIRED.search(code(error)))


def is_throttled(error: BaseException) -> bool:
    return bool(_THROTTLED.search(code(error)))


def retry_after_s(response: Mapping[str, Any]) -> float:
    """Seconds of an answer's `Retry-After`; 0 if it has none, or a date."""
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    text = str(headers.get("retry-after", "")).strip()
    return float(text) if text.isdecimal() else 0.0


def ending(
    error: Exception, region: str, *, works_elsewhere: Callable[[], bool], call: str
) -> Ending:
    """The ending of the cell whose call raised. `works_elsewhere` asks whether the same credentials
    (for a name that does not resolve: the network) work in the account's home region.
    """
    text = f"{call}: {error}"[:_LONGEST]
    if isinstance(error, SharderError):
        return Ending(
            "failed", error.reason if not isinstance(error, Transient) else "failed", text
        )
    if isinstance(error, UnknownRegionError | UnknownEndpointError | NoRegionError):
        return Ending("skipped", "region_off", text)
    if isinstance(error, EndpointConnectionError):
        nowhere = "resolve" in str(error.kwargs.get("error", "")).lower() and works_elsewhere()
        return (
            Ending("skipped", "region_off", text) if nowhere else Ending("failed", "failed", text)
        )
    if isinstance(error, ClientError):
        return _answered(error, region, works_elsewhere, text)
    return Ending("failed", "failed", text)


def _answered(
    error: ClientError, region: str, works_elsewhere: Callable[[], bool], text: str
) -> Ending:
    found = code(error)
    if _THROTTLED.search(found):
        return Ending("failed", "throttled", text)
    if _EXPIRED.search(found):
        return Ending("failed", "expired", text)
    if _OFF.search(found):
        return Ending("skipped", "off", text)
    if _NO_REGION.search(found) or _NO_REGION_TEXT.search(str(error)):
        return Ending("skipped", "region_off", text)
    if _STRANGER.search(found):
        off = region not in _ALWAYS_ON and works_elsewhere()
        return Ending("skipped", "region_off", text) if off else Ending("failed", "denied", text)
    if _DENIED.search(found):
        return Ending("failed", "denied", text)
    return Ending("failed", "failed", text)


CallErrors = (ClientError, BotoCoreError, SharderError)
