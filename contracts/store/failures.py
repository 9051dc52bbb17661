"""What a refused or lost request means. Each cloud brings its terms as data; the reasoning is one.

obstore gives a class and a text, so status and code are read from the text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from contracts.errors import Denied, NotFound, Permanent, SharderError, StoreUnfit, Unreachable

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_METADATA = ("169.254.169.254", "metadata.google.internal")  # asked when there is nothing else
_LOST = "redirect without LOCATION"
_FOREIGN = ("missing from response", "Unable to extract metadata")  # answers without their headers
_BUSY = frozenset({408, 409, 412, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Terms:
    """How one cloud speaks: its words for things, its error codes, what helps, and what it lacks."""

    noun: str  # what holds the objects
    service: str  # whose credentials these are
    absent: frozenset[str]  # codes: no such bucket
    refused: frozenset[str]  # codes: nobody has these credentials
    expired: frozenset[str]
    elsewhere: frozenset[str]  # codes: the bucket is in another region
    exists: frozenset[str]  # codes beside status 412: a create met an object
    hints: Mapping[str, str]  # absent, refused, expired, elsewhere, none, rights, silent
    tails: bool = True  # answers a request for an object's last bytes, whatever its size


@dataclass(frozen=True)
class Failure:
    """One refused or lost request: HTTP status (0: no answer), the service's code, our one-line text."""

    status: int
    code: str
    detail: str
    missing: bool  # the client's own verdict: no such object, or no such bucket
    denied: bool

    @classmethod
    def of(cls, error: Exception) -> Failure:
        if isinstance(error, RequestFailed):
            return error.failure
        text = str(error)
        status, code = _STATUS.search(text), _CODE.search(text)
        return cls(
            status=int(status[1]) if status else 0,
            code=code[1] if code else "",
            detail=_first_line(text),
            missing=isinstance(error, FileNotFoundError),
            denied=type(error).__name__ in {"PermissionDeniedError", "UnauthenticatedError"},
        )

    def exists(self, terms: Terms) -> bool:
        """A create met an object: 412, or the cloud's own code. S3's 409 is another request's conflict."""
        return self.status == 412 or self.code in terms.exists


class RequestFailed(Exception):
    """A failure of a client that tells status and code itself."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


def translate(
    error: Exception, terms: Terms, name: str, url: str, key: str, verb: str
) -> SharderError:
    """Our error for a client's; `name` is the bucket's, `verb` what we wanted to do."""
    failure, hints = Failure.of(error), terms.hints
    place, bucket = f"{url}/{key}", f"{terms.noun} '{name}'"
    if failure.code in terms.absent:
        return Permanent(f"{bucket} does not exist", hints["absent"])
    if failure.code in terms.refused:
        return Denied(
            f"{bucket}: the {terms.service} credentials are not valid ({failure.code})",
            hints["refused"],
        )
    if failure.code in terms.expired:
        return Denied(
            f"{bucket}: the {terms.service} credentials have expired ({failure.code})",
            hints["expired"],
        )
    # Amazon's redirect names no address, which the client reports without status and code.
    lost = _LOST in failure.detail
    if failure.code in terms.elsewhere or failure.status in {301, 307} or lost:
        return Permanent(f"{bucket} is in another region than the one asked", hints["elsewhere"])
    if any(server in failure.detail for server in _METADATA):
        return Denied(f"{bucket}: no {terms.service} credentials were found", hints["none"])
    if "token request" in failure.detail and failure.status not in {0, *_BUSY}:
        # Not the store answered, but who hands out tokens: its 404 is no missing object.
        return Denied(
            f"{bucket}: the {terms.service} credentials were refused: {failure.detail}",
            hints["refused"],
        )
    if failure.denied or failure.status in {401, 403}:
        return Denied(
            f"{bucket}: the credentials may not {verb} {place} ({failure.code or 'denied'})",
            hints["rights"],
        )
    if failure.missing or failure.status == 404:
        return NotFound(f"{place} does not exist")
    if failure.status in _BUSY:
        return Unreachable(
            f"{bucket} could not {verb} {key or 'it'}: {failure.status} {failure.code}".rstrip()
        )
    if any(sign in failure.detail for sign in _FOREIGN):
        return StoreUnfit(
            f"{bucket}: what answers is not quite {terms.service}'s store: {failure.detail}",
            "use the service itself, or an emulator that answers with the same headers",
        )
    if failure.status:
        return Permanent(f"{bucket} refused to {verb} {key}: {failure.detail}")
    return Unreachable(f"{bucket} does not answer: {failure.detail}", hints["silent"])


def unusable(error: Exception, terms: Terms, name: str) -> Denied:
    """The client could not even be made of these settings."""
    return Denied(
        f"{terms.noun} '{name}': the {terms.service} credentials cannot be used: "
        f"{_first_line(str(error))}",
        terms.hints["refused"],
    )


def _first_line(text: str) -> str:
    return text.partition("\n")[0].partition(": <?xml")[0].partition(": \ufeff<?xml")[0][:300]
